import { type BackupType, type Manifest, storedBytes } from '../core/catalog';
import type { DamagedManifest } from '../core/catalog-store';
import { hasCode, reasonOf } from '../core/errors';
import { isFullId, startOfBackup } from '../core/layout';
import type { CopyView } from '../core/monitoring/copy-view';
import { contentProvenAt, proofAges, type StoreView } from '../core/monitoring/store-view';
import { gapsBetween } from '../core/recovery-gaps';
import type { OpenApplication, StoreCopy } from './deps';
import { damagedByProofs } from './known-damage';

/**
 * Backups whose manifests are read, besides those that they build on: of a log, a day of the strategy's schedule, in which a gap
 * is told; without a log the newest alone matters, and the one before it where it cannot be read. What is older changes nothing of
 * what is at risk now, and thousands of them take longer to read than anybody waits for a screen.
 */
const LOOKED_AT = { withLog: 7, withoutLog: 2 } as const;

/**
 * One store by what is in the repository alone. What is damaged of it is part of the answer. Its backups are not `counted` for a
 * person who waits: to list thousands of them takes longer than all the rest.
 */
export async function observeStore(
  open: OpenApplication,
  store: string,
  at: string,
  lastFailureAt: string | null,
  { counted }: { readonly counted: boolean } = { counted: true },
): Promise<StoreView> {
  const described = open.application.stores.find(({ name }) => name === store);
  const log = open.logArchive(store);
  const lookedAt = log ? LOOKED_AT.withLog : LOOKED_AT.withoutLog;
  const catalog = open.catalog(store);
  const [{ ids, backups, damaged }, { proofs, known }, copies] = await Promise.all([
    counted
      ? catalog.survey(store, lookedAt)
      : catalog.newest(store, lookedAt).then((newest) => ({ ...newest, ids: null })),
    observeProofs(open, store),
    Promise.all(open.copies(store).map(observeCopy)),
  ]);
  const isOldestJudged = contentProvenAt(proofs) === null && open.application.monitoring.proofMaxAgeSeconds !== null;
  const oldest = ids ? (ids[0] ?? null) : isOldestJudged ? await catalog.oldest(store) : null;
  const newest = backups.at(-1);
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
  const fulls = ids?.filter(isFullId).length ?? 0;
  return {
    store,
    engine: described?.engine ?? open.engine(store).kind,
    hasLog: log !== null,
    rpoSeconds: described?.rpoSeconds ?? open.application.objectives.rpoSeconds,
    at,
    backups: ids && { full: fulls, incr: ids.length - fulls },
    newest: newest
      ? {
          backupId: newest.backupId,
          type: newest.type,
          startedAt: newest.startedAt,
          consistentAt: newest.consistentAt,
          committedAt: newest.committedAt,
          isPlain: newest.artifacts.some(({ encryptionKeyId }) => encryptionKeyId === null),
        }
      : null,
    sizeBytes: { full: sizeOf(backups, 'full'), incr: sizeOf(backups, 'incr') },
    oldestAt: oldest === null ? null : startOfBackup(oldest),
    damaged: joined(damaged, known),
    restorableUntil: log ? (reach.at(-1) ?? null) : (newest?.consistentAt ?? null),
    gaps: log ? gapsBetween(windows) : [],
    logProblem: problem,
    proofs,
    copies,
    lastFailureAt,
  };
}

async function observeProofs(open: OpenApplication, store: string) {
  const listed = await open.proofs(store).list(store);
  return { proofs: proofAges(listed), known: await damagedByProofs(open, store, listed) };
}

/** Each backup once: what is seen now before what was found earlier. */
export function joined(seen: readonly DamagedManifest[], known: readonly DamagedManifest[]): DamagedManifest[] {
  return [...seen, ...known.filter(({ backupId }) => seen.every((each) => each.backupId !== backupId))];
}

/** One that does not answer must not hide how the store itself is. */
async function observeCopy({ name, maxLagSeconds, copier }: StoreCopy): Promise<CopyView> {
  try {
    const record = await copier.record();
    const { completeUntil, notCopied } = record ?? { completeUntil: null, notCopied: [] };
    return { copy: name, maxLagSeconds, completeUntil, notCopied: notCopied.length, problem: null };
  } catch (error) {
    return { copy: name, maxLagSeconds, completeUntil: null, notCopied: 0, problem: reasonOf(error) };
  }
}

function sizeOf(backups: readonly Manifest[], type: BackupType): number | null {
  const newest = backups.findLast((each) => each.type === type);
  return newest ? storedBytes(newest) : null;
}
