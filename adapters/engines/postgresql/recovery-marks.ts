import { failure } from '../../../core/errors';
import type { RecoveryTarget } from '../../../core/recovery';
import { positionAt, timelineOf } from './lsn';
import { type Archived, type Candidate, type Choice, stopOf } from './recovery-candidates';
import { isInclusive, targetText, xidOf } from './recovery-target';
import type { FoundMark, Sought, WalSearch } from './wal-search';

type MarkTarget = RecoveryTarget & { readonly kind: 'transaction' | 'name' };

/**
 * A transaction or a restore point has no place that its name tells: the archived log is searched for it, newest first, so
 * that the nearest backup is taken and what is not there is refused before anything is fetched. Null where it is
 * nowhere, BackupCorrupt where it may be in a piece that cannot be read.
 */
export async function chooseMark(store: string, target: MarkTarget, { all, search }: Archived): Promise<Choice | null> {
  const sought = target.kind === 'name' ? { name: target.name } : { xid: xidOf(target.id) };
  for (const lineage of new Set(all.map((each) => each.lineage))) {
    const own = all.filter((each) => each.lineage === lineage);
    const found = await searchLineage(own, sought, search);
    if (found === 'no time') return unsearched(target, own.at(-1) as Candidate);
    if (found !== null) return settled(store, target, own, found);
  }
  search.requireWhole();
  return null;
}

/** A gap in the log cuts a timeline into several chains: each is looked through. */
async function searchLineage(
  own: readonly Candidate[],
  sought: Sought,
  search: WalSearch,
): Promise<FoundMark | 'no time' | null> {
  for (const { chain } of longestOfEach(own)) {
    const result = await search.newest(chain.entries, sought);
    if (typeof result !== 'string') return result;
    if (result === 'no time') return result;
    if (result === 'not before') return null;
  }
  return null;
}

/** Newest first as they are; of those that end alike the oldest backup's, which holds the others. */
function longestOfEach(own: readonly Candidate[]): Candidate[] {
  const ends = new Map<string, Candidate>();
  for (const each of own) {
    const last = each.chain.stretches.at(-1);
    ends.set(last ? `${last.log.timeline}:${last.end}` : '', each);
  }
  return [...ends.values()];
}

function settled(store: string, target: MarkTarget, own: readonly Candidate[], mark: FoundMark): Choice {
  const { record, what, time, timeline } = mark;
  const usable = (each: Candidate) =>
    stopOf(each.backup) <= record.start && each.chain.endingAt(record.start + 1n, timeline) !== -1;
  const candidate = own.find(usable);
  if (!candidate) {
    const oldest = own.at(-1)?.backup;
    throw failure(
      'PitrTargetUnreachable',
      `${store} cannot be restored to ${targetText(target)}: it was ${said(what)} at ${time}, before ${oldest?.backupId}, ` +
        `the oldest backup that leads there, became consistent (${oldest?.consistentAt})`,
    );
  }
  const end = candidate.chain.endingAt(record.end, timeline);
  return {
    candidate,
    last: end === -1 ? candidate.chain.entries.length - 1 : end,
    reaches: { time, position: positionAt(candidate.lineage, record.start), exact: true },
    notes: [noteOf(target, mark), ...unreadNotes(mark)],
  };
}

function noteOf(target: MarkTarget, { what, time }: FoundMark): string {
  if (target.kind === 'name') return `made at ${time}; where several have this name, the newest is meant`;
  const which = isInclusive(target) ? '--exclusive stops just before that' : 'the state is the one just before that';
  return `${what} at ${time}; ${which}`;
}

function unreadNotes({ unread }: FoundMark): string[] {
  if (unread.length === 0) return [];
  return [`newer log could not be read and was passed over: ${unread.join(', ')}`];
}

const said = (what: FoundMark['what']) => (what === 'restore point' ? 'made' : what);

/** The log is too long to be read while a person waits: PostgreSQL itself looks for it, from the oldest backup on. */
function unsearched(target: MarkTarget, candidate: Candidate): Choice {
  const { backup, chain } = candidate;
  return {
    candidate,
    last: chain.entries.length - 1,
    reaches: { time: backup.consistentAt, position: null, exact: true },
    notes: [
      `the newest part of the log does not hold ${targetText(target)}: the rest is searched by the replay, ` +
        `from the oldest backup on (timeline ${timelineOf(candidate.lineage)})`,
    ],
  };
}
