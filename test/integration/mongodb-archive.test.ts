import { Transform } from 'node:stream';
import { BSON, type MongoClient } from 'mongodb';
import { hasCode } from '../../core/errors';
import { MemoryVolumes, takeBackup, testContext } from '../support/engine-harness';
import { parseArchive, type ParsedArchive } from '../support/mongodb-archive';
import { type MongodbHarness, startMongodb } from '../support/mongodb-harness';

describe('the archive of a dump', () => {
  let harness: MongodbHarness;
  let client: MongoClient;
  let archive: ParsedArchive;
  let artifacts: string[];

  beforeAll(async () => {
    harness = await startMongodb();
    client = harness.client;
    const shop = client.db('shop');
    await shop
      .collection<{ _id: number }>('orders')
      .insertMany(Array.from({ length: 500 }, (_, _id) => ({ _id, note: `n${_id}` })));
    // Integer-like keys in an order that a JavaScript object cannot hold.
    await shop.collection('odd').insertOne(
      new Map<string, unknown>([
        ['_id', 1],
        ['b', 1],
        ['2', 'two'],
        ['1', 'one'],
      ]),
    );
    await shop.collection('orders').createIndex({ note: 1 }, { unique: true, name: 'by_note' });
    await shop.createCollection('log', { capped: true, size: 65_536 });
    await shop.createCollection('readings', { timeseries: { timeField: 'at', metaField: 'sensor' } });
    await shop
      .collection('readings')
      .insertMany([1, 2, 3].map((value) => ({ at: new Date(1_000 * value), sensor: 'a', value })));
    await shop.createCollection('recent', { viewOn: 'orders', pipeline: [{ $match: { _id: { $gt: 490 } } }] });
    await shop.command({ createUser: 'clerk', pwd: 'p', roles: ['read'], writeConcern: { w: 'majority' } });
    const volumes = new Map<string, MemoryVolumes>();
    const { manifest } = await takeBackup(harness.engine, 'primary', volumes, []);
    artifacts = manifest.artifacts.map(({ name }) => name);
    archive = parseArchive(volumes.get(manifest.backupId)?.contents.get('dump.archive') as Buffer);
  }, 120_000);
  afterAll(async () => harness?.stop(), 60_000);

  test('has the head that mongorestore reads', () => {
    expect(artifacts).toEqual(['dump.archive']);
    expect(archive.head).toMatchObject({ version: '0.1', concurrent_collections: 4 });
    expect(Object.keys(archive.head)).toEqual(['concurrent_collections', 'version', 'server_version', 'tool_version']);
    const named = archive.namespaces.map(({ db, collection, type }) => `${db}.${collection}:${type}`);
    for (const each of [
      'shop.orders:',
      'shop.recent:view',
      'shop.readings:timeseries',
      'admin.system.users:',
      '.oplog:',
    ])
      expect(named).toContain(each);
    const orders = JSON.parse(
      archive.namespaces.find(({ collection }) => collection === 'orders')?.['metadata'] as string,
    );
    expect(orders.indexes.map(({ name }: { name: string }) => name)).toEqual(['_id_', 'by_note']);
    expect(orders.uuid).toMatch(/^[0-9a-f]{32}$/);
    const capped = JSON.parse(
      archive.namespaces.find(({ collection }) => collection === 'log')?.['metadata'] as string,
    );
    expect(capped.options).toMatchObject({ capped: true });
  });

  test('holds every document byte for byte', async () => {
    const raw = client.db('shop').collection('odd').find({}, { raw: true });
    expect(archive.contents.get('shop.odd')).toEqual((await raw.toArray()).map((each) => Buffer.from(each as never)));
    const ids = archive.contents.get('shop.orders')?.map((each) => BSON.deserialize(each)['_id'] as number);
    expect(ids?.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 500 }, (_, id) => id));
    expect(archive.contents.get('shop.system.buckets.readings')).toHaveLength(1);
    // Nothing but its end, without which mongorestore makes no view and fails.
    expect(archive.contents.get('shop.recent')).toEqual([]);
    const users = archive.contents.get('admin.system.users')?.map((each) => BSON.deserialize(each)['_id'] as string);
    expect(users).toContain('shop.clerk');
  });

  test('a rename while it is written makes it useless, and it says so', async () => {
    await client.db('shop').collection('first').insertOne({ n: 1 });
    const volumes = new MemoryVolumes();
    let renamed: Promise<unknown> | null = null;
    const plan = await harness.engine.planDump(
      { backupId: 'x', type: 'full', site: 'primary', existing: [] },
      testContext(),
    );
    const meanwhile = {
      ...testContext(),
      progress: () =>
        void (renamed ??= client
          .db('shop')
          .renameCollection('first', 'second', { writeConcern: { w: 'majority' } } as never)),
    };
    const slow = {
      targetVolumeBytes: 1,
      volume: (name: string) => {
        const gate = new Transform({
          async transform(chunk, _encoding, done) {
            await renamed;
            done(null, chunk);
          },
        });
        gate.pipe(volumes.volume(name));
        return gate;
      },
      early: async () => undefined,
    };
    const failed = await harness.engine.dump(plan, null, slow, meanwhile).catch((error: unknown) => error);
    expect(hasCode(failed, 'BackupIncomplete')).toBe(true);
    expect((failed as Error).message).toMatch(/renameCollection/);
  });

  test('ends with the oplog of its time', () => {
    const oplog = archive.contents.get('.oplog')?.map((each) => BSON.deserialize(each));
    expect(oplog?.length).toBeGreaterThan(0);
    expect([...archive.contents.keys()].at(-1)).toBe('.oplog');
  });

  // The last one: a server lets nobody take this document away again.
  test('a shard is refused', async () => {
    const version = client.db('admin').collection<{ _id: string }>('system.version');
    await version.insertOne({ _id: 'shardIdentity' }, { writeConcern: { w: 'majority' } });
    const failed = await takeBackup(harness.engine, 'primary', new Map(), []).catch((error: unknown) => error);
    expect(hasCode(failed, 'ConfigInvalid')).toBe(true);
  });
});
