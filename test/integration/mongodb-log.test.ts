import { BSON, type Collection, type MongoClient } from 'mongodb';
import { archiveLog } from '../../adapters/engines/mongodb/log-archiver';
import { IndexCatalog } from '../../adapters/engines/mongodb/index-catalog';
import { openTransactionsIn } from '../../adapters/engines/mongodb/open-transactions';
import { readEntry } from '../../adapters/engines/mongodb/oplog';
import { OplogApplier } from '../../adapters/engines/mongodb/oplog-applier';
import { optimeOf } from '../../adapters/engines/mongodb/positions';
import type { MongodbMarker } from '../../adapters/engines/mongodb/restore';
import { withRestored } from '../../adapters/engines/mongodb/restored-server';
import { SelectedPart } from '../../adapters/engines/mongodb/selection';
import { WireConnection } from '../../adapters/engines/mongodb/wire';
import { readMarker } from '../../adapters/engines/restore-marker';
import type { Manifest } from '../../core/catalog';
import type { ArchiveOutcome, RestoreRequest } from '../../core/engine';
import type { LogEntry } from '../../core/log-archive';
import { compareFingerprints, type RestoredStore } from '../../core/recovery';
import { combinedSource, MemoryLogArchive, MemoryVolumes, takeBackup, testContext } from '../support/engine-harness';
import { parseArchive } from '../support/mongodb-archive';
import { type MongodbHarness, startMongodb } from '../support/mongodb-harness';

