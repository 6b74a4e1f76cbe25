import * as fs from 'node:fs/promises';
import * as os from 'node:os';
import * as path from 'node:path';
import Redis from 'ioredis';
import { MongoClient } from 'mongodb';
import { createBackupActivities } from '../../activities/backup';
import type { ActivityDeps } from '../../activities/deps';
import { lookAtRetention } from '../../activities/retention-look';
import { createCatalog } from '../../adapters/catalog/catalog';
import { createRepository } from '../../adapters/repository';
import { createLogArchive } from '../../adapters/repository/log-archive';
import { createRetentionStore } from '../../adapters/retention/retention-store';
import { createStoreVerifier } from '../../adapters/verification/store-verifier';
import { createSpool } from '../../adapters/volumes/spool';
import { createTransfer } from '../../adapters/volumes/transfer';
import type { BackupType, Manifest } from '../../core/catalog';
import type { Engine } from '../../core/engine';
import type { RecoveryTarget, RestorePlace } from '../../core/recovery';
import { goingBackups } from '../../core/retention/plan-store';
import { Secret } from '../../core/secret';
import { engineOf, testContext } from '../support/engine-harness';
import { inActivity } from '../support/in-activity';
import { startMongodb } from '../support/mongodb-harness';
import { seededRandom } from '../support/random';
import { RunningArchiver } from '../support/redis-archiver';
import { contentOf, randomWrite } from '../support/redis-workload';
import { serverBinaries, startRedis, waitUntil } from '../support/servers';

const random = seededRandom('sealed-log');
const DAY = 86_400_000;
const keep = (days: number) => ({ local: 0, cloud: days * 86_400, archive: days * 86_400 });
/** Incrementals outlive what they are sealed on, and the log behind it. */
const policy = {
  databaseFull: keep(1),
  databaseIncremental: keep(30),
  transactionLogs: keep(1),
  files: keep(1),
  configuration: keep(1),
};

/** A server of the engine with ways to change it and to read all that it holds. */
interface Source {
  readonly engine: Engine;
  change(): Promise<void>;
  content(): Promise<unknown>;
  contentOf(address: { host: string; port: number }): Promise<unknown>;
  place(directory: string): RestorePlace;
  /** As an archive that could not go on is taken up: what comes now is of another lineage. */
  leaveLineage(): Promise<void>;
  stop(): Promise<void>;
}

async function redisSource(): Promise<Source> {
  const server = await startRedis({ settings: { 'enable-debug-command': 'yes' } });
  const { host, port, password } = server;
  const connect = (at: { host: string; port: number }) => new Redis({ ...at, password, retryStrategy: () => null });
  const client = connect({ host, port });
  const sites = { primary: { host, port, password: new Secret(password) } };
  const toolsDirectory = path.dirname(serverBinaries().redisServer);
  return {
    engine: await engineOf('redis', 'sessions', { sites, toolsDirectory }),
    async change() {
      for (let writes = 0; writes < 40; writes += 1) await randomWrite(client, random);
      await client.incr('changes');
      // What lives only shortly is gone everywhere by then.
      for (const name of await client.keys('*')) await client.persist(name);
    },
    content: () => contentOf(client),
    async contentOf(address) {
      const copy = connect(address);
      const content = await contentOf(copy);
      copy.disconnect();
      return content;
    },
    place: (directory) => ({ directory, host: '127.24.0.7', port: 0, osUser: null, overwrite: false }),
    leaveLineage: async () => void (await client.call('DEBUG', 'CHANGE-REPL-ID')),
    async stop() {
      client.disconnect();
      await server.stop();
    },
  };
}

async function mongodbSource(): Promise<Source> {
  const harness = await startMongodb({ members: 1, living: true });
  const { engine, client } = harness;
  const documents = (of: typeof client) => of.db('shop').collection('events').find().sort({ _id: 1 }).toArray();
  let changes = 0;
  return {
    engine,
    async change() {
      const events = client.db('shop').collection<{ _id: number; text: string }>('events');
      const texts = Array.from({ length: 20 }, () => `text ${random.integer(1_000_000)}`);
      const made = texts.map((text, index) => ({ _id: (changes += 1) * 100 + index, text }));
      await events.insertMany(made, { writeConcern: { w: 'majority' } });
      await events.deleteOne({ text: random.pick(texts) }, { writeConcern: { w: 'majority' } });
    },
    content: () => documents(client),
    async contentOf({ host, port }) {
      const copy = await new MongoClient(`mongodb://${host}:${port}/?directConnection=true`).connect();
      const content = await documents(copy);
      await copy.close();
      return content;
    },
    place: () => harness.place(),
    leaveLineage: async () =>
      void (await client
        .db('drctl')
        .collection('lineage')
        .updateMany({}, { $inc: { generation: 1 } })),
    stop: () => harness.stop(),
  };
}

