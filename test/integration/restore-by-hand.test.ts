import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import Redis from 'ioredis';
import { BSON, type Document } from 'mongodb';
import type { Client } from 'pg';
import type { ObjectCipher } from '../../adapters/encryption/encrypted-object';
import { createCatalog } from '../../adapters/catalog/catalog';
import { createFilesEngine } from '../../adapters/engines/files/engine';
import { settings as filesSettings } from '../../adapters/engines/files/settings';
import { documentsIn } from '../../adapters/engines/mongodb/bson-bytes';
import { readArchive } from '../../adapters/engines/mongodb/archive-reader';
import { optimeOf } from '../../adapters/engines/mongodb/positions';
import { mergeableOplog } from '../../adapters/engines/mongodb/joined-slices';
import { mergeableStream } from '../../adapters/engines/redis/joined-stream';
import { SliceMerger } from '../../adapters/engines/slice-merger';
import { createPostgresqlEngine } from '../../adapters/engines/postgresql/engine';
import { settings as postgresqlSettings } from '../../adapters/engines/postgresql/settings';
import { createRedisEngine } from '../../adapters/engines/redis/engine';
import { keyDigest } from '../../adapters/engines/redis/key-digest';
import { settings as redisSettings } from '../../adapters/engines/redis/settings';
import { createLocalRepository } from '../../adapters/repository/local';
import { createLogArchive } from '../../adapters/repository/log-archive';
import { createSpool } from '../../adapters/volumes/spool';
import { createTransfer } from '../../adapters/volumes/transfer';
import { type BackupType, chainOf, type Manifest } from '../../core/catalog';
import type { Engine } from '../../core/engine';
import { backupIdOf } from '../../core/layout';
import type { LogArchive } from '../../core/log-archive';
import { Secret } from '../../core/secret';
import { inPostgres, openPostgres } from '../../lab/servers/postgresql-client';
import { isRoot } from '../../lab/servers/process';
import { freeLoopbackPort } from '../../lab/servers/loopback';
import { breakGlassOf, rsaKeyPair, startEncryption } from '../support/data-keys';
import { testContext } from '../support/engine-harness';
import { startMongodb } from '../support/mongodb-harness';
import { fillWithEveryType } from '../support/redis-content';
import { giveToServers, postgresTool, serverBinaries, startPostgres, startRedis, waitUntil } from '../support/servers';

/**
 * The marked blocks of docs/restore-by-hand.md, as they stand there, run by bash with the standard tools on a repository
 * that drctl's own code wrote. Nothing of ours takes part in the restore.
 */
const DOCUMENT = path.resolve(__dirname, '../../docs/restore-by-hand.md');
const VOLUME_BYTES = 2 * 2 ** 20; // small, so that there are several volumes
const NOBODY = 65_534;

// On a person's machine without the program these are listed as skipped; in CI it is installed, and its lack a failure.
const hasZstd = spawnSync('zstd', ['--version']).status === 0;
const suite = !hasZstd && process.env['CI'] !== 'true' ? describe.skip : describe;

let base: string;
const stops: (() => Promise<unknown>)[] = [];
beforeAll(() => {
  base = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-by-hand-'));
  fs.chmodSync(base, 0o755);
});
afterAll(async () => {
  for (const stop of stops.toReversed()) await stop();
  fs.rmSync(base, { recursive: true, force: true });
});

/** The bash of one marker, all its blocks in order. */
function blocks(marker: string): string {
  const found = [...fs.readFileSync(DOCUMENT, 'utf8').matchAll(/^▶ (\S+)\n\n```sh\n([\s\S]*?)^```$/gm)];
  const wanted = found.filter(([, name]) => name === marker).map(([, , code]) => code);
  if (wanted.length === 0) throw new Error(`${DOCUMENT} has no block marked "${marker}"`);
  return wanted.join('\n');
}

