import type { CallContext } from '../../../core/call';
import { failure, hasCode } from '../../../core/errors';
import type { LogArchive, LogEntry } from '../../../core/log-archive';
import { entryBytes } from './entry-bytes';
import { formatLsn, parseLsn, timelineOf } from './lsn';
import { isWalGone, ReplicationConnection } from './replication-connection';
import type { PostgresqlSite } from './settings';

/** An archived piece that a server must have as well, up to `until`, before its WAL may be stored behind it. */
export interface Overlap {
  readonly entry: LogEntry;
  readonly until: bigint;
}

/** What a person does about two histories under one name; docs/postgresql.md has it step by step. */
export const SPLIT_BRAIN_NEXT =
  'Stop the server that is wrong. Where it is the archived one, follow "Split brain" in docs/postgresql.md.';

/**
 * Asks the server for WAL that is archived, and compares all of it. Throws LogGap (split brain) where it has other bytes. A
 * server that has removed it already is believed: its slot says where it goes on, and what is archived was removed by right.
 *
 * Answers the gap where the archived piece is damaged: nothing can be replayed over it, so that only a new base is of use
 * behind it, and that base will be of the server that is asked.
 */
export async function requireSameHistory(
  site: PostgresqlSite,
  { entry, until }: Overlap,
  archive: LogArchive,
  ctx: CallContext,
): Promise<string | null> {
  const from = parseLsn(entry.from.value);
  const content = await readPiece(archive, entry);
  if (content === 'damaged') {
    return `the archived log ${entry.key} is damaged: nothing can be restored over ${entry.from.value} to ${entry.to.value}`;
  }
  const archived = content.subarray(0, Number(until - from));
  const connection = await ReplicationConnection.open(site, ctx);
  try {
    const same = await equalBytes(connection, entry, archived);
    if (same === archived.length) return null;
    throw failure(
      'LogGap',
      `the server's WAL at ${formatLsn(from + BigInt(same))} of ${entry.lineage} is not what is archived there (split brain)`,
      {
        data: 'Two servers wrote different WAL under one timeline: what was archived first stays, the new WAL is not archived.',
        next: SPLIT_BRAIN_NEXT,
        context: { key: entry.key },
      },
    );
  } catch (error) {
    if (!isWalGone(error)) throw error;
    ctx.log.info(
      { lineage: entry.lineage, key: entry.key },
      'the server has no WAL left to compare with what is archived',
    );
    return null;
  } finally {
    await connection.close();
  }
}

/** A damaged piece tells nothing, and must not keep the archiver from what the server writes now. */
export async function readPiece(archive: LogArchive, entry: LogEntry): Promise<Buffer | 'damaged'> {
  try {
    return await entryBytes(archive, entry);
  } catch (error) {
    if (!hasCode(error, 'BackupCorrupt')) throw error;
    return 'damaged';
  }
}

/** How many bytes from the entry's first position on are the same at the server. */
async function equalBytes(connection: ReplicationConnection, entry: LogEntry, archived: Buffer): Promise<number> {
  let [same, ending] = [0, false];
  const end = () => {
    if (!ending) connection.finishCopy();
    ending = true;
  };
  connection.onCopyDone(end);
  const command = `START_REPLICATION PHYSICAL ${entry.from.value} TIMELINE ${timelineOf(entry.lineage)}`;
  await connection.copyOut(command, (message) => {
    if (message[0] !== 0x77 || ending) return;
    const sent = message.subarray(25, 25 + archived.length - same);
    const expected = archived.subarray(same, same + sent.length);
    const equal = sent.equals(expected) ? sent.length : sent.findIndex((byte, index) => byte !== expected[index]);
    same += equal;
    if (equal < sent.length || same === archived.length) end();
  });
  return same;
}
