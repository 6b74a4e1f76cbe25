import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Client } from 'pg';
import { formatLsn, parseLsn } from '../../adapters/engines/postgresql/lsn';
import { postgresTool } from './servers';

/** One acknowledged transaction and the whole content after it, as the writer knows it by itself. */
export interface Acknowledged {
  /** By our clock. */
  readonly sentAt: number;
  readonly acknowledgedAt: number;
  readonly xid: string;
  /** By the server's clock, to the microsecond; null for one that was rolled back. */
  readonly committedAt: string | null;
  /** Where the log stood after it was acknowledged. */
  readonly lsnAfter: string;
  readonly digest: string;
}

/** A restore point, made between two transactions. */
export interface Named {
  readonly name: string;
  readonly digest: string;
}

export interface Journal {
  readonly entries: Acknowledged[];
  readonly points: Named[];
  /** What the table holds after the last entry, by id. */
  rows: ReadonlyMap<number, string>;
}

export function emptyJournal(): Journal {
  return { entries: [], points: [], rows: new Map() };
}

export function digestOf(rows: Iterable<readonly [number, string]>): string {
  const lines = [...rows].toSorted(([a], [b]) => a - b).map(([id, body]) => `${id}=${body}`);
  return createHash('sha256').update(lines.join('\n')).digest('hex');
}

export const CREATE_ENTRIES = 'CREATE TABLE entries (id int PRIMARY KEY, body text NOT NULL)';

/**
 * A single writer: every transaction changes several rows, some are prepared first, some rolled back, and the journal says what
 * content each led to. Called again it goes on behind the last entry. The server must have track_commit_timestamp on and allow a prepared transaction.
 */
export async function writeEntries(
  client: Client,
  journal: Journal,
  pick: () => number,
  stop: AbortSignal,
): Promise<void> {
  const one = async (text: string) =>
    Object.values(((await client.query(text)).rows as Record<string, string>[])[0] ?? {})[0] as string;
  const anyId = () => [...journal.rows.keys()][Math.floor(pick() * journal.rows.size)] ?? 0;
  for (let id = journal.entries.length + 1; !stop.aborted; id += 1) {
    const next = new Map(journal.rows);
    const body = `${id}-${Math.floor(pick() * 1e9)}`.repeat(1 + Math.floor(pick() * 40));
    const [existing, removed] = [anyId(), pick() < 0.2 ? anyId() : 0];
    const [undone, prepared] = [pick() < 0.1, pick() < 0.1];
    const sentAt = Date.now();
    await client.query('BEGIN');
    await client.query('INSERT INTO entries VALUES ($1, $2)', [id, body]);
    await client.query('UPDATE entries SET body = $2 WHERE id = $1', [existing, `changed by ${id}`]);
    await client.query('DELETE FROM entries WHERE id = $1', [removed]);
    const xid = await one('SELECT pg_current_xact_id()::text');
    if (prepared) await client.query(`PREPARE TRANSACTION 'prepared-${id}'`);
    await client.query(`${undone ? 'ROLLBACK' : 'COMMIT'}${prepared ? ` PREPARED 'prepared-${id}'` : ''}`);
    const acknowledgedAt = Date.now();
    next.set(id, body);
    if (next.has(existing)) next.set(existing, `changed by ${id}`);
    next.delete(removed);
    if (!undone) journal.rows = next;
    const lsnAfter = await one('SELECT pg_current_wal_insert_lsn()::text');
    const utc = `to_char(pg_xact_commit_timestamp('${xid}'::xid) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;
    const committedAt = undone ? null : await one(`SELECT ${utc}`);
    const digest = digestOf(journal.rows);
    journal.entries.push({ sentAt, acknowledgedAt, xid, committedAt, lsnAfter, digest });
    if (pick() < 0.03) {
      const name = `point-${id}`;
      await client.query('SELECT pg_create_restore_point($1)', [name]);
      journal.points.push({ name, digest });
    }
    if (pick() < 0.05) await sleep(pick() * 120);
  }
}

/** The contents that are right at an instant: after everything acknowledged before it, with or without what was in flight. */
export function allowedAt({ entries }: Journal, instant: number): string[] {
  const done = entries.findLastIndex((each) => each.acknowledgedAt < instant);
  const begun = entries.findLastIndex((each) => each.sentAt <= instant);
  return entries.slice(Math.max(done, 0), begun + 1).map((each) => each.digest);
}

/** One record as pg_waldump shows it. */
export interface DumpedRecord {
  readonly lsn: string;
  readonly xid: string;
  readonly resourceManager: string;
  readonly description: string;
}

/** A server's own log files of one timeline as PostgreSQL's own reader shows them. */
export async function dumpedRecords(
  dataDir: string,
  startLsn: string,
  timeline: number,
  programs: string | undefined,
): Promise<DumpedRecord[]> {
  const argv = ['--path', `${dataDir}/pg_wal`, '--timeline', `${timeline}`, '--start', startLsn];
  // It ends with an error where the log does: what it read until then is all there is.
  const { stdout } = await promisify(execFile)(postgresTool('pg_waldump', programs), argv, {
    maxBuffer: 2 ** 29,
  }).catch((error: { stdout?: string }) => ({ stdout: error.stdout ?? '' }));
  const line = /^rmgr: (\S+).*? tx:\s+(\d+), lsn: ([0-9A-F]+\/[0-9A-F]+),.*?desc: (.*)$/gm;
  const found = [...stdout.matchAll(line)].map(([, resourceManager = '', xid = '', lsn = '', description = '']) => ({
    lsn: formatLsn(parseLsn(lsn)), // it pads them with zeros
    xid,
    resourceManager,
    description,
  }));
  if (found.length === 0) throw new Error('pg_waldump showed nothing');
  return found;
}

/** Where the record that ended each transaction begins. */
export function endsOfTransactions(records: readonly DumpedRecord[]): Map<string, string> {
  const ends = records.filter(({ resourceManager }) => resourceManager === 'Transaction');
  return new Map(
    ends.flatMap(({ lsn, xid, description }) => {
      const [, prepared, of] = /^(?:COMMIT|ABORT)(_PREPARED)? ?(\d+)?/.exec(description) ?? [null];
      return prepared === null ? [] : [[prepared ? (of as string) : xid, lsn] as const];
    }),
  );
}
