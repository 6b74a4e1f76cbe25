import { type BackupType, type Manifest, storedBytes } from '../core/catalog';
import { hasCode, reasonOf } from '../core/errors';
import { isFullId, startOfBackup } from '../core/layout';
import { proofAges, type StoreView } from '../core/monitoring/store-view';
import { gapsBetween } from '../core/recovery-gaps';
import type { OpenApplication } from './deps';

/**
 * Backups whose manifests are read: two days of the strategy's schedule. What is older changes nothing of what is at risk now,
 * and thousands of them take longer to read than anybody waits for a screen.
 */
const LOOKED_AT = 12;

/** One store by what is in the repository alone. What is damaged of it is part of the answer. */
export async function observeStore(
  open: OpenApplication,
  store: string,
  at: string,
  lastFailureAt: string | null,
): Promise<StoreView> {
  const described = open.application.stores.find(({ name }) => name === store);
  const { ids, backups, damaged } = await open.catalog(store).survey(store, LOOKED_AT);
  const newest = backups.at(-1);
  const log = open.logArchive(store);
  const { windows, problem } = log
    ? await open
        .engine(store)
        .windows({ backups, log })
        .then(
          (found) => ({ windows: found, problem: null }),
          (error: unknown) => {
            // What is damaged of one store must not hide how the others are.
            if (!hasCode(error, 'BackupCorrupt')) throw error;
            return { windows: [], problem: reasonOf(error) };
          },
        )
    : { windows: [], problem: null };
  const reach = windows.map(({ to }) => to).toSorted((a, b) => Date.parse(a) - Date.parse(b));
  const fulls = ids.filter(isFullId).length;
  return {
    store,
    engine: described?.engine ?? open.engine(store).kind,
    hasLog: log !== null,
    rpoSeconds: described?.rpoSeconds ?? open.application.objectives.rpoSeconds,
    at,
    backups: { full: fulls, incr: ids.length - fulls },
    newest: newest
      ? {
          backupId: newest.backupId,
          type: newest.type,
          startedAt: newest.startedAt,
          consistentAt: newest.consistentAt,
          committedAt: newest.committedAt,
        }
      : null,
    sizeBytes: { full: sizeOf(backups, 'full'), incr: sizeOf(backups, 'incr') },
    oldestAt: ids[0] === undefined ? null : startOfBackup(ids[0]),
    damaged,
    restorableUntil: log ? (reach.at(-1) ?? null) : (newest?.consistentAt ?? null),
    gaps: log ? gapsBetween(windows) : [],
    logProblem: problem,
    proofs: proofAges(await open.proofs(store).list(store)),
    lastFailureAt,
  };
}

function sizeOf(backups: readonly Manifest[], type: BackupType): number | null {
  const newest = backups.findLast((each) => each.type === type);
  return newest ? storedBytes(newest) : null;
}
