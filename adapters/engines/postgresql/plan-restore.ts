import { chainOf, type Manifest, storedBytes } from '../../../core/catalog';
import type { StoreCatalog } from '../../../core/engine';
import { failure } from '../../../core/errors';
import type { LogEntry } from '../../../core/log-archive';
import type { RecoveryTarget, RecoveryWindow, RestorePlan } from '../../../core/recovery';
import { ArchivedLog, type LogChain } from './log-chain';
import { formatLsn, parseLsn, timelineOf } from './lsn';

/** A backup with the log that leads from it to the end of one lineage. */
interface Candidate {
  readonly backup: Manifest;
  readonly lineage: string;
  readonly chain: LogChain;
}

export async function windows(catalog: StoreCatalog): Promise<RecoveryWindow[]> {
  const log = catalog.log ? await ArchivedLog.read(catalog.log) : null;
  if (!log) return [];
  const found: RecoveryWindow[] = [];
  for (const { backup, lineage, chain } of candidates(log, catalog.backups).toReversed()) {
    const to = await log.coversUntil(chain);
    if (to === null || to < backup.consistentAt) continue;
    const wider = found.some((each) => each.lineage === lineage && each.from <= backup.consistentAt && to <= each.to);
    if (!wider) found.push({ from: backup.consistentAt, to, lineage, exact: true });
  }
  return found.toSorted((a, b) => a.from.localeCompare(b.from));
}

/** Newest timeline first, within it the newest backup first: the first one that fits is the shortest replay. */
function candidates(log: ArchivedLog, backups: readonly Manifest[]): Candidate[] {
  const age = new Map(backups.map((each, index) => [each.identity, index]));
  const lineages = [...new Set([...log.lineages, ...backups.flatMap((each) => each.lineage ?? [])])].toSorted(
    (a, b) =>
      (age.get(b.split('/')[0] as string) ?? -1) - (age.get(a.split('/')[0] as string) ?? -1) ||
      timelineOf(b) - timelineOf(a),
  );
  return lineages.flatMap((lineage) =>
    backups.toReversed().flatMap((backup) => {
      const chain = chainOf(backup, backups) === null ? null : log.chainFrom(backup, lineage);
      return chain?.reachesStop ? [{ backup, lineage, chain }] : [];
    }),
  );
}

/** Settles backup, log and reach; see core/engine.ts `planRestore`. */
export async function planRestore(store: string, target: RecoveryTarget, catalog: StoreCatalog): Promise<RestorePlan> {
  if (target.kind === 'backup' && !catalog.backups.some((each) => each.backupId === target.backupId)) {
    throw failure('NotFound', `${store} has no backup ${target.backupId}`, { next: 'See `drctl backups list`.' });
  }
  const log = catalog.log ? await ArchivedLog.read(catalog.log) : null;
  const all = log ? candidates(log, catalog.backups) : [];
  const chosen = log ? await choose(target, all, log) : null;
  if (!chosen) throw await unreachable(store, target, catalog);
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
    notes: chosen.notes,
  };
}

interface Choice {
  readonly candidate: Candidate;
  /** Index of the last entry that replay needs. */
  readonly last: number;
  readonly reaches: RestorePlan['reaches'];
  readonly notes: readonly string[];
}

async function choose(target: RecoveryTarget, all: readonly Candidate[], log: ArchivedLog): Promise<Choice | null> {
  for (const candidate of target.kind === 'name' ? all.toReversed() : all) {
    const choice = await fits(target, candidate, log);
    if (choice) return choice;
  }
  return null;
}

async function fits(target: RecoveryTarget, candidate: Candidate, log: ArchivedLog): Promise<Choice | null> {
  const { backup, chain } = candidate;
  const last = chain.entries.length - 1;
  switch (target.kind) {
    case 'backup': {
      if (backup.backupId !== target.backupId || candidate.lineage !== backup.lineage) return null;
      const stop = parseLsn((backup.stop as NonNullable<Manifest['stop']>).value);
      const end = chain.entries.findIndex((entry) => parseLsn(entry.to.value) >= stop);
      const reaches = { time: backup.consistentAt, position: backup.stop, exact: true };
      return { candidate, last: end, reaches, notes: ['the state in which the backup became consistent'] };
    }
    case 'time': {
      const instant = new Date(target.time);
      if (Number.isNaN(instant.getTime())) {
        throw failure('UsageInvalid', `"${target.time}" is not a time: write it as 2026-11-22T13:05:03.120Z`);
      }
      const time = instant.toISOString();
      if (backup.consistentAt > time) return null;
      const index = await log.indexCovering(chain, time);
      return index === null
        ? null
        : { candidate, last: index, reaches: { time, position: null, exact: true }, notes: [] };
    }
    case 'latest': {
      const time = await log.coversUntil(chain);
      if (time === null || time < backup.consistentAt) return null;
      const index = await log.indexCovering(chain, time);
      if (index === null) return null;
      const position = (chain.entries[last] as LogEntry).to;
      return {
        candidate,
        last,
        reaches: { time, position, exact: true },
        notes: [`everything archived up to ${time}`],
      };
    }
    case 'position': {
      const lsn = parseLsn(target.text);
      const { stop } = backup;
      const end = chain.entries.findIndex((entry) => parseLsn(entry.to.value) > lsn);
      if (!stop || parseLsn(stop.value) > lsn || end === -1) return null;
      const position = { ...stop, lineage: candidate.lineage, value: formatLsn(lsn) };
      // The record at the position may begin in the entry after it.
      return {
        candidate,
        last: Math.min(end + 1, last),
        reaches: { time: backup.consistentAt, position, exact: true },
        notes: ['the state just before the record at this position; its time is known after the replay'],
      };
    }
    default: // a restore point, by its name
      return {
        candidate,
        last,
        reaches: { time: backup.consistentAt, position: null, exact: true },
        notes: [`the log is searched for the restore point "${target.name}" from the oldest backup on`],
      };
  }
}

async function unreachable(store: string, target: RecoveryTarget, catalog: StoreCatalog): Promise<Error> {
  const ranges = (await windows(catalog)).map(
    ({ from, to, lineage }) => `${from} to ${to} (timeline ${timelineOf(lineage ?? '/0')})`,
  );
  const wanted = target.kind === 'time' ? target.time : target.kind === 'position' ? target.text : target.kind;
  if (target.kind === 'backup') {
    return failure(
      'PitrTargetUnreachable',
      `${store}: the log that ${target.backupId} needs to become consistent is not archived`,
      {
        next: 'Restore from another backup.',
      },
    );
  }
  const range =
    ranges.length > 0 ? `what can be restored is ${ranges.join(', ')}` : 'no backup with its log is stored yet';
  return failure('PitrTargetUnreachable', `${store} cannot be restored to ${wanted}: ${range}`);
}