/** What a worker makes of a config: a local repository, the spool and the activities over them, and an archiver. */
function productOf({ engine }: Source, directory: string) {
  const codec = { codec: 'zstd', level: 1 } as const;
  const root = path.join(directory, 'repository');
  const repository = createRepository('local', { kind: 'local', directory: root, prefix: 'x' }, 'shop');
  const spool = createSpool({ directory: path.join(directory, 'spool'), application: 'shop', codec, reserveBytes: 0 });
  const catalog = createCatalog(repository);
  const transfer = createTransfer({ repository, catalog, spool, codec, targetVolumeBytes: 2 ** 20 });
  const { store } = engine;
  const { naming, reach } = engine.log!;
  const open = {
    application: { name: 'shop' },
    engine: () => engine,
    catalog: () => catalog,
    transfer: () => transfer,
    logArchive: () => createLogArchive(repository, store, naming),
    retentionStore: () => createRetentionStore(repository, store, naming),
    retention: { policy, orphansAfterSeconds: 86_400 },
  };
  const deps = { site: 'primary', hostId: 'h1', open: () => open } as unknown as ActivityDeps;
  const log = { naming, reach, keptSeconds: null };
  const verifier = createStoreVerifier({ repository, store, log, commitMilliseconds: 0 });
  return {
    open: open as never as ReturnType<ActivityDeps['open']>,
    repository,
    catalog,
    transfer,
    verifier,
    activities: createBackupActivities(deps),
  };
}

