import { Transform } from 'node:stream';
import { BSON, Long, type MongoClient } from 'mongodb';
import { hasCode } from '../../core/errors';
import { MemoryVolumes, takeBackup, testContext } from '../support/engine-harness';
import { type MongodbHarness, startMongodb } from '../support/mongodb-harness';

/**
 * A reader of mongodump's archive format written from its description (mongo-tools, common/archive), not from our writer:
 * other code than the engine's on purpose, so that both cannot be wrong in the same way.
 */
function parseArchive(bytes: Buffer) {
  let at = 0;
  const document = () => {
    const length = bytes.readInt32LE(at);
    const found = bytes.subarray(at, at + length);
    at += length;
    return found;
  };
  const terminated = () => {
    if (bytes.readUInt32LE(at) !== 0xffffffff) return false;
    at += 4;
    return true;
  };
  expect(bytes.subarray(0, 4).toString('hex')).toBe('6de29981');
  at = 4;
  const head = BSON.deserialize(document());
  const namespaces: BSON.Document[] = [];
  while (!terminated()) namespaces.push(BSON.deserialize(document()));
  const contents = new Map<string, Buffer[]>();
  const ended = new Map<string, bigint>();
  while (at < bytes.length) {
    const { db, collection, EOF, CRC } = BSON.deserialize(document(), { promoteLongs: false });
    const key = `${db}.${collection}`;
    expect(ended.has(key)).toBe(false);
    const documents: Buffer[] = [];
    while (!terminated()) documents.push(document());
    contents.set(key, [...(contents.get(key) ?? []), ...documents]);
    if (EOF) {
      expect(documents).toEqual([]);
      ended.set(key, BigInt.asUintN(64, (CRC as Long).toBigInt()));
    } else expect((CRC as Long).toBigInt()).toBe(0n);
  }
  expect([...ended.keys()].toSorted()).toEqual([...contents.keys()].toSorted());
  return { head, namespaces, contents, checksums: ended };
}

function crc64(parts: readonly Buffer[]): bigint {
  let crc = 0xffffffffffffffffn;
  for (const byte of Buffer.concat(parts)) {
    crc ^= BigInt(byte);
    for (let bit = 0; bit < 8; bit++) crc = crc & 1n ? (crc >> 1n) ^ 0xc96c5795d7870f42n : crc >> 1n;
  }
  return crc ^ 0xffffffffffffffffn;
}

describe('the archive of a dump', () => {
  let harness: MongodbHarness;
  let client: MongoClient;
  let archive: ReturnType<typeof parseArchive>;
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

  test('holds every document byte for byte, with the right checksums', async () => {
    const raw = client.db('shop').collection('odd').find({}, { raw: true });
    expect(archive.contents.get('shop.odd')).toEqual((await raw.toArray()).map((each) => Buffer.from(each as never)));
    const ids = archive.contents.get('shop.orders')?.map((each) => BSON.deserialize(each)['_id'] as number);
    expect(ids?.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 500 }, (_, id) => id));
    expect(archive.contents.get('shop.system.buckets.readings')).toHaveLength(1);
    expect(archive.contents.has('shop.recent')).toBe(false);
    const users = archive.contents.get('admin.system.users')?.map((each) => BSON.deserialize(each)['_id'] as string);
    expect(users).toContain('shop.clerk');
    for (const [key, documents] of archive.contents)
      expect([key, archive.checksums.get(key)]).toEqual([key, crc64(documents)]);
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