/** Runs blocks of the document in an empty folder, as a user who is not root where that is asked for. */
async function byHand(
  markers: readonly string[],
  variables: Readonly<Record<string, string>>,
  options: { readonly asServer?: boolean; readonly work?: string; readonly before?: string } = {},
): Promise<{ work: string; output: string }> {
  const work = options.work ?? fs.mkdtempSync(path.join(base, 'work-'));
  fs.mkdirSync(work, { recursive: true });
  if (options.asServer) await giveToServers(work);
  const servers = [postgresTool('postgres'), serverBinaries().redisServer].map((file) => path.dirname(file));
  const env = {
    PATH: [...servers, process.env['PATH']].join(':'),
    LC_ALL: 'C',
    HOME: work,
    COPY: path.join(base, 'repository/backups/shop'),
    WORK: work,
    ...variables,
  };
  const script = ['set -euo pipefail', blocks('common'), options.before ?? '', ...markers.map(blocks)].join('\n');
  const asNobody = options.asServer && isRoot ? { uid: NOBODY, gid: NOBODY } : {};
  if (options.asServer && isRoot) execFileSync('chmod', ['-R', 'a+rX', path.join(base, 'repository')]);
  const { status, stdout, stderr } = spawnSync('bash', ['-c', script], {
    cwd: work,
    env,
    encoding: 'utf8',
    timeout: 120_000,
    maxBuffer: 2 ** 26,
    ...asNobody,
  });
  const log = ['server.log', 'redis/server.log', 'aof/server.log', 'log/server.log'].map((name) =>
    path.join(work, name),
  );
  const words = log.filter((file) => fs.existsSync(file)).map((file) => fs.readFileSync(file, 'utf8').slice(-2_000));
  if (status !== 0) throw new Error([`bash ended with ${status}`, stdout, stderr, ...words].join('\n'));
  return { work, output: stdout };
}

const repositoryOf = () =>
  createLocalRepository({ name: 'local', directory: path.join(base, 'repository'), prefix: 'backups/shop' });

/** Takes a backup as the activities do: plan, dump into a stream, verify, manifest last. */
async function backUp(
  engine: Engine,
  type: BackupType = 'full',
  cipher: ObjectCipher | null = null,
): Promise<Manifest> {
  const ctx = testContext();
  const repository = repositoryOf();
  const catalog = createCatalog(repository);
  const codec = { codec: 'zstd', level: 3 } as const;
  const spool = createSpool({ directory: path.join(base, 'spool'), application: 'shop', codec, reserveBytes: 0 });
  const transfer = createTransfer({ repository, catalog, spool, codec, cipher, targetVolumeBytes: VOLUME_BYTES });
  const existing = await catalog.list(engine.store);
  const backupId = backupIdOf(new Date().toISOString(), type, randomBytes(4).toString('hex'));
  const plan = await engine.planDump({ backupId, type, site: 'primary', existing }, ctx);
  const ref = { store: engine.store, backupId: plan.backupId, kind: engine.artifactKind(plan.type), attempt: 1 };
  const attempt = await transfer.beginStream(ref, ctx);
  const built = existing.find((each) => each.backupId === plan.parent);
  const parent = built ? { chain: chainOf(built, existing)!, source: transfer.source(existing) } : null;
  await attempt.finish(await engine.dump(plan, parent, attempt.sink, ctx));
  const stored = await transfer.stored(ref);
  await transfer.verify(stored, ctx);
  return catalog.commit({
    ...stored.dump,
    formatVersion: 1,
    backupId: plan.backupId,
    application: 'shop',
    store: engine.store,
    engine: engine.kind,
    type: plan.type,
    parent: plan.parent,
    typeReason: plan.typeReason,
    committedAt: new Date().toISOString(),
    artifacts: stored.artifacts,
    early: stored.early,
    attempt: 1,
    workflowId: 'by-hand',
    runId: 'by-hand',
  });
}

const logOf = (engine: Engine, cipher: ObjectCipher | null = null) =>
  createLogArchive(repositoryOf(), engine.store, engine.log!.naming, cipher);

