import { failure, hasCode } from '../../../core/errors';
import type { LogArchive } from '../../../core/log-archive';
import type { ReplicationConnection } from './replication-connection';
import { SPLIT_BRAIN_NEXT } from './same-history';
import { historyKey, historyName, parseHistory, type TimelineSwitch } from './timeline-history';

/** A history file under the name that the repository keeps it by. */
export interface HistoryFile {
  readonly key: string;
  readonly content: Buffer;
}

/**
 * The switches that led to a server's timeline, and which of its history files are not archived, or damaged there: archiving
 * does not wait for a person to mend them. Throws LogGap (split brain)
 * where its timelines are others than the archived ones of the same numbers.
 */
export async function readHistory(
  connection: ReplicationConnection,
  systemId: string,
  timeline: number,
  archive: LogArchive,
): Promise<{ switches: TimelineSwitch[]; missing: HistoryFile[] }> {
  if (timeline === 1) return { switches: [], missing: [] };
  const archived = await archive.history();
  const read = async (which: number): Promise<HistoryFile> => {
    const [, content] = (await connection.query(`TIMELINE_HISTORY ${which}`))[0] as [string, string];
    return { key: historyKey(systemId, which), content: Buffer.from(content) };
  };
  const own = await read(timeline);
  const switches = parseHistory(own.content.toString(), timeline, `${historyName(timeline)} of the server`);
  const missing: HistoryFile[] = [];
  for (const [index, each] of switches.entries()) {
    if (each.timeline === 1) continue;
    const key = historyKey(systemId, each.timeline);
    const before = archived.get(key);
    // A timeline's history begins with its ancestor's; a server need not have that one's file any more.
    if (!before) missing.push(await read(each.timeline));
    else if (before instanceof Error) missing.push(...(await read(each.timeline).then(only, none)));
    else if (!sameSwitches(parseHistory(before.toString(), each.timeline, key), switches.slice(0, index)))
      throw splitBrain(key);
  }
  const before = archived.get(own.key);
  if (before instanceof Buffer && !before.equals(own.content)) throw splitBrain(own.key);
  return { switches, missing: before instanceof Buffer ? missing : [...missing, own] };
}

/** History files are tiny and choose the segments at every later restore: all are kept for ever, and none is replaced. */
export async function keepHistory(archive: LogArchive, files: readonly HistoryFile[]): Promise<void> {
  for (const { key, content } of files) {
    await archive.putHistory(key, content, { ifAbsent: true }).catch((error: unknown) => {
      throw hasCode(error, 'LockHeld') ? splitBrain(key, error) : error;
    });
  }
}

const only = (file: HistoryFile) => [file];
/** A damaged one that the server has not either stays as it is: the restore that needs it names it. */
const none = () => [];

function sameSwitches(a: readonly TimelineSwitch[], b: readonly TimelineSwitch[]): boolean {
  return (
    a.length === b.length &&
    a.every((each, index) => each.timeline === b[index]?.timeline && each.switchLsn === b[index].switchLsn)
  );
}

function splitBrain(key: string, cause?: unknown): Error {
  return failure('LogGap', `the server's history of its timelines is not the archived ${key} (split brain)`, {
    data: 'Two servers took one timeline, each for itself: what was archived first stays, the WAL of this one is not archived.',
    next: SPLIT_BRAIN_NEXT,
    context: { key },
    cause,
  });
}