describe('what an oplog can hold', () => {
  const volumes = new Map<string, MemoryVolumes>();
  let harness: MongodbHarness;
  let client: MongoClient;
  let log: MemoryLogArchive;
  let backup: Manifest;

  const archive = (runForMilliseconds?: number): Promise<ArchiveOutcome> => harness.archive(log, runForMilliseconds);
  const restoreLatest = async (restoreId: string): Promise<[RestoreRequest, RestoredStore]> => {
    const plan = await harness.engine.planRestore({ kind: 'latest' }, { backups: [backup], log }, testContext());
    const request = { restoreId, plan, chain: [backup], place: harness.place() };
    await harness.engine.restore.rebuild(request, combinedSource(volumes), log, testContext());
    await harness.engine.restore.replay(request, log, testContext());
    return [request, await harness.engine.restore.open(request, testContext())];
  };

  beforeAll(async () => {
    harness = await startMongodb();
    client = harness.client;
    log = new MemoryLogArchive(harness.engine.log!.naming);
    await client
      .db('kept')
      .collection('before')
      .insertOne({ here: true }, { writeConcern: { w: 'majority' } });
    await client
      .db('gone')
      .collection('before')
      .insertOne({ here: true }, { writeConcern: { w: 'majority' } });
    await client.db('kept').createCollection('old_view', { viewOn: 'before', pipeline: [] });
    await archive(500);
    backup = (await takeBackup(harness.engine, 'primary', volumes, [])).manifest;
    parseArchive(volumes.get(backup.backupId)?.contents.get('dump.archive') as Buffer);
  }, 120_000);
  afterAll(async () => harness?.stop(), 60_000);

  test('collections of every kind, large transactions, commands, users: all are as at the source after a replay', async () => {
    const db = client.db('kept');
    const majority = { writeConcern: { w: 'majority' as const } };
    await db.createCollection('capped', { capped: true, size: 100_000, max: 5 });
    await db.collection('capped').insertMany(
      Array.from({ length: 5 }, (_, n) => ({ n })),
      majority,
    );
    await db.createCollection('series', {
      timeseries: { timeField: 'at', metaField: 'who' },
      expireAfterSeconds: 1_000_000_000,
    });
    await db
      .collection('series')
      .insertMany(Array.from({ length: 20 }, (_, n) => ({ at: new Date(1_700_000_000_000 + n), who: n % 2, n })));
    await db.collection('series').createIndex({ who: 1, at: -1 });
    await db.createCollection('view', { viewOn: 'before', pipeline: [{ $match: { here: true } }] });
    await db.dropCollection('old_view');
    await db.createCollection('collated', { collation: { locale: 'de', strength: 1 } });
    await db.collection('collated').insertMany([{ _id: 'a' as never }, { _id: 'b' as never }]);
    await db.createCollection('clustered', { clusteredIndex: { key: { _id: 1 }, unique: true } });
    await db.collection('clustered').insertMany(Array.from({ length: 10 }, () => ({ x: 1 })));
    await db.createCollection('checked', { validator: { n: { $gte: 0 } } });
    await db.command({ collMod: 'checked', validator: { n: { $gte: 10 } }, validationLevel: 'moderate' });
    await db.collection('ttl').insertOne({ at: new Date(0), keep: false });
    await db.collection('ttl').createIndex({ other: 1 }, { expireAfterSeconds: 3_600, name: 'by_other' });
    await db.command({ collMod: 'ttl', index: { name: 'by_other', expireAfterSeconds: 7_200 } });
    await db.collection('odd').insertOne(
      new Map<string, unknown>([
        ['_id', 1],
        ['b', 1],
        ['2', 'two'],
        ['1', new BSON.Double(4)],
      ]),
      majority,
    );
    await db
      .collection('odd')
      .updateOne({ _id: 1 as never }, { $set: { '10': 1, '9': BSON.Long.fromNumber(2) } }, majority);
    await db
      .collection('before')
      .aggregate([{ $out: 'copied' }])
      .toArray();
    await db
      .collection('before')
      .createIndex({ here: 1 }, { partialFilterExpression: { here: true }, name: 'partial' });
    await client.db('gone').dropDatabase();
    await client.db('gone').collection('again').insertOne({ second: true }, majority);
    await client.db('kept').command({ createUser: 'late', pwd: 'p', roles: ['read'], ...majority });
    // 20 MB in one transaction: two entries, chained, of which only the last one commits.
    await client.withSession((session) =>
      session.withTransaction(async () => {
        const big: Collection<{ _id: number; text: string }> = db.collection('big');
        for (let id = 0; id < 20; id++) await big.insertOne({ _id: id, text: 'x'.repeat(1_000_000) }, { session });
        await db.collection('before').updateOne({}, { $set: { changed: true } }, { session });
      }, majority),
    );
    await db.command({ convertToCapped: 'collated', size: 200_000 });
    expect(await archive()).toMatchObject({ needsBase: null });
    const expected = await harness.engine.fingerprint({ site: 'primary' }, testContext());
    for (const name of [
      'capped',
      'series',
      'view',
      'collated',
      'clustered',
      'checked',
      'ttl',
      'odd',
      'copied',
      'big',
    ]) {
      expect(expected.items.map((item) => item.name)).toContain(`kept.${name}`);
    }
    const [request, store] = await restoreLatest('everything');
    expect(compareFingerprints(expected, await harness.engine.fingerprint(store, testContext()))).toEqual([]);
    const copy = new (client.constructor as typeof MongoClient)(
      `mongodb://${store.address?.host}:${store.address?.port}/?directConnection=true`,
    );
    const users = await copy.db('admin').collection('system.users').find().toArray();
    expect(users.map(({ user }) => user)).toEqual(expect.arrayContaining(['root', 'late']));
    const parameters = await copy.db('admin').command({ getParameter: 1, ttlMonitorEnabled: 1 });
    expect(parameters['ttlMonitorEnabled']).toBe(true);
    const { databases } = await copy.db('admin').admin().listDatabases({ nameOnly: true });
    expect(databases.map(({ name }) => name)).not.toContain('drctl_restore');
    await copy.close();
    await harness.engine.restore.discard(request.place, testContext());
  }, 180_000);

  test('a rename that is applied again after a crash loses neither the collection nor its indexes', async () => {
    const target = { kind: 'backup', backupId: backup.backupId } as const;
    const plan = await harness.engine.planRestore(target, { backups: [backup], log }, testContext());
    const request = { restoreId: 'renamed', plan, chain: [backup], place: harness.place() };
    await harness.engine.restore.rebuild(request, combinedSource(volumes), log, testContext());
    const marker = (await readMarker<MongodbMarker>(request.place.directory))!;
    const behind = optimeOf(backup.stop!).seconds + 1;
    const commands = [
      { create: 'target' },
      { createIndexes: 'target', v: 2, key: { old: 1 }, name: 'old' },
      { create: 'renamed' },
      { createIndexes: 'renamed', v: 2, key: { n: 1 }, name: 'by_n' },
      { renameCollection: 'x.renamed', to: 'x.target', dropTarget: true },
    ].map((o, index) =>
      readEntry(
        Buffer.from(
          BSON.serialize({
            ts: new BSON.Timestamp({ t: behind, i: index }),
            wall: new Date(),
            ...{ op: 'c', ns: 'x.$cmd', o },
          }),
        ),
      ),
    );
    await withRestored(marker, async (copy) => {
      for (const entries of [commands, commands.slice(-1)]) {
        const wire = await WireConnection.open(marker, testContext().signal);
        const options = { fuzzy: false, part: new SelectedPart(plan) };
        const applier = new OplogApplier(copy, wire, openTransactionsIn(request.place.directory), options);
        await applier.resume();
        for (const each of entries) await applier.apply(each);
        // What it came to is written with the next batch only: this one dies before.
        wire.close();
      }
      await new IndexCatalog(copy).build(testContext());
      expect((await copy.db('x').collections()).map(({ collectionName }) => collectionName)).toEqual(['target']);
      expect((await copy.db('x').collection('target').indexes()).map(({ name }) => name)).toEqual(['_id_', 'by_n']);
    });
    await harness.engine.restore.discard(request.place, testContext());
  }, 120_000);

  test('slices overlap by one entry, and a second archiver harms nothing', async () => {
    let entries: LogEntry[] = [];
    while (entries.length < 3) {
      const [one, two] = await Promise.all([archive(), archive()]);
      expect(one.lineage).toBe(two.lineage);
      entries = await log.entries(one.lineage);
    }
    const documents = async (index: number) => {
      const parts: Buffer[] = [];
      for await (const part of await log.open(entries[index] as never)) parts.push(part as Buffer);
      const bytes = Buffer.concat(parts);
      const found: Buffer[] = [];
      for (let at = 0; at < bytes.length; at += bytes.readInt32LE(at))
        found.push(bytes.subarray(at, at + bytes.readInt32LE(at)));
      return found;
    };
    for (let index = 1; index < entries.length; index++) {
      const from = entries[index]?.from.value;
      const before = entries.findIndex((entry) => entry.to.value === from);
      expect(before).toBeGreaterThanOrEqual(0);
      expect((await documents(index))[0]?.equals((await documents(before)).at(-1) as Buffer)).toBe(true);
    }
  }, 60_000);

  test('an oplog that lost the last archived entry is a new lineage and asks for a base', async () => {
    const lost = new MemoryLogArchive(harness.engine.log!.naming);
    const setId = backup.identity;
    const old = BSON.serialize({
      ts: new BSON.Timestamp({ t: 1_000, i: 2 }),
      wall: new Date(1_000_000),
      op: 'n',
      ns: '',
      o: {},
    });
    const at = (value: string) => ({ engine: 'mongodb', lineage: `${setId}/4`, value });
    await lost.append({
      lineage: `${setId}/4`,
      name: '1000.0000000001-1000.0000000002',
      kind: 'slice',
      from: at('1000:1'),
      to: at('1000:2'),
      coversUntil: null,
      content: old,
    });
    const run = { site: 'primary', runForMilliseconds: 20_000, sliceMilliseconds: 100 };
    const round = (answeredGaps: string[]) =>
      harness.engine.log!.archive({ ...run, answeredGaps }, lost, () => undefined, testContext());
    const outcome = await round([]);
    expect(outcome.needsBase).toMatch(/1000:2/);
    expect(outcome.lineage).toBe(`${setId}/5`);
    // Nothing of it is stored before it was taken up: one that died there would have hidden it from the next.
    expect(await lost.lineages()).toEqual([`${setId}/4`]);
    const taken = await takeBackup(harness.engine, 'primary', new Map(), []);
    expect(taken.manifest.lineage).toBe(`${setId}/5`);
    expect((await round(['another one'])).needsBase).toBe(outcome.needsBase);
    const short = { ...run, runForMilliseconds: 1_500, answeredGaps: [outcome.needsBase!] };
    const next = await untilStored(() => harness.engine.log!.archive(short, lost, () => undefined, testContext()));
    expect(next).toMatchObject({ needsBase: null, lineage: `${setId}/5` });
    // It begins where it was said to begin: the backup that was taken meanwhile lies within it.
    const [first] = await lost.entries(`${setId}/5`);
    expect(first!.from.value).toBe(outcome.durable.value);
    const catalog = { backups: [taken.manifest], log: lost };
    const target = { kind: 'backup', backupId: taken.manifest.backupId } as const;
    expect((await harness.engine.planRestore(target, catalog, testContext())).lineage).toBe(`${setId}/5`);
  }, 60_000);

  test('an entry that no replay can repeat ends a lineage before it, and asks for a base behind it', async () => {
    const own = new MemoryLogArchive(harness.engine.log!.naming);
    const request = { site: 'primary', runForMilliseconds: 20_000, sliceMilliseconds: 100 };
    // As the archiver would see a server that is newer than it: `collMod` of one collection bears an unknown name of that length.
    const newer = withOplogSeenAs(client, ['collMod\0\b\0\0\0unknown', 'newMode\0\b\0\0\0unknown']);
    const run = (runForMilliseconds: number, answeredGaps: string[] = []) =>
      archiveLog(newer, { ...request, runForMilliseconds, answeredGaps }, own, () => undefined, testContext());
    const first = await untilStored(() => run(1_000));
    const majority = { writeConcern: { w: 'majority' as const } };
    await client.db('kept').createCollection('unknown');
    await client.db('kept').collection('unknown').insertOne({ lies: 'before' }, majority);
    await client.db('kept').command({ collMod: 'unknown', validationLevel: 'moderate', ...majority });
    await client.db('kept').collection('unknown').insertOne({ lies: 'behind' }, majority);
    let outcome = first;
    while (outcome.needsBase === null) outcome = await run(20_000);
    expect(outcome.needsBase).toMatch(/the command "newMode" in kept\.\$cmd, which no replay can repeat/);
    expect(outcome.lineage).not.toBe(first.lineage);
    const stored = Buffer.concat(
      await Promise.all((await own.entries(first.lineage)).map((each) => own.lend(each, async (bytes) => bytes))),
    );
    expect([stored.includes('before'), stored.includes('newMode'), stored.includes('behind')]).toEqual([
      true,
      false,
      false,
    ]);
    // Once that was taken up it goes on behind it, and does not stumble over it again.
    const next = await run(1_500, [outcome.needsBase]);
    expect(next).toMatchObject({ needsBase: null, lineage: outcome.lineage });
  }, 60_000);
});

