import { setTimeout as sleep } from 'node:timers/promises';
import type { CallContext } from '../../../core/call';
import { chainOf, type Manifest, storedBytes } from '../../../core/catalog';
import type { StoreCatalog } from '../../../core/engine';
import { failure, hasCode, reasonOf } from '../../../core/errors';
import type { LogArchive, LogEntry } from '../../../core/log-archive';
import type { RecoveryTarget, RestorePlan } from '../../../core/recovery';
import { requireBackupEnd } from './backup-end';
import { ArchivedLog } from './log-chain';
import { timelineOf } from './lsn';
import { type Archived, type Candidate, candidates, type Choice, rangesOf } from './recovery-candidates';
import { requireLatestOf } from './recovery-branches';
import { chooseMark } from './recovery-marks';
import { requireSense, targetText } from './recovery-target';
import { chooseBackup, chooseLatest, choosePosition, chooseTime } from './recovery-instants';
import { WalSearch } from './wal-search';

/** An archive's listing is believed for two seconds (adapters/repository/log-listing.ts): after this it is a new one. */
const LISTED_ANEW_MILLISECONDS = 2_500;

/** Settles backup, log and reach; see core/engine.ts `planRestore`. */
export async function planRestore(
  store: string,
  target: RecoveryTarget,
  catalog: StoreCatalog,
  ctx: CallContext,
): Promise<RestorePlan> {
  try {
    return await planOnce(store, target, catalog, ctx);
  } catch (error) {
    if (!hasCode(error, 'BackupCorrupt')) throw error;
    // The archiver goes on meanwhile: a slice that was listed may have given way to its segment before it was read.
    ctx.log.warn({ error: reasonOf(error) }, 'the log is listed again after a piece of it could not be read');
    await sleep(LISTED_ANEW_MILLISECONDS, undefined, { signal: ctx.signal });
    return planOnce(store, target, catalog, ctx);
  }
}

async function planOnce(
  store: string,
  target: RecoveryTarget,
  catalog: StoreCatalog,
  ctx: CallContext,
): Promise<RestorePlan> {
  requireSense(store, target);
  if (target.kind === 'backup' && !catalog.backups.some((each) => each.backupId === target.backupId)) {
    throw failure('NotFound', `${store} has no backup ${target.backupId}`, { next: 'See `drctl backups list`.' });
  }
  const archived = catalog.log ? await archivedFor(store, target, catalog, catalog.log, ctx) : null;
  const chosen = archived ? await choose(store, target, archived) : null;
  if (!archived || !chosen) throw await unreachable(store, target, archived?.log ?? null, catalog.backups);
  const { backup, lineage, chain } = chosen.candidate;
  const members = chainOf(backup, catalog.backups) as Manifest[];
  const replayed = chain.entries.slice(0, chosen.last + 1);
  const to = (replayed.at(-1) as LogEntry).to;
  return {
    store,
    engine: 'postgresql',
    target,
    chain: members.map((each) => each.backupId),
    lineage,
    log: { from: backup.start as NonNullable<Manifest['start']>, to },
    reaches: chosen.reaches,
    downloadBytes: [...members.map(storedBytes), ...replayed.map((each) => each.sizeBytes)].reduce((a, b) => a + b, 0),
    notes: [...chosen.notes, ...timelineNotes(lineage, archived.log)],
  };
}

async function archivedFor(
  store: string,
  { timeline }: RecoveryTarget,
  catalog: StoreCatalog,
  archive: LogArchive,
  ctx: CallContext,
): Promise<Archived> {
  const log = await ArchivedLog.read(archive);
  const every = candidates(log, catalog.backups);
  const all = every.filter(({ lineage }) => timeline === undefined || timelineOf(lineage) === timeline);
  if (timeline !== undefined && all.length === 0) {
    throw failure(
      'NotFound',
      `${store} has no timeline ${timeline} that a backup leads to: ${await rangesOf(log, catalog.backups)}`,
      { next: 'Name one of these timelines, or leave --timeline out to have the newest that holds the target.' },
    );
  }
  return { all, log, search: new WalSearch(archive, ctx) };
}

async function choose(store: string, target: RecoveryTarget, archived: Archived): Promise<Choice | null> {
  if (target.kind === 'transaction' || target.kind === 'name') return chooseMark(store, target, archived);
  for (const candidate of archived.all) {
    const choice = await fits(target, candidate, archived);
    if (choice && target.kind === 'latest') await requireLatestOf(store, choice, archived);
    if (choice) return choice;
  }
  return null;
}

async function fits(
  target: Exclude<RecoveryTarget, { readonly kind: 'transaction' | 'name' }>,
  candidate: Candidate,
  { log, search }: Archived,
): Promise<Choice | null> {
  switch (target.kind) {
    case 'backup': {
      const choice = chooseBackup(target.backupId, candidate);
      if (choice) await requireBackupEnd(choice, search);
      return choice;
    }
    case 'time':
      return chooseTime(target, candidate, log);
    case 'latest':
      return chooseLatest(candidate, log, search);
    default:
      return choosePosition(target, candidate, search);
  }
}

/** Said only where there is more than one: which one it ends on, and that there are others. */
function timelineNotes(lineage: string, log: ArchivedLog): string[] {
  const own = lineage.slice(0, lineage.lastIndexOf('/'));
  const others = log.lineages.filter((each) => each !== lineage && each.startsWith(`${own}/`)).map(timelineOf);
  if (others.length === 0) return [];
  const named = others.toSorted((a, b) => a - b).join(', ');
  return [`ends on timeline ${timelineOf(lineage)}; archived as well: ${named} (--timeline)`];
}

async function unreachable(
  store: string,
  target: RecoveryTarget,
  log: ArchivedLog | null,
  backups: readonly Manifest[],
): Promise<Error> {
  if (target.kind === 'backup') {
    return failure(
      'PitrTargetUnreachable',
      `${store}: the log that ${target.backupId} needs to become consistent is not archived`,
      { next: 'Restore from another backup.' },
    );
  }
  return failure(
    'PitrTargetUnreachable',
    `${store} cannot be restored to ${targetText(target)}: ${await rangesOf(log, backups)}`,
  );
}
