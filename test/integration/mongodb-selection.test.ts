import { MongoClient } from 'mongodb';
import { IndexCatalog } from '../../adapters/engines/mongodb/index-catalog';
import { narrow } from '../../adapters/engines/mongodb/narrow';
import type { MongodbMarker } from '../../adapters/engines/mongodb/restore';
import { withRestored } from '../../adapters/engines/mongodb/restored-server';
import { readMarker } from '../../adapters/engines/restore-marker';
import type { Manifest } from '../../core/catalog';
import type { RestoreRequest } from '../../core/engine';
import type { Fingerprint, RecoveryTarget } from '../../core/recovery';
import { readSelection } from '../../core/selection';
import { expectFailure } from '../support/expect-failure';
import {
  combinedSource,
  MemoryLogArchive,
  type MemoryVolumes,
  takeBackup,
  testContext,
} from '../support/engine-harness';
import { changeEveryKind, fillWithEveryKind } from '../support/mongodb-content';
import { type MongodbHarness, startMongodb } from '../support/mongodb-harness';

const inRing = { sort: { $natural: 1 as const }, projection: { n: 1 } };
/** Of 1 MB each: several of the batches that a restore inserts at the same time. */
const RING = Array.from({ length: 30 }, (_, n) => n);
const MAJORITY = { writeConcern: { w: 'majority' as const } };

