import { type Document, type MongoClient, Timestamp } from 'mongodb';
import { failure } from '../../../core/errors';
import { BSON, dateOf, type Field, fieldNamed, fieldsOf, stringOf } from './bson-bytes';
import type { Optime } from './positions';
import { type RawBatch, rawBatches } from './raw-batches';

/** The parts of an oplog entry that decide what is done with it; `bytes` is the entry itself. */
export interface OplogEntry {
  readonly bytes: Buffer;
  readonly fields: readonly Field[];
  readonly optime: Optime;
  /** The primary's clock when it was written, in milliseconds. */
  readonly wall: number;
  readonly op: string;
  readonly namespace: string;
}

export function readEntry(bytes: Buffer): OplogEntry {
  const fields = fieldsOf(bytes);
  const [ts, wall, op, ns] = ['ts', 'wall', 'op', 'ns'].map((name) => fieldNamed(fields, name));
  if (!ts || !wall || !op || !ns) throw failure('BackupCorrupt', 'an oplog entry has no ts, wall, op or ns');
  return {
    bytes,
    fields,
    optime: optimeAt(bytes, ts.valueAt),
    wall: dateOf(bytes, wall),
    op: stringOf(bytes, op),
    namespace: stringOf(bytes, ns),
  };
}

export function optimeAt(bytes: Buffer, at: number): Optime {
  return { increment: bytes.readUInt32LE(at), seconds: bytes.readUInt32LE(at + 4) };
}

/** The name of the command in an entry of kind `c`: the first field of `o`. */
export function commandName(entry: OplogEntry): string | null {
  const o = fieldNamed(entry.fields, 'o');
  if (entry.op !== 'c' || o?.type !== BSON.document) return null;
  return fieldsOf(entry.bytes, o.valueAt)[0]?.name ?? null;
}

export function timestampOf(optime: Optime): Timestamp {
  return new Timestamp({ t: optime.seconds, i: optime.increment });
}

export function optimeFrom(timestamp: Timestamp): Optime {
  return { seconds: timestamp.getHighBitsUnsigned(), increment: timestamp.getLowBitsUnsigned() };
}

/**
 * Entries that a majority has, so that no failover can take them back (rule 9). `from` inclusive. A secondary that lags
 * gives fewer, never others.
 */
export function oplogBatches(client: MongoClient, from: Optime, to: Optime | null): AsyncGenerator<RawBatch> {
  const range = { $gte: timestampOf(from), ...(to ? { $lte: timestampOf(to) } : {}) };
  return rawBatches(client, 'local', { find: 'oplog.rs', filter: { ts: range }, readConcern: { level: 'majority' } });
}

/** The newest entry that a majority has. */
export async function newestCommitted(client: MongoClient): Promise<{ optime: Optime; wall: Date }> {
  const entry = await client
    .db('local')
    .collection('oplog.rs')
    .find({}, { sort: { $natural: -1 }, limit: 1, projection: { ts: 1, wall: 1 }, readConcern: { level: 'majority' } })
    .next();
  if (!entry) throw failure('TargetUnreachable', 'the member has no oplog entry that a majority has yet');
  return { optime: optimeFrom(entry['ts'] as Timestamp), wall: entry['wall'] as Date };
}

/** The id that a replica set gets when it is initiated, and keeps. */
export async function replicaSetId(client: MongoClient): Promise<{ id: string; config: Document }> {
  const { config } = (await client.db('admin').command({ replSetGetConfig: 1 })) as { config: Document };
  return { id: String(config['settings']['replicaSetId']), config };
}