function archive(engine: Engine, runForMilliseconds: number, cipher: ObjectCipher | null = null) {
  const request = { site: 'primary', runForMilliseconds, sliceMilliseconds: 100 };
  return engine.log!.archive(request, logOf(engine, cipher), () => undefined, testContext());
}

const rowsOf = async (client: Client) =>
  (await client.query('SELECT id, body FROM orders ORDER BY id')).rows as { id: number; body: string }[];

suite('PostgreSQL by hand', () => {
  let server: Awaited<ReturnType<typeof startPostgres>>;
  let client: Client;
  let engine: Engine;
  let [full, increment] = [null as Manifest | null, null as Manifest | null];
  let gap: string | null = 'not archived';
  let [target, expected] = ['', [] as { id: number; body: string }[]];
  const breakGlass = rsaKeyPair();
  /** Of the repository, where what is encrypted was decrypted by hand. */
  let copy = '';
  let decrypted = 0;

  beforeAll(async () => {
    server = await startPostgres({ settings: { summarize_wal: 'on' } });
    stops.push(() => server.stop());
    client = await openPostgres(server.url);
    stops.push(() => client.end());
    const { sites, ...rest } = postgresqlSettings.parse({
      sites: { primary: { host: server.host, port: server.port, password: new Secret(server.password) } },
    });
    engine = createPostgresqlEngine({ store: 'orders-db', sites, settings: rest });
    await client.query('CREATE TABLE orders (id int PRIMARY KEY, body text NOT NULL)');
    const fill = (from: number, to: number) =>
      client.query(`INSERT INTO orders SELECT g, repeat(md5(g::text), 20) FROM generate_series($1::int, $2::int) g`, [
        from,
        to,
      ]);
    await fill(1, 2_000);
    await archive(engine, 1_500);
    full = await backUp(engine);
    await fill(2_001, 4_000);
    // From here on it is encrypted: a person meets both kinds.
    const { cipher, keyId } = await startEncryption([repositoryOf()], { safe: breakGlassOf(breakGlass, true) });
    increment = await backUp(engine, 'incr', cipher);
    await fill(4_001, 6_000);
    await client.query('SELECT pg_switch_wal()');
    await fill(6_001, 6_100);
    expected = await rowsOf(client);
    target = ((await client.query('SELECT clock_timestamp()::text AS at')).rows[0] as { at: string }).at;
    await client.query('DELETE FROM orders WHERE id > 10');
    gap = (await archive(engine, 4_000, cipher)).needsBase;
    copy = path.join(base, 'copy');
    fs.cpSync(path.join(base, 'repository/backups/shop'), copy, { recursive: true });
    const privateKey = path.join(base, 'break-glass.pem');
    fs.writeFileSync(privateKey, breakGlass.privateKey.reveal());
    const decrypt = path.resolve(__dirname, '../../deploy/by-hand/decrypt.mjs');
    const variables = { COPY: copy, KEY: keyId, RECIPIENT: 'safe', PRIVATE_KEY: privateKey, DECRYPT: decrypt };
    const { output } = await byHand(['encrypted'], { STORE: 'orders-db', BACKUP: increment.backupId, ...variables });
    decrypted = Number(/(\d+) files were encrypted/.exec(output)?.[1]);
    execFileSync('chmod', ['-R', 'a+rX', copy]);
  }, 180_000);

  test.each([
    ['a full backup and the log', 'postgresql'],
    ['a full, an incremental and the log', 'postgresql-incremental'],
  ])('%s lead to the instant before the accident', async (_, marker) => {
    const work = fs.mkdtempSync(path.join(base, 'pg-'));
    const data = path.join(work, 'cluster');
    const asUser = isRoot ? ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'] : [];
    const argv = [...asUser, postgresTool('pg_ctl'), '-D', data, '-m', 'immediate', 'stop'];
    const stop = async () => void spawnSync(argv[0] as string, argv.slice(1));
    stops.push(stop);
    // The block of a chain uses `unpack` of the one before.
    const before = marker === 'postgresql' ? '' : functionUnpack();
    const variables = {
      STORE: 'orders-db',
      BACKUP: full!.backupId,
      INCREMENT: increment!.backupId,
      TARGET: target,
      COPY: copy,
    };
    const { output } = await byHand([marker, 'postgresql-log'], variables, { asServer: true, work, before });
    expect(output).toContain(': OK');
    const rows = await inPostgres({ host: work, user: 'postgres', database: 'postgres' }, rowsOf);
    await stop();
    expect(rows.length).toBe(expected.length);
    expect(rows.filter(({ id, body }, index) => expected[index]?.id !== id || expected[index]?.body !== body)).toEqual(
      [],
    );
  });

  test('the repository of this run has what the commands are for: volumes, an increment, whole segments and slices', () => {
    expect(gap).toBeNull();
    expect(increment!.type).toBe('incr');
    expect(increment!.artifacts.every(({ encryptionKeyId }) => encryptionKeyId !== null)).toBe(true);
    // Its volumes, and whole segments and slices of the log.
    expect(decrypted).toBeGreaterThan(increment!.artifacts.length + 2);
    expect(full!.artifacts.length).toBeGreaterThan(2);
    const folder = path.join(base, 'repository/backups/shop/data/log/orders-db', full!.identity, '1');
    const names = fs.readdirSync(folder);
    expect(names.some((name) => /^[0-9A-F]{24}\.zst$/.test(name))).toBe(true);
    expect(names.some((name) => /^[0-9A-F]{24}\.[0-9A-F]{8}-[0-9A-F]{8}\.zst$/.test(name))).toBe(true);
  });
});