describe('a part of a store, under new names', () => {
  const volumes = new Map<string, MemoryVolumes>();
  let harness: MongodbHarness;
  let log: MemoryLogArchive;
  let backup: Manifest;
  let atBackup: Fingerprint;
  let atEnd: Fingerprint;

  const print = () => harness.engine.fingerprint({ site: 'primary' }, testContext());

  const planned = async (id: string, target: RecoveryTarget, include: string[], rename: string[]) => {
    const { engine } = harness;
    const whole = await engine.planRestore(target, { backups: [backup], log }, testContext());
    const selection = readSelection(include, rename);
    if (selection === null) throw new Error('nothing is selected');
    const plan = engine.restore.select!(whole, selection);
    return { restoreId: id, plan, chain: [backup], place: harness.place() } satisfies RestoreRequest;
  };

  const restored = async (request: RestoreRequest) => {
    const { restore } = harness.engine;
    await restore.rebuild(request, combinedSource(volumes), log, testContext());
    await restore.replay(request, log, testContext());
    const store = await restore.open(request, testContext());
    const client = await new MongoClient(
      `mongodb://${store.address?.host}:${store.address?.port}/?directConnection=true`,
    ).connect();
    const users = await client.db('admin').collection('system.users').countDocuments();
    const ring = await client.db('rings').collection('ring').find({}, inRing).toArray();
    await client.close();
    const found = await harness.engine.fingerprint(store, testContext());
    await restore.discard(request.place, testContext());
    return { items: found.items, users, ring: ring.map(({ n }) => Number(n)) };
  };

  /** Of the source's content, by the names that it is to have: documents, options and indexes. */
  const expected = (source: Fingerprint, nameOf: (name: string) => string | null) =>
    source.items
      .flatMap((item) => {
        const name = nameOf(item.name);
        return name === null ? [] : [{ ...item, name }];
      })
      .toSorted((a, b) => (a.name < b.name ? -1 : 1));

  beforeAll(async () => {
    harness = await startMongodb({ members: 1, living: true });
    log = new MemoryLogArchive(harness.engine.log!.naming);
    const { client } = harness;
    const shop = client.db('shop');
    await fillWithEveryKind(client);
    for (const name of ['orders', 'carts', 'kept']) {
      await shop.collection(name).insertMany(
        Array.from({ length: 50 }, (_, n) => ({ n, name })),
        MAJORITY,
      );
      await shop.collection(name).createIndex({ n: 1 }, { name: `by-n-of-${name}` });
    }
    await client.db('rings').createCollection('ring', { capped: true, size: 64 * 1024 * 1024, ...MAJORITY });
    const text = 'x'.repeat(1_000_000);
    for (const n of RING) await client.db('rings').collection('ring').insertOne({ n, text }, MAJORITY);
    await harness.archive(log);
    atBackup = await print();
    backup = (await takeBackup(harness.engine, 'primary', volumes, [])).manifest;
    await changeEveryKind(client, 1);
    // Another collection takes the wanted name, written while it had its own.
    await shop.collection('made').insertMany([{ n: 1 }, { n: 2 }], MAJORITY);
    await shop.collection('made').createIndex({ n: -1 }, { name: 'of-made' });
    await shop.collection('orders').drop(MAJORITY);
    await shop.collection('made').rename('orders', MAJORITY);
    await shop
      .collection('carts')
      .aggregate([{ $match: { n: { $lt: 9 } } }, { $out: 'few' }])
      .toArray();
    await client.db('kinds').createCollection('late-view', { viewOn: 'indexed', pipeline: [], ...MAJORITY });
    await client.withSession((session) =>
      session.withTransaction(async () => {
        await shop.collection('few').insertOne({ n: 1_000 }, { session });
        await client.db('kinds').collection('empty').insertOne({ n: 1 }, { session });
        await shop.collection('kept').deleteMany({ n: { $gt: 5 } }, { session });
      }, MAJORITY),
    );
    atEnd = await print();
    await harness.archive(log);
  }, 180_000);
  afterAll(async () => harness?.stop(), 60_000);

  test('of a backup: one collection, another one under a new name, and nothing else', async () => {
    const { backupId } = backup;
    const include = ['shop.orders', 'kinds.series', 'shop.carts', 'rings'];
    const request = await planned('backup', { kind: 'backup', backupId }, include, ['shop.carts=old.carts']);
    const names: Record<string, string> = {
      'shop.orders': 'shop.orders',
      'kinds.series': 'kinds.series',
      'shop.carts': 'old.carts',
      'rings.ring': 'rings.ring',
    };
    const { items, users, ring } = await restored(request);
    expect(items).toEqual(expected(atBackup, (name) => names[name] ?? null));
    expect(users).toBe(0);
    // What a capped collection reads first, and loses first.
    expect(ring).toEqual(RING);
  }, 120_000);

  test('of the log behind it, whatever was called so on the way; a database under a new name with its views', async () => {
    const request = await planned(
      'latest',
      { kind: 'latest' },
      ['shop.orders', 'shop.few', 'kinds'],
      ['shop.orders=shop.orders-old', 'kinds=kinds-copy'],
    );
    const { items } = await restored(request);
    const renamed = (name: string) => {
      if (name === 'shop.orders') return 'shop.orders-old';
      if (name === 'shop.few') return name;
      return name.startsWith('kinds.') ? name.replace('kinds.', 'kinds-copy.') : null;
    };
    expect(items).toEqual(expected(atEnd, renamed));
    expect(items.map(({ name }) => name)).toContain('kinds-copy.late-view');
  }, 120_000);

  test('everything, one collection of it under a new name', async () => {
    const request = await planned('all', { kind: 'latest' }, [], ['shop.kept=shop.kept-then']);
    const { items, users } = await restored(request);
    expect(items).toEqual(expected(atEnd, (name) => (name === 'shop.kept' ? 'shop.kept-then' : name)));
    expect(users).toBeGreaterThan(0);
  }, 120_000);

  test('a try that dies between a rename and its indexes is repeated', async () => {
    const { backupId } = backup;
    const request = await planned('dying', { kind: 'backup', backupId }, ['shop.carts'], ['shop.carts=old.carts']);
    await harness.engine.restore.rebuild(request, combinedSource(volumes), log, testContext());
    const marker = await readMarker<MongodbMarker>(request.place.directory);
    await withRestored(marker!, async (client) => {
      const dying = Object.assign(new IndexCatalog(client), { rename: () => Promise.reject(new Error('it died')) });
      await expect(narrow(client, dying, request.plan)).rejects.toThrow('it died');
    });
    const { items } = await restored(request);
    expect(items).toEqual(expected(atBackup, (name) => (name === 'shop.carts' ? 'old.carts' : null)));
  }, 120_000);

  test('a name that nothing has, and one that is taken, end the restore', async () => {
    const missing = await planned('missing', { kind: 'latest' }, ['shop.Orders'], []);
    await expectFailure(restored(missing), 'NotFound', 'shop.Orders');
    const taken = await planned('taken', { kind: 'latest' }, ['shop'], ['shop.few=shop.kept']);
    await expectFailure(restored(taken), 'UsageInvalid', 'there is a shop.kept already');
    const neither = await planned('neither', { kind: 'latest' }, ['shop'], ['shop.nothing=shop.kept']);
    await expectFailure(restored(neither), 'NotFound', 'shop.nothing');
    const merged = await planned('merged', { kind: 'latest' }, [], ['shop=kinds']);
    await expectFailure(restored(merged), 'UsageInvalid', 'there is a kinds already');
  }, 120_000);

  test.each([
    [['admin'], [], '"admin"'],
    [['shop.'], [], '"shop."'],
    [[], ['shop=shop.orders'], 'the other a collection'],
    [['shop.orders'], ['shop.carts=shop.x'], 'does not name it'],
    [[], ['shop.a=shop.b', 'shop.b=shop.a'], 'renamed itself'],
    [[], ['shop.a=shop.c', 'shop.b=shop.c'], 'two renames'],
    [[], ['shop=mart', 'shop.a=shop.b'], 'its database'],
  ] as [string[], string[], string][])('%j renamed %j is refused', async (include, rename, why) => {
    await expectFailure(planned('refused', { kind: 'latest' }, include, rename), 'UsageInvalid', why);
  });
});
