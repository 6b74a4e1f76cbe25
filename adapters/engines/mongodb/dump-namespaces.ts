import { BSON as Bson, type Document, type MongoClient } from 'mongodb';
import { failure } from '../../../core/errors';
import type { ArchivedNamespace } from './archive-writer';

/** One namespace of a dump: what the head says, and the collection its documents are read from (null for a view). */
export interface DumpNamespace extends ArchivedNamespace {
  readonly source: string | null;
}

/** Users, roles and their version are what `mongorestore` brings back; the rest of `admin.system.*` belongs to the server. */
const ADMIN_SYSTEM = ['system.users', 'system.roles', 'system.version'];

export async function dumpNamespaces(client: MongoClient): Promise<DumpNamespace[]> {
  const { databases } = await client.db('admin').admin().listDatabases({ nameOnly: true });
  const names = databases.map(({ name }) => name).filter((name) => name !== 'local' && name !== 'config');
  const found: DumpNamespace[] = [];
  for (const db of names.toSorted()) found.push(...(await namespacesOf(client, db)));
  return found;
}

/** Refuses a shard, whose oplog alone is not the whole truth, and a router, which has none. */
export async function refuseSharded(client: MongoClient, store: string): Promise<void> {
  const hello = await client.db('admin').command({ hello: 1 });
  const shard = await client
    .db('admin')
    .collection<{ _id: string }>('system.version')
    .findOne({ _id: 'shardIdentity' });
  if (hello['msg'] === 'isdbgrid' || shard) {
    throw failure('ConfigInvalid', `MongoDB ${store} is a sharded cluster, which is not supported`, {
      data: 'No backup was taken: copying the shards one by one would not give one point in time.',
      next: 'Back up a sharded cluster with its own tool; a replica set is supported.',
    });
  }
}

async function namespacesOf(client: MongoClient, db: string): Promise<DumpNamespace[]> {
  const listed = await client.db(db).listCollections({}, { promoteValues: false, promoteLongs: false }).toArray();
  const wanted = listed.filter(({ name }) => isWanted(db, name)).toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const found: DumpNamespace[] = [];
  for (const each of wanted) {
    const type = (each.type ?? 'collection') as 'collection' | 'view' | 'timeseries';
    const { options = {}, info } = each as { options?: Document; info?: Document };
    const indexes = type === 'view' ? [] : await indexesOf(client, db, each.name);
    if (indexes === null) continue;
    const uuid = info?.['uuid'] as { toString(encoding?: string): string } | undefined;
    const metadata = {
      indexes,
      ...(uuid ? { uuid: uuid.toString('hex').replaceAll('-', '') } : {}),
      collectionName: each.name,
      type,
      options,
    };
    const source = type === 'view' ? null : type === 'timeseries' ? `system.buckets.${each.name}` : each.name;
    found.push({
      db,
      collection: each.name,
      type,
      source,
      metadata: Bson.EJSON.stringify(metadata, { relaxed: false }),
    });
  }
  return found;
}

function isWanted(db: string, name: string): boolean {
  if (!name.startsWith('system.')) return true;
  return name === 'system.js' || isAboutUsers({ db, collection: name });
}

export function isAboutUsers({ db, collection }: Pick<ArchivedNamespace, 'db' | 'collection'>): boolean {
  return db === 'admin' && ADMIN_SYSTEM.includes(collection);
}

/** Null for a collection dropped since it was listed: the drop is in the log. */
async function indexesOf(client: MongoClient, db: string, collection: string): Promise<Document[] | null> {
  try {
    const options = { promoteValues: false, promoteLongs: false };
    return await client.db(db).collection(collection).listIndexes(options).toArray();
  } catch (error) {
    if ((error as { codeName?: string }).codeName === 'NamespaceNotFound') return null;
    throw error;
  }
}