function functionUnpack(): string {
  const text = /^unpack\(\)[\s\S]*?^}$/m.exec(blocks('postgresql'))?.[0];
  if (!text) throw new Error('the PostgreSQL block defines no unpack()');
  return text;
}

suite('MongoDB by hand', () => {
  test('the archive holds every document, the log every change after it once and in order', async () => {
    const harness = await startMongodb();
    stops.push(() => harness.stop());
    const { client, engine } = harness;
    const orders = client.db('shop').collection<{ _id: number; body: string }>('orders');
    const many = (from: number, count: number) =>
      Array.from({ length: count }, (_, index) => ({ _id: from + index, body: `order ${from + index}` }));
    const majority = { writeConcern: { w: 'majority' as const } };
    await orders.insertMany(many(0, 3_000), majority);
    await archive(engine, 500);
    const backup = await backUp(engine);
    for (let id = 3_000; id < 3_050; id += 1) await orders.insertOne(many(id, 1)[0]!, majority);
    await archive(engine, 1_500);
    for (let id = 3_050; id < 3_100; id += 1) await orders.insertOne(many(id, 1)[0]!, majority);
    await archive(engine, 1_500);
    // As an archiver leaves it that dies before the slices of its segment are gone: all but the last one are in it.
    const slices = await logOf(engine).entries(backup.lineage!);
    const [from, to] = [slices[0]!.from, slices.at(-2)!.to].map((each) => optimeOf(each).seconds) as [number, number];
    const dying: LogArchive = {
      ...logOf(engine),
      // The last slice may span as much time as all before it together, and would be a segment by itself.
      entries: async (lineage) => (await logOf(engine).entries(lineage)).slice(0, -1),
      replace: async () => undefined,
    };
    const bounds = { contentBytes: 2 ** 24, seconds: to - from };
    await new SliceMerger(dying, backup.lineage!, mergeableOplog, bounds, testContext()).begin();
    expect((await logOf(engine).replaced(backup.lineage!)).length).toBeGreaterThan(0);
    expect((await logOf(engine).entries(backup.lineage!)).at(-1)!.kind).toBe('slice');
    const { work } = await byHand(['mongodb'], { STORE: engine.store, BACKUP: backup.backupId });

    const inArchive = new Map<number, string>();
    const chunks = fs.createReadStream(path.join(work, 'dump.archive')) as AsyncIterable<Buffer>;
    for await (const part of readArchive(chunks[Symbol.asyncIterator](), 'dump.archive')) {
      if (part.kind !== 'documents' || part.collection !== 'orders') continue;
      for (const bytes of documentsIn(part.documents)) {
        const { _id, body } = BSON.deserialize(bytes);
        inArchive.set(_id as number, body as string);
      }
    }
    expect([...inArchive].toSorted(([a], [b]) => a - b)).toEqual(many(0, 3_000).map(({ _id, body }) => [_id, body]));

    const oplog = entriesOf(fs.readFileSync(path.join(work, 'log/oplog.bson')));
    const stamps = oplog.map(({ ts }) => (ts as BSON.Timestamp).toBigInt());
    expect(stamps.every((each, index) => index === 0 || each > stamps[index - 1]!)).toBe(true);
    const inserted = oplog.filter(({ op, ns }) => op === 'i' && ns === 'shop.orders').map(({ o }) => o as Document);
    expect(inserted).toEqual(many(3_000, 100));
  }, 120_000);
});

