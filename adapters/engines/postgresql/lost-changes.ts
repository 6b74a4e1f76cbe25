import type { CallContext } from '../../../core/call';
import { withClient } from './connection';
import { floorToSegment, formatLsn } from './lsn';
import { ReplicationConnection } from './replication-connection';
import { SCHEMA } from './schema';
import type { PostgresqlSite } from './settings';
import { markOf } from './wal-marks';
import { readRecords, type WalRecord } from './wal-records';
import { relationKey, relationsOf } from './wal-relations';
import { pageBytesOf } from './wal-search';

export interface LostChanges {
  /** Transactions that were committed behind the fork; drctl's own (heartbeat, epoch, write probes) are not counted. */
  readonly operations: number;
  /** From the newest commit that both sides have until the newest of those; null where no commit is near before the fork. */
  readonly seconds: number | null;
}

export interface LostRange {
  readonly timeline: number;
  readonly fork: bigint;
  readonly end: bigint;
  readonly segmentBytes: bigint;
}

/** Messages of the streaming protocol: `w` is WAL, with its position before and its bytes behind a header. */
const WAL_MESSAGE = 0x77;
const WAL_AT = 25;

/**
 * Reads the commits that an old primary has behind `fork` from its own log, by the replication protocol: to a server that is
 * fenced by its access rules replicas still come in. Memory: three segments.
 */
export async function lostChanges(site: PostgresqlSite, range: LostRange, ctx: CallContext): Promise<LostChanges> {
  const commits = new Commits(range.fork, await ownRelations(site, ctx));
  const connection = await ReplicationConnection.open(site, ctx);
  try {
    await readWal(connection, range, (content, from) => commits.addSegment(content, from));
  } finally {
    connection.destroy();
  }
  return commits.result();
}

/** Where drctl's own rows and their indexes are. */
async function ownRelations(site: PostgresqlSite, ctx: CallContext): Promise<ReadonlySet<string>> {
  const { rows } = await withClient(
    site,
    (client) =>
      client.query(
        `SELECT d.oid::int AS database, pg_relation_filenode(c.oid)::int AS filenode
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, pg_database d
         WHERE n.nspname = $1 AND c.relkind IN ('r', 'i') AND d.datname = current_database()`,
        [SCHEMA],
      ),
    { signal: ctx.signal },
  );
  return new Set(
    (rows as { database: number; filenode: number }[]).map(({ database, filenode }) => relationKey(database, filenode)),
  );
}

/** Hands over the log from the beginning of the fork's segment to `end`, a segment or what is there of it at a time. */
async function readWal(
  connection: ReplicationConnection,
  { timeline, fork, end, segmentBytes }: LostRange,
  onSegment: (content: Buffer, from: bigint) => void,
): Promise<void> {
  let from = floorToSegment(fork, segmentBytes);
  let segment = Buffer.alloc(Number(segmentBytes));
  let filled = 0;
  const take = (bytes: Buffer) => {
    for (let at = 0; at < bytes.length;) {
      const taken = bytes.copy(segment, filled, at);
      [at, filled] = [at + taken, filled + taken];
      if (filled < segment.length) continue;
      onSegment(segment, from);
      [from, segment, filled] = [from + segmentBytes, Buffer.alloc(Number(segmentBytes)), 0];
    }
  };
  let reached: () => void = () => undefined;
  const whole = new Promise<void>((resolve) => (reached = resolve));
  const copied = connection.copyOut(`START_REPLICATION PHYSICAL ${formatLsn(from)} TIMELINE ${timeline}`, (message) => {
    if (message[0] !== WAL_MESSAGE) return;
    take(message.subarray(WAL_AT));
    if (from + BigInt(filled) >= end) reached();
  });
  // Once all is read the connection is cut off, which fails the copy, with nobody left to hear it.
  void Promise.allSettled([copied]);
  await Promise.race([whole, copied]);
  if (filled > 0) onSegment(segment.subarray(0, filled), from);
}

/** Counts commits in segments that come one after the other. */
class Commits {
  private readonly fork: bigint;
  private readonly own: ReadonlySet<string>;
  /** The newest segment: its last record ends in the next one. */
  private pending: { readonly content: Buffer; readonly from: bigint } | null = null;
  /** Transactions under way, and whether all that they changed is ours. */
  private readonly onlyOwn = new Map<number, boolean>();
  private operations = 0;
  private keptAt: string | null = null;
  private lostAt: string | null = null;

  constructor(fork: bigint, own: ReadonlySet<string>) {
    this.fork = fork;
    this.own = own;
  }

  addSegment(content: Buffer, from: bigint): void {
    this.readPending(readRecords(content, from, pageBytesOf(content), null).head);
    this.pending = { content, from };
  }

  result(): LostChanges {
    this.readPending(null);
    if (this.lostAt === null) return { operations: 0, seconds: 0 };
    const seconds = this.keptAt === null ? null : (Date.parse(this.lostAt) - Date.parse(this.keptAt)) / 1_000;
    return { operations: this.operations, seconds: seconds === null ? null : Math.max(0, seconds) };
  }

  private readPending(next: Buffer | null): void {
    if (!this.pending) return;
    const { content, from } = this.pending;
    for (const record of readRecords(content, from, pageBytesOf(content), next).records) this.add(record);
    this.pending = null;
  }

  private add(record: WalRecord): void {
    const { xid, start } = record;
    if (xid !== 0) {
      const relations = relationsOf(record);
      const ours = relations.every((relation) => this.own.has(relation));
      if (relations.length > 0) this.onlyOwn.set(xid, (this.onlyOwn.get(xid) ?? true) && ours);
    }
    const mark = markOf(record);
    if (mark === null || mark.what === 'restore point') return;
    const own = this.onlyOwn.get(xid) === true;
    this.onlyOwn.delete(xid);
    if (mark.what !== 'committed') return;
    if (start < this.fork) this.keptAt = mark.time;
    else if (!own) {
      this.operations += 1;
      this.lostAt = mark.time;
    }
  }
}