describe.each([
  ['redis', redisSource],
  ['mongodb', mongodbSource],
])('an incremental of %s is a position of its archived log', (_, start) => {
  let directory: string;
  let source: Source;
  let product: ReturnType<typeof productOf>;
  let archiver: RunningArchiver;
  /** Of each backup, as the server held it then. */
  const contents = new Map<string, unknown>();

  beforeAll(async () => {
    source = await start();
    directory = await fs.mkdtemp(path.join(os.tmpdir(), 'drctl-sealed-'));
    // The restored server's own user has to pass.
    await fs.chmod(directory, 0o755);
    product = productOf(source, directory);
    archiver = new RunningArchiver(source.engine, product.open.logArchive(source.engine.store)!);
    await source.change();
  }, 120_000);
  afterAll(async () => {
    await archiver?.stop();
    await source?.stop();
    await fs.rm(directory, { recursive: true, force: true });
  }, 120_000);

  const prepare = (type: BackupType) =>
    inActivity(() =>
      product.activities.prepareBackup({ application: 'shop', store: source.engine.store, type, site: 'primary' }),
    );
  const take = async (type: BackupType): Promise<Manifest> => {
    const { activities, catalog } = product;
    const prepared = await prepare(type);
    await inActivity(() => activities.dumpVolumes({ prepared, sequence: 0 }));
    const { attempt } = await inActivity(() => activities.uploadVolumes({ prepared }));
    await inActivity(() => activities.verifyArtifacts({ prepared, attempt }));
    await inActivity(() => activities.waitForLog({ prepared, attempt }));
    await inActivity(() => activities.commitManifest({ prepared, attempt }), {
      scheduledTimestampMs: Date.now(),
    });
    await inActivity(() => activities.removeSpool({ prepared }));
    await inActivity(() => activities.sweepAttempts({ prepared, keepAttempt: attempt }));
    contents.set(prepared.plan.backupId, await source.content());
    await source.change();
    return catalog.get(source.engine.store, prepared.plan.backupId);
  };
  const all = () => product.catalog.list(source.engine.store);
  const restored = async (target: RecoveryTarget) => {
    const { engine } = source;
    const log = product.open.logArchive(engine.store);
    const backups = await all();
    const plan = await engine.planRestore(target, { backups, log }, testContext());
    const chain = plan.chain.map((id) => backups.find(({ backupId }) => backupId === id) as Manifest);
    const place = source.place(path.join(directory, 'place'));
    const request = { restoreId: `r-${plan.reaches.time}`, plan, chain, place };
    await engine.restore.rebuild(request, product.transfer.source(chain), log, testContext());
    await engine.restore.replay(request, log, testContext());
    const { address } = await engine.restore.open(request, testContext());
    const content = await source.contentOf(address!);
    await engine.restore.discard(place, testContext());
    return { plan, content };
  };

  test('without a full there is nothing to seal: a full is planned, and says so', async () => {
    const { plan } = await prepare('incr');
    expect(plan).toMatchObject({ type: 'full', parent: null });
    expect(plan.typeReason).toBe('incremental asked, full taken: there is no full backup to build on');
    expect(plan.backupId).toContain('-full-');
  });

  test('it has no data of its own, builds on the newest full, and is whole', async () => {
    const full = await take('full');
    const [first, second] = [await take('incr'), await take('incr')];
    for (const each of [first, second]) {
      expect(each).toMatchObject({ type: 'incr', parent: full.backupId, typeReason: null, artifacts: [], early: [] });
      expect(each.start).toEqual(full.stop);
    }
    expect(source.engine.positions.compare(first.stop!, second.stop!)).toBeLessThan(0);
    const look = await product.verifier.look([], testContext());
    expect(look.findings).toEqual([]);
    expect(look.manifests.map(({ backupId }) => backupId)).toEqual(
      [full, first, second].map(({ backupId }) => backupId),
    );
    // One window: an incremental is an instant on the way from its full.
    const log = product.open.logArchive(source.engine.store);
    const windows = await source.engine.windows({ backups: await all(), log });
    expect(windows.map(({ from }) => from)).toEqual([full.consistentAt]);
  }, 120_000);

  test('it restores to exactly what the server held when it was sealed', async () => {
    for (const { backupId, parent, stop } of (await all()).filter(({ type }) => type === 'incr')) {
      const { plan, content } = await restored({ kind: 'backup', backupId });
      expect(plan).toMatchObject({ chain: [parent, backupId], reaches: { position: stop, exact: true } });
      expect(content).toEqual(contents.get(backupId));
    }
  }, 120_000);

  test('as long as it is kept the log up to it is, and its full; what lies behind goes', async () => {
    const [full, first, second] = (await all()) as [Manifest, Manifest, Manifest];
    const newest = await take('full');
    const now = Date.now() + 10 * DAY;
    const { plan, log } = await lookAtRetention(product.open, source.engine.store, now, testContext());
    const keptFor = (id: string) => plan.backups.find(({ backupId }) => backupId === id)?.keptFor.map(({ why }) => why);
    expect(goingBackups(plan)).toEqual([]);
    expect(keptFor(full.backupId)).toContain('chain');
    expect([keptFor(first.backupId), keptFor(second.backupId)]).toEqual([['age'], ['age']]);
    expect(keptFor(newest.backupId)).toContain('newest');
    // Away with it: both still lead to the same.
    await archiver.stop();
    const archive = product.open.logArchive(source.engine.store)!;
    const gone = (await archive.entries(newest.lineage!)).filter(({ key }) => isIn(log, key));
    expect(gone.length).toBeGreaterThan(0);
    await product.repository.delete(gone.map(({ key }) => key));
    for (const { backupId } of [first, second])
      expect((await restored({ kind: 'backup', backupId })).content).toEqual(contents.get(backupId));
    archiver.start();
  }, 120_000);

  test('where the archived log does not lead on from the full, a full is planned, and says so', async () => {
    const archive = product.open.logArchive(source.engine.store)!;
    const full = (await all()).at(-1) as Manifest;
    await take('incr');
    await take('incr');
    const behind = (await archive.entries(full.lineage!)).filter(
      ({ from }) => source.engine.positions.compare(from, full.stop!) > 0,
    );
    const lost = behind[0]!.key;
    await product.repository.delete([lost]);
    // A listing is believed for two seconds.
    await waitUntil('the gap being seen', async () =>
      (await archive.entries(full.lineage!)).every(({ key }) => key !== lost),
    );
    const { plan } = await prepare('incr');
    expect(plan.type).toBe('full');
    expect(plan.typeReason).toMatch(
      /^incremental asked, full taken: the archived log has a gap between \S+-full-\S+ and /,
    );
  }, 120_000);

  test('where the log has gone on as another lineage, a full is planned, and says so', async () => {
    await archiver.stop();
    await source.leaveLineage();
    const { plan } = await prepare('incr');
    expect(plan.type).toBe('full');
    expect(plan.typeReason).toMatch(
      /^incremental asked, full taken: the log has gone on as \S+ since \S+-full-\S+, which is of /,
    );
  });
});

/** Whether retention lets the piece go. */
function isIn(log: Awaited<ReturnType<typeof lookAtRetention>>['log'], key: string): boolean {
  return log.some(({ keptFor, firstKey, lastKey }) => keptFor === null && firstKey <= key && key <= lastKey);
}