/** With the driver's BSON library alone: a length, then the document, again and again. */
function entriesOf(bytes: Buffer): Document[] {
  const entries: Document[] = [];
  for (let at = 0; at < bytes.length; at += bytes.readInt32LE(at)) {
    entries.push(BSON.deserialize(bytes.subarray(at, at + bytes.readInt32LE(at)), { promoteValues: true }));
  }
  return entries;
}

/** What a client can read of every key of every database, its expiry included. */
async function contentOf(client: Redis): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const [database] of (await client.info('keyspace')).matchAll(/(?<=^db)\d+/gm)) {
    await client.select(Number(database));
    for (let cursor = '0', first = true; first || cursor !== '0'; first = false) {
      const [next, keys] = await client.scanBuffer(cursor, 'COUNT', 500);
      cursor = next.toString();
      for (const key of keys) {
        const digest = await keyDigest(client, key, await client.type(key), `${await client.pexpiretime(key)}`);
        found.set(`${database} ${key.toString('base64')}`, digest.toString('hex'));
      }
    }
  }
  return found;
}

suite('Redis by hand', () => {
  test.each([
    ['the RDB', 'redis', 'redis'],
    ['the append-only directory', 'redis-aof', 'aof'],
    ['the RDB with the log behind it', 'redis-log', 'log'],
  ])('%s gives every key back', async (_, marker, folder) => {
    const source = await startRedis({ appendOnly: true });
    stops.push(() => source.stop());
    const client = new Redis({ host: source.host, port: source.port, password: source.password });
    stops.push(async () => client.disconnect());
    await fillWithEveryType(client, 20_261_122);
    const aofDirectory = path.join(source.dataDir, 'appendonlydir');
    const engine = createRedisEngine({
      store: `sessions-${folder}`,
      settings: redisSettings.parse({
        sites: {
          primary: { host: source.host, port: source.port, password: new Secret(source.password), aofDirectory },
        },
      }),
    });
    const hasLog = marker === 'redis-log';
    if (hasLog) await archive(engine, 300);
    const { backupId, lineage } = await backUp(engine);
    if (hasLog) {
      await client.flushall();
      await fillWithEveryType(client, 20_261_123);
      await client.select(3);
      await client.multi().set('in', 'a transaction').incr('counted').exec();
    }
    const expected = await contentOf(client);
    const until = /^master_repl_offset:(\d+)/m.exec(await client.info('replication'))?.[1] ?? '';
    let isMerged = false;
    if (hasLog) {
      await archive(engine, 1_000);
      for (let index = 0; index < 50; index += 1) await client.set(`behind:${index}`, 'the target');
      await archive(engine, 500);
      // As an archiver leaves it that dies before the slices of its segment are gone.
      const dying: LogArchive = { ...logOf(engine), replace: async () => undefined };
      const bounds = { contentBytes: 2 ** 24, seconds: 0.3 };
      await new SliceMerger(dying, lineage!, mergeableStream, bounds, testContext()).begin();
      isMerged = (await logOf(engine).replaced(lineage!)).length > 0;
    }
    expect(isMerged).toBe(hasLog);
    const work = fs.mkdtempSync(path.join(base, 'redis-'));
    const pidFile = path.join(work, folder, 'server.pid');
    const stop = async () => {
      if (fs.existsSync(pidFile)) process.kill(Number(fs.readFileSync(pidFile, 'utf8')), 'SIGKILL');
      fs.rmSync(pidFile, { force: true });
    };
    stops.push(stop);
    const port = await freeLoopbackPort('127.0.0.1');
    await byHand([marker], { STORE: engine.store, BACKUP: backupId, PORT: `${port}`, UNTIL: until }, { work });
    const restored = new Redis({ host: '127.0.0.1', port, retryStrategy: () => 100, maxRetriesPerRequest: null });
    restored.on('error', () => undefined); // until it listens
    stops.push(async () => restored.disconnect());
    await waitUntil('the data loaded', async () => (await restored.info('persistence')).includes('\nloading:0'));
    const found = await contentOf(restored);
    await stop();
    expect(found.size).toBeGreaterThan(1_000);
    expect(found.size).toBe(expected.size);
    expect([...expected].filter(([key, digest]) => found.get(key) !== digest)).toEqual([]);
  });
});

