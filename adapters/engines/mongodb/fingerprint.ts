import { createHash, hash } from 'node:crypto';
import { BSON as Bson, type Document, type MongoClient } from 'mongodb';
import type { CallContext } from '../../../core/call';
import type { Fingerprint } from '../../../core/recovery';
import { documentsIn } from './bson-bytes';
import { RESTORE_DATABASE } from './index-catalog';
import { OWN_DATABASE } from './lineage';
import { rawBatches } from './raw-batches';

const SKIPPED = ['admin', 'config', 'local', OWN_DATABASE, RESTORE_DATABASE];

/**
 * Per collection: the number of documents, the sum (modulo 2^256) of the SHA-256 of each document's bytes, whatever their
 * order, and a digest of options and indexes. A view is its definition; of a time series the buckets' documents are left out
 * and its measurements are read, because two servers may bucket the same measurements differently.
 */
export async function fingerprintServer(client: MongoClient, ctx: CallContext): Promise<Fingerprint> {
  const { databases } = await client.db('admin').admin().listDatabases({ nameOnly: true });
  const items: { name: string; count: number; digest: string }[] = [];
  for (const { name: db } of databases.filter(({ name }) => !SKIPPED.includes(name))) {
    const listed = await client.db(db).listCollections({}, { promoteValues: false, promoteLongs: false }).toArray();
    for (const each of listed.filter(({ name }) => !name.startsWith('system.') || name === 'system.js')) {
      ctx.signal.throwIfAborted();
      const { options = {} } = each as { options?: Document };
      const type = each.type ?? 'collection';
      const indexes =
        type === 'view'
          ? []
          : await client
              .db(db)
              .collection(each.name)
              .listIndexes({ promoteValues: false, promoteLongs: false })
              .toArray();
      const shape = digestOf([type, options, indexes.map(canonicalIndex).toSorted()]);
      const content = type === 'view' ? { count: 0, digest: 'view' } : await contentOf(client, db, each.name, ctx);
      items.push({ name: `${db}.${each.name}`, count: content.count, digest: `${content.digest}/${shape}` });
    }
  }
  return { algorithm: 'mongodb-sum-sha256/1', items: items.toSorted((a, b) => (a.name < b.name ? -1 : 1)) };
}

async function contentOf(client: MongoClient, db: string, collection: string, ctx: CallContext) {
  // 256-bit sum in eight 32-bit words, added to with carries at the end only: BigInt would cost more than the hash.
  const sums = new Float64Array(8);
  let count = 0;
  for await (const batch of rawBatches(client, db, { find: collection, readConcern: { level: 'local' } })) {
    ctx.signal.throwIfAborted();
    for (const document of documentsIn(batch.documents)) {
      const digest = hash('sha256', document, 'buffer');
      for (let word = 0; word < 8; word++) sums[word] = (sums[word] as number) + digest.readUInt32BE(word * 4);
    }
    // A word's sum stays exact below 2^53, which is two million documents; a batch has at most a tenth of that.
    if (count % 1_000_000 > (count + batch.count) % 1_000_000) carry(sums);
    count += batch.count;
    ctx.progress({ phase: 'fingerprinting', doneItems: count, note: `${db}.${collection}` });
  }
  carry(sums);
  return { count, digest: [...sums].map((word) => word.toString(16).padStart(8, '0')).join('') };
}

/** Brings each word below 2^32 again; what leaves the first word is lost (modulo 2^256). */
function carry(sums: Float64Array): void {
  for (let word = 7, over = 0; word >= 0; word--) {
    const value = (sums[word] as number) + over;
    over = Math.floor(value / 2 ** 32);
    sums[word] = value - over * 2 ** 32;
  }
}

/** `v` is the index format's version and `background` has no meaning since 4.2: neither is content. */
function canonicalIndex(spec: Document): string {
  const options = Object.entries(spec).filter(([name]) => !['v', 'background', 'ns', 'key'].includes(name));
  return Bson.EJSON.stringify({ key: spec['key'], options: options.toSorted(([a], [b]) => (a < b ? -1 : 1)) });
}

function digestOf(value: unknown): string {
  return createHash('sha256').update(Bson.EJSON.stringify(value)).digest('hex').slice(0, 32);
}
