import type { RecoveryTarget } from '../../../core/recovery';
import type { ArchivedLog } from './log-chain';
import { parseLsn, positionAt } from './lsn';
import { type Candidate, type Choice, stopOf } from './recovery-candidates';
import { isInclusive } from './recovery-target';
import type { WalSearch } from './wal-search';

export function chooseBackup(backupId: string, candidate: Candidate): Choice | null {
  const { backup, lineage, chain } = candidate;
  if (backup.backupId !== backupId || lineage !== backup.lineage) return null;
  const end = chain.endingAt(stopOf(backup));
  const reaches = { time: backup.consistentAt, position: backup.stop, exact: true };
  return { candidate, last: end, reaches, notes: ['the state in which the backup became consistent'] };
}

export async function chooseTime(
  target: RecoveryTarget & { readonly kind: 'time' },
  candidate: Candidate,
  log: ArchivedLog,
): Promise<Choice | null> {
  const { backup, chain } = candidate;
  const milliseconds = Date.parse(target.time);
  // PostgreSQL's clock has microseconds: what was typed of them is kept, and the log must reach beyond them.
  const finer = /\.\d{3}(\d*[1-9]\d*)Z$/.test(target.time);
  const time = finer ? target.time : new Date(milliseconds).toISOString();
  if (Date.parse(backup.consistentAt) > milliseconds) return null;
  const covered = new Date(finer ? milliseconds + 1 : milliseconds).toISOString();
  const index = await log.indexCovering(chain, covered);
  if (index === null) return null;
  const notes = isInclusive(target) ? [] : ['without what was committed at exactly this time'];
  return { candidate, last: index, reaches: { time, position: null, exact: true }, notes };
}

/** Never "the end": the last whole record of the archive is looked up now, and is the target. */
export async function chooseLatest(candidate: Candidate, log: ArchivedLog, search: WalSearch): Promise<Choice | null> {
  const { backup, chain } = candidate;
  const last = await search.last(chain.entries);
  if (!last || last.record.end < stopOf(backup)) return null;
  const time = last.time ?? (await log.coversUntil(chain)) ?? backup.consistentAt;
  const index = chain.entries.length - 1;
  const lineage = chain.entries[index]?.lineage ?? candidate.lineage;
  return {
    candidate,
    last: index,
    reaches: { time, position: positionAt(lineage, last.record.start), exact: true },
    notes: [
      `everything that is archived now, up to and with the record at ${positionAt(lineage, last.record.start).value}`,
    ],
  };
}

export async function choosePosition(
  target: RecoveryTarget & { readonly kind: 'position' },
  candidate: Candidate,
  search: WalSearch,
): Promise<Choice | null> {
  const { backup, chain, lineage } = candidate;
  const [lsn, inclusive] = [parseLsn(target.text), isInclusive(target)];
  if (stopOf(backup) > lsn || chain.endingAt(lsn + 1n) === -1) return null;
  const found = await search.at(chain.entries, lsn, inclusive);
  if (!found) return null;
  const { record } = found;
  const end = chain.endingAt(record.end, found.timeline);
  const which =
    record.start === lsn ? 'at this position' : `at ${positionAt(lineage, record.start).value}, the next one`;
  return {
    candidate,
    last: end === -1 ? chain.entries.length - 1 : end,
    reaches: { time: found.time ?? backup.consistentAt, position: positionAt(lineage, lsn), exact: true },
    notes: [
      inclusive
        ? `with the record ${which}; --exclusive stops just before it`
        : `just before the record ${which}; --inclusive takes it in`,
    ],
  };
}