suite('Files by hand', () => {
  test.each(['files', 'config'] as const)('a tree stored as %s is as it was', async (kind) => {
    const tree = fs.mkdtempSync(path.join(base, `tree-${kind}-`));
    fs.mkdirSync(path.join(tree, 'deep/er'), { recursive: true, mode: 0o750 });
    for (let index = 0; index < 40; index += 1) {
      fs.writeFileSync(path.join(tree, `deep/file ${index}`), randomBytes(200_000), { mode: 0o640 });
    }
    fs.writeFileSync(path.join(tree, 'deep/er/ümläut\nline.txt'), 'named oddly');
    fs.linkSync(path.join(tree, 'deep/file 1'), path.join(tree, 'deep/er/again'));
    fs.symlinkSync('../file 2', path.join(tree, 'deep/er/link'));
    fs.utimesSync(path.join(tree, 'deep/er'), 1_700_000_000, 1_700_000_000);
    const engine = createFilesEngine({
      store: `tree-${kind}`,
      settings: filesSettings.parse({ sites: { primary: { roots: [tree] } }, artifactKind: kind }),
    });
    const { artifacts } = await backUp(engine);
    expect(artifacts.length).toBeGreaterThan(3);
    fs.renameSync(path.join(tree, 'deep/file 7'), path.join(tree, 'deep/moved'));
    fs.rmSync(path.join(tree, 'deep/file 8'));
    fs.mkdirSync(path.join(tree, 'deep/file 8'));
    const { backupId, type } = await backUp(engine, 'incr');
    expect(type).toBe('incr');
    const { work } = await byHand(['files'], { STORE: engine.store, BACKUP: backupId, KIND: kind });
    expect(listing(path.join(work, 'files', tree))).toEqual(listing(tree));
    const [one, again] = ['deep/file 1', 'deep/er/again'].map((name) =>
      fs.statSync(path.join(work, 'files', tree, name)),
    );
    expect(one!.ino).toBe(again!.ino);
  });
});

/** Name, kind, mode, time and content of everything in a tree. */
function listing(root: string): string[] {
  return fs
    .readdirSync(root, { recursive: true })
    .map(String)
    .toSorted()
    .map((name) => {
      const file = path.join(root, name);
      const stat = fs.lstatSync(file);
      const content = stat.isSymbolicLink()
        ? fs.readlinkSync(file)
        : stat.isFile()
          ? fs.readFileSync(file).toString('base64')
          : '';
      return [name, stat.mode.toString(8), stat.isSymbolicLink() ? '' : stat.mtimeMs, content].join(' ');
    });
}