/** On a busy machine a run may be over before it stored anything: then there is another one. */
async function untilStored(run: () => Promise<ArchiveOutcome>): Promise<ArchiveOutcome> {
  for (;;) {
    const outcome = await run();
    if (outcome.entriesStored > 0 || outcome.needsBase !== null) return outcome;
  }
}

/** The same server, in whose raw replies a text stands in the place of another one of its length. */
function withOplogSeenAs(client: MongoClient, [text, other]: readonly [string, string]): MongoClient {
  const seen = (value: unknown): unknown => {
    if (!(value instanceof Uint8Array)) return value;
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    for (let at = bytes.indexOf(text, 0, 'latin1'); at >= 0; at = bytes.indexOf(text, at, 'latin1'))
      bytes.write(other, at, 'latin1');
    return value;
  };
  const local = client.db('local');
  const command = async (...args: Parameters<typeof local.command>) => {
    const reply = await local.command(...args);
    return Object.fromEntries(Object.entries(reply).map(([name, value]) => [name, seen(value)]));
  };
  const db = (name?: string) =>
    name === 'local' ? Object.create(local, { command: { value: command } }) : client.db(name);
  const startSession = () => client.startSession();
  return Object.create(client, { db: { value: db }, startSession: { value: startSession } }) as MongoClient;
}
