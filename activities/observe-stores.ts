import { type BackupType, type Manifest, storedBytes } from '../core/catalog';
import type { DamagedManifest } from '../core/catalog-store';
import { reasonOf } from '../core/errors';
import { isFullId, startOfBackup } from '../core/layout';
import type { CopyView } from '../core/monitoring/copy-view';
import { contentProvenAt, proofAges, type StoreView } from '../core/monitoring/store-view';
import type { OpenApplication, StoreCopy } from './deps';
import { knownDamage } from './known-damage';
import { look, type LookDepth } from './look-at-store';

/**
 * One store by what is in the repository alone. What is damaged of it is part of the answer.
 */
export async function observeStore(
  open: OpenApplication,
  store: string,
  at: string,
  lastFailureAt: string | null,
  depth: LookDepth = 'counted',
): Promise<StoreView> {
  const described = open.application.stores.find(({ name }) => name === store);
  const { proofs, known } = await observeProofs(open, store);
  const [{ ids, backups, damaged, reach }, copies] = await Promise.all([
    look(open, store, at, known, depth),
    Promise.all(open.copies(store).map(observeCopy)),
  ]);
  const isOldestJudged = contentProvenAt(proofs) === null && open.application.monitoring.proofMaxAgeSeconds !== null;
  const oldest = ids ? (ids[0] ?? null) : isOldestJudged ? await open.catalog(store).oldest(store) : null;
  const newest = backups.at(-1);
  const fulls = ids?.filter(isFullId).length ?? 0;
  return {
    store,
    engine: described?.engine ?? open.engine(store).kind,
    hasLog: open.logArchive(store) !== null,
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
    damaged: joined(damaged, known.backups),
    restorableUntil: reach.until,
    gaps: reach.gaps,
    logProblem: reach.problem,
    proofs,
    copies,
    lastFailureAt,
  };
}

async function observeProofs(open: OpenApplication, store: string) {
  const listed = await open.proofs(store).list(store);
  return { proofs: proofAges(listed), known: await knownDamage(open, store, listed) };
}

/** Each backup once: what is seen now before what was found earlier. */
export function joined(seen: readonly DamagedManifest[], known: readonly DamagedManifest[]): DamagedManifest[] {
  return [...seen, ...known.filter(({ backupId }) => seen.every((each) => each.backupId !== backupId))];
}

/** One that does not answer must not hide how the store itself is. */
export async function observeCopy({ name, maxLagSeconds, copier }: StoreCopy): Promise<CopyView> {
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
