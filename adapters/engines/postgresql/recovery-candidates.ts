import { type Manifest, withWholeChains } from '../../../core/catalog';
import type { StoreCatalog } from '../../../core/engine';
import type { RecoveryWindow, RestorePlan } from '../../../core/recovery';
import { ArchivedLog } from './log-chain';
import { parseLsn, timelineOf } from './lsn';
import type { LogChain } from './timeline-log';
import type { WalSearch } from './wal-search';

/** A backup with the log that leads from it to the end of one lineage. */
export interface Candidate {
  readonly backup: Manifest;
  readonly lineage: string;
  readonly chain: LogChain;
}

/** What a choice is made from. */
export interface Archived {
  readonly all: readonly Candidate[];
  readonly log: ArchivedLog;
  readonly search: WalSearch;
}

/** What a target was settled to. */
export interface Choice {
  readonly candidate: Candidate;
  /** Index of the last entry that replay needs. */
  readonly last: number;
  readonly reaches: RestorePlan['reaches'];
  readonly notes: readonly string[];
}

/** Where a backup becomes consistent: the earliest state that it can give. */
export function stopOf(backup: Manifest): bigint {
  return parseLsn((backup.stop as NonNullable<Manifest['stop']>).value);
}

/** Newest timeline first, within it the newest backup first: the first one that fits is the shortest replay. */
export function candidates(log: ArchivedLog, backups: readonly Manifest[]): Candidate[] {
  const age = new Map(backups.map((each, index) => [each.identity, index]));
  const lineages = [...new Set([...log.lineages, ...backups.flatMap((each) => each.lineage ?? [])])].toSorted(
    (a, b) =>
      (age.get(b.split('/')[0] as string) ?? -1) - (age.get(a.split('/')[0] as string) ?? -1) ||
      timelineOf(b) - timelineOf(a),
  );
  const whole = withWholeChains(backups).toReversed();
  return lineages.flatMap((lineage) =>
    whole.flatMap((backup) => {
      const chain = log.chainFrom(backup, lineage);
      return chain?.reachesStop ? [{ backup, lineage, chain }] : [];
    }),
  );
}

export async function windows(catalog: StoreCatalog): Promise<RecoveryWindow[]> {
  return catalog.log ? windowsIn(await ArchivedLog.read(catalog.log), catalog.backups) : [];
}

async function windowsIn(log: ArchivedLog, backups: readonly Manifest[]): Promise<RecoveryWindow[]> {
  const found: RecoveryWindow[] = [];
  for (const { backup, lineage, chain } of candidates(log, backups).toReversed()) {
    const covered = await log.coversUntil(chain);
    // Its log reaches its end: the backup itself can be restored, whether a heartbeat came after it yet or not.
    const to = covered === null || covered < backup.consistentAt ? backup.consistentAt : covered;
    const wider = found.some((each) => each.lineage === lineage && each.from <= backup.consistentAt && to <= each.to);
    if (!wider) found.push({ from: backup.consistentAt, to, lineage, exact: true });
  }
  return found.toSorted((a, b) => a.from.localeCompare(b.from));
}

/** What can be restored, in words for a refusal. */
export async function rangesOf(log: ArchivedLog | null, backups: readonly Manifest[]): Promise<string> {
  const ranges = (log ? await windowsIn(log, backups) : []).map(
    ({ from, to, lineage }) => `${from} to ${to} (timeline ${timelineOf(lineage ?? '/0')})`,
  );
  return ranges.length > 0 ? `what can be restored is ${ranges.join(', ')}` : 'no backup with its log is stored yet';
}
