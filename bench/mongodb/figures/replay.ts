import * as fs from 'node:fs';
import * as path from 'node:path';
import type { Document, MongoClient } from 'mongodb';
import { BSON, documentOf, documentsIn, elementOf, stringElement } from '../../../adapters/engines/mongodb/bson-bytes';
import { oplogBatches, readEntry } from '../../../adapters/engines/mongodb/oplog';
import type { Optime } from '../../../adapters/engines/mongodb/positions';
import { WireConnection } from '../../../adapters/engines/mongodb/wire';
import type { RestoreStoresResult } from '../../../core/runs';
import { figure, type Figure, median } from '../../figure';
import { STORE } from '../../product';
import { startEmptyServer } from '../empty-server';
import { type Side, textOf } from '../product';
import { contentOf, DATABASE, type ReplicaSet } from '../replica-set';
import { removeRestored, restoredUrl, withServer } from '../restored-copy';
import type { Stand } from '../stand';

const ENTRIES_PER_SECOND_AT_LEAST = 20_000;
const CHANGED = 'orders';
const CHANGES_AT_ONCE = 1_000;
/** As many as drctl gives the server at once. */
const OPERATIONS_AT_ONCE = 5_000;
const BOUND = 'the same entries given to an empty server with the documents in it, ready made';

/**
 * The replay of a point-in-time recovery: small updates, each an entry. Ours is the whole step, the log still in S3 when it
 * begins and the indexes built at its end; the bound is what the server takes for the entries alone.
 */
export async function replay(stand: Stand): Promise<Figure[]> {
  const { rounds, say, changes } = stand;
  const side = await stand.changing();
  const { set, product } = side;
  await product.work();
  await product.backUp('full');
  const from = await set.newest();
  say(`  making ${changes} changes`);
  await change(set, changes);
  await set.settled();
  const to = await set.newest();
  await product.archivedTo(textOf(to));
  await product.rest();
  const content = await contentOf(set.client);
  const operations = await operationsBetween(set, from, to);
  const count = operations.length;
  if (count < changes) throw new Error(`the oplog holds ${count} entries of ${changes} changes`);
  const [ours, bounds]: [number[], number[]] = [[], []];
  for (let round = 1; round <= rounds; round += 1) {
    ours.push(count / (await replayOurs(side, to, content, round)));
    bounds.push(count / (await boundOf(stand, set, operations, round)));
    say(
      `  replay, round ${round}: ours ${ours.at(-1)?.toFixed(0)}/s, the server's bound ${bounds.at(-1)?.toFixed(0)}/s`,
    );
  }
  return [
    figure({
      name: `replay of ${count} oplog entries, fetched from S3 meanwhile (drctl on MongoDB ${set.serverVersion})`,
      unit: 'entries/s',
      values: ours,
      peer: { name: BOUND, values: bounds },
      aim: { valueAtLeast: Math.min(ENTRIES_PER_SECOND_AT_LEAST, Math.round(median(bounds))) },
    }),
  ];
}

async function change({ client }: ReplicaSet, changes: number): Promise<void> {
  const collection = client.db(DATABASE).collection<{ _id: number }>(CHANGED);
  const documents = await collection.countDocuments();
  for (let from = 0; from < changes; from += CHANGES_AT_ONCE) {
    const count = Math.min(CHANGES_AT_ONCE, changes - from);
    await collection.bulkWrite(
      Array.from({ length: count }, (_, index) => ({
        updateOne: {
          filter: { _id: ((from + index) * 7_919) % documents },
          update: { $inc: { count: 1 }, $set: { changed: from + index } },
        },
      })),
      { ordered: false, writeConcern: { w: 'majority', j: false } },
    );
  }
}

/** Of the changed collection, as `applyOps` takes them. */
async function operationsBetween({ client }: ReplicaSet, from: Optime, to: Optime): Promise<Buffer[]> {
  const found: Buffer[] = [];
  for await (const { documents } of oplogBatches(client, from, to)) {
    for (const bytes of documentsIn(documents)) {
      const { op, namespace, fields } = readEntry(bytes);
      if (op !== 'u' || namespace !== `${DATABASE}.${CHANGED}`) continue;
      const kept = fields.filter(({ name }) => ['op', 'ns', 'o', 'o2'].includes(name));
      found.push(documentOf(kept.map(({ elementAt, endAt }) => Buffer.from(bytes.subarray(elementAt, endAt)))));
    }
  }
  return found;
}

async function replayOurs({ product }: Side, to: Optime, content: string, round: number): Promise<number> {
  await product.work();
  const into = path.join(product.restoreFolder, `replay-${round}`);
  try {
    const { restoreId, stores } = await product.drctl<RestoreStoresResult>(
      ...['restore', STORE, '--to', `position:${textOf(to)}`, '--into', into, '--yes'],
    );
    const address = stores[0]?.restored.address;
    const step = (await product.restoreSteps(restoreId)).get('replay');
    if (!step || !address) throw new Error('the restore tells nothing of its replay');
    const found = await withServer(restoredUrl(address.host, address.port), contentOf);
    if (found !== content) throw new Error(`what was replayed is not what is at the source: ${found}, not ${content}`);
    return (step.endedAt - step.startedAt) / 1_000;
  } finally {
    await removeRestored(into);
    await product.rest();
  }
}

/** Seconds that the server needs for the operations. They are idempotent: it holds the documents as they are after them. */
async function boundOf({ rig }: Stand, set: ReplicaSet, operations: readonly Buffer[], round: number): Promise<number> {
  const folder = path.join(rig.folder, `replay-bound-${round}`);
  const server = await startEmptyServer(folder);
  try {
    await withServer(server.url, (client) => copyChanged(set.client, client));
    const batches: Buffer[] = [];
    for (let at = 0; at < operations.length; at += OPERATIONS_AT_ONCE)
      batches.push(applyOps(operations.slice(at, at + OPERATIONS_AT_ONCE)));
    const wire = await WireConnection.open(server, AbortSignal.timeout(600_000));
    const started = performance.now();
    for (const batch of batches) {
      const reply: Document = await wire.command(batch);
      if (reply['ok'] !== 1) throw new Error(`the server refused a batch: ${reply['errmsg']}`);
    }
    wire.close();
    return (performance.now() - started) / 1_000;
  } finally {
    await server.kill();
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

async function copyChanged(from: MongoClient, to: MongoClient): Promise<void> {
  const into = to.db(DATABASE).collection(CHANGED);
  let batch: Document[] = [];
  for await (const each of from.db(DATABASE).collection(CHANGED).find()) {
    batch.push(each);
    if (batch.length === CHANGES_AT_ONCE) await into.insertMany(batch.splice(0));
  }
  if (batch.length > 0) await into.insertMany(batch);
}

function applyOps(operations: readonly Buffer[]): Buffer {
  const array = documentOf(operations.map((each, index) => elementOf(BSON.document, `${index}`, each)));
  return documentOf([
    elementOf(BSON.array, 'applyOps', array),
    elementOf(BSON.boolean, 'allowAtomic', Buffer.of(0)),
    stringElement('$db', 'admin'),
  ]);
}
