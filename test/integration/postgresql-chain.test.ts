import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import type { Client } from 'pg';
import { pathsOf, readMarker } from '../../adapters/engines/postgresql/restore-place';
import { withRestored } from '../../adapters/engines/postgresql/restored-server';
import type { Manifest } from '../../core/catalog';
import type { Engine, RestoreRequest } from '../../core/engine';
import type { RestorePlan } from '../../core/recovery';
import type { VolumeSource } from '../../core/volumes';
import { Secret } from '../../core/secret';
import { openPostgres } from '../../lab/servers/postgresql-client';
import { isRoot, serverFolder } from '../../lab/servers/process';
import {
  combinedSource,
  engineOf,
  MemoryLogArchive,
  MemoryVolumes,
  takeBackup,
  testContext,
} from '../support/engine-harness';
import { seededRandom } from '../support/random';
import { postgresTool, postgresVersions, startPostgres } from '../support/servers';

const random = seededRandom('postgresql-chain');
const root = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-pg-chain-'));
fs.chmodSync(root, 0o755);
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));

const placeAt = (name: string) => ({
  directory: path.join(root, name),
  host: '127.22.0.5',
  port: 0,
  osUser: isRoot ? 'nobody' : null,
  overwrite: false,
});

async function cluster(programs?: string) {
  const server = await startPostgres({ programs });
  const client = await openPostgres(server.url);
  const tablespace = serverFolder(fs.mkdtempSync(path.join(root, 'space-')));
  await client.query(`CREATE TABLESPACE other LOCATION '${tablespace}'`);
  await client.query('CREATE TABLE here (id int PRIMARY KEY, body text NOT NULL)');
  await client.query('CREATE TABLE there (id int PRIMARY KEY, body text NOT NULL) TABLESPACE other');
  const engine = await engineOf('postgresql', 'orders', {
    sites: { primary: { host: server.host, port: server.port, password: new Secret(server.password) } },
    toolsDirectory: programs ?? path.dirname(postgresTool('postgres')),
  });
  return { server, client, engine, log: new MemoryLogArchive(engine.log!.naming) };
}

/** Everything that makes a file grow, shrink, vanish, come back under another name or stay as it is. */
async function change(client: Client, round: number): Promise<void> {
  for (const table of ['here', 'there']) {
    const first = round * 100_000;
    await client.query(
      `INSERT INTO ${table} SELECT g, repeat(md5(g::text), ${1 + random.integer(6)})
         FROM generate_series(${first}, ${first + 2_000 + random.integer(20_000)}) g`,
    );
    await client.query(`UPDATE ${table} SET body = body || '.' WHERE id % ${50 + random.integer(2_000)} = 0`);
    const what = random.pick([
      `DELETE FROM ${table} WHERE id > ${first + random.integer(10_000)}`,
      `TRUNCATE ${table}`,
      `CREATE INDEX ON ${table} (body)`,
      'SELECT 1',
    ]);
    await client.query(what);
    // Gives the end of the file back, so that a file is shorter than in the backup before.
    await client.query(`VACUUM ${random.pick(['', 'FULL'])} ${table}`);
  }
  await client.query(`CREATE TABLE only_${round} AS SELECT g FROM generate_series(1, 5000) g`);
  if (round > 1) await client.query(`DROP TABLE only_${round - 1}`);
  await client.query(`CREATE DATABASE db_${round}`);
  if (round > 1) await client.query(`DROP DATABASE db_${round - 1}`);
}

async function chainOf(engine: Engine, client: Client, log: MemoryLogArchive, incrementals: number) {
  const volumes = new Map<string, MemoryVolumes>();
  const chain: Manifest[] = [];
  for (let round = 0; round <= incrementals; round += 1) {
    await change(client, round);
    const type = round === 0 ? 'full' : 'incr';
    const { manifest } = await takeBackup(engine, 'primary', volumes, chain, { type, targetVolumeBytes: 2 * 2 ** 20 });
    if (manifest.type !== type) throw new Error(`${type} asked, ${manifest.type} taken: ${manifest.typeReason}`);
    chain.push(manifest);
  }
  const content = await contentOf(client);
  const request = { site: 'primary', runForMilliseconds: 1_500, sliceMilliseconds: 200 };
  await engine.log!.archive(request, log, () => undefined, testContext());
  return { volumes, chain, content };
}

async function contentOf(client: Client): Promise<unknown> {
  const { rows } = await client.query(`
    SELECT (SELECT md5(string_agg(h::text, ',' ORDER BY id)) FROM here h) AS here,
           (SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM there t) AS there,
           (SELECT string_agg(datname, ',' ORDER BY datname) FROM pg_database) AS databases,
           (SELECT string_agg(relname, ',' ORDER BY relname) FROM pg_class WHERE relname LIKE 'only%') AS tables`);
  return rows[0];
}

/** Digests of all files below, by name. */
function treeOf(folder: string): Record<string, string> {
  const files = fs.readdirSync(folder, { recursive: true, withFileTypes: true }).filter((each) => each.isFile());
  const named = files.map(({ parentPath, name }) => path.join(parentPath, name));
  const digest = (file: string) => createHash('sha256').update(fs.readFileSync(file)).digest('hex');
  return Object.fromEntries(named.map((file) => [path.relative(folder, file), digest(file)]));
}

/** What a person does without us: tar, and PostgreSQL's own program. */
function combinedByHand(chain: readonly Manifest[], volumes: ReadonlyMap<string, MemoryVolumes>, folder: string): void {
  const members = chain.map(({ backupId }) => {
    const stored = volumes.get(backupId)!;
    const member = path.join(folder, backupId);
    for (const [name, content] of stored.contents) {
      const oid = /^(\d+)-/.exec(name)?.[1];
      const into = oid ? path.join(folder, `${backupId}-${oid}`) : member;
      fs.mkdirSync(into, { recursive: true });
      execFileSync('tar', ['-xf', '-', '-C', into], { input: content });
      if (oid) {
        fs.mkdirSync(path.join(member, 'pg_tblspc'), { recursive: true });
        fs.rmSync(path.join(member, 'pg_tblspc', oid), { force: true, recursive: true });
        fs.symlinkSync(into, path.join(member, 'pg_tblspc', oid));
      }
    }
    fs.writeFileSync(path.join(member, 'backup_manifest'), stored.earlyFiles.get('backup_manifest')!);
    fs.rmSync(path.join(member, 'tablespace_map'), { force: true });
    return member;
  });
  const newest = members.at(-1)!;
  const oid = fs.readdirSync(path.join(newest, 'pg_tblspc'))[0]!;
  const map = `${fs.readlinkSync(path.join(newest, 'pg_tblspc', oid))}=${path.join(folder, 'tablespaces', oid)}`;
  fs.mkdirSync(path.join(folder, 'tablespaces'));
  const options = ['-T', map, '-o', path.join(folder, 'data'), '--no-sync', '--no-manifest'];
  execFileSync(postgresTool('pg_combinebackup'), [...members, ...options], { stdio: ['ignore', 'ignore', 'inherit'] });
}

async function restoredContent(engine: Engine, request: RestoreRequest, log: MemoryLogArchive): Promise<unknown> {
  const restored = await engine.restore.replay(request, log, testContext());
  await engine.restore.open(request, testContext());
  const marker = (await readMarker(restored.directory))!;
  return withRestored(pathsOf(restored.directory), marker, contentOf);
}

/** What pg_combinebackup refuses as well, by the name of the backup that is wrong and before anything is written. */
async function refusesOtherChains(
  engine: Engine,
  request: RestoreRequest,
  volumes: ReadonlyMap<string, MemoryVolumes>,
  log: MemoryLogArchive,
): Promise<void> {
  const [full, first, second, third] = request.chain as [Manifest, Manifest, Manifest, Manifest];
  const later = { ...first.start!, value: first.start!.value.replace(/.$/, (digit) => (digit === '8' ? '0' : '8')) };
  const others: [string, readonly Manifest[], Manifest, RegExp][] = [
    [
      'a member left out',
      [full, { ...second, parent: full.backupId }],
      second,
      /backup_label says that it was made from/,
    ],
    ['members in another order', [full, second, first], second, /builds on .*, and what lies before it is/],
    ['the full one left out', [first, second], first, /which the chain lacks/],
    ['of another cluster', [full, { ...first, identity: '7' }], first, /is of the cluster \d+, our manifest of 7/],
    ['that began elsewhere', [full, { ...first, start: later }, second], first, /needs WAL of .*, our manifest says/],
    [
      'on another timeline',
      [{ ...full, lineage: `${full.identity}/2` }],
      full,
      /on timeline 1, our manifest says .* 2/,
    ],
    ["another one's server manifest", [full, { ...first, backupId: third.backupId }], third, /needs WAL of/],
  ];
  for (const [what, chain, named, why] of others) {
    const rebuild = engine.restore.rebuild({ ...request, chain }, combinedSource(volumes), log, testContext());
    const error = await rebuild.then(
      () => null,
      (thrown: Error & { type?: string }) => thrown,
    );
    expect({ what, type: error?.type, message: error?.message }).toEqual({
      what,
      type: 'BackupCorrupt',
      message: expect.stringMatching(new RegExp(`^${named.backupId} .*${why.source}`)),
    });
    expect(fs.existsSync(request.place.directory)).toBe(false);
  }
}

/** The same source, counting what is read. */
function counting(volumes: ReadonlyMap<string, MemoryVolumes>): VolumeSource & { readonly read: string[] } {
  const whole = combinedSource(volumes);
  const read: string[] = [];
  return {
    read,
    early: (backupId, name) => whole.early(backupId, name),
    open: (artifact) => {
      read.push(artifact.key);
      return whole.open(artifact);
    },
  };
}

describe(`a full and three incrementals with a tablespace (seed ${random.seed})`, () => {
  let world: Awaited<ReturnType<typeof cluster>> & Awaited<ReturnType<typeof chainOf>>;
  let plan: RestorePlan;
  /** The place of the first test, as the restore left it: the second one finds it used. */
  let wanted: Record<string, string>;
  const place = placeAt('chain');

  beforeAll(async () => {
    const source = await cluster();
    world = { ...source, ...(await chainOf(source.engine, source.client, source.log, 3)) };
    const target = { kind: 'backup', backupId: world.chain.at(-1)!.backupId } as const;
    plan = await world.engine.planRestore(target, { backups: world.chain, log: world.log }, testContext());
  }, 120_000);
  afterAll(async () => {
    await world?.client.end();
    await world?.server.stop();
  });

  const requestOf = (restoreId: string, over: Partial<RestoreRequest['place']> = {}): RestoreRequest => ({
    restoreId,
    plan,
    chain: world.chain,
    place: { ...place, ...over },
  });
  const rebuild = async (request: RestoreRequest) => {
    const source = counting(world.volumes);
    await world.engine.restore.rebuild(request, source, world.log, testContext());
    const { data, tablespaces } = pathsOf(request.place.directory);
    // Where the tablespaces lie is each place's own.
    const { tablespace_map: map, ...tree } = { ...treeOf(data), ...treeOf(tablespaces) };
    expect(map).toBeDefined();
    return { tree, read: source.read };
  };

  test('becomes what pg_combinebackup makes of it, byte by byte', async () => {
    const { engine, chain, volumes, log, content } = world;
    expect(plan.chain).toHaveLength(4);
    await refusesOtherChains(engine, requestOf('chain'), volumes, log);
    ({ tree: wanted } = await rebuild(requestOf('chain')));

    const byHand = path.join(root, 'by-hand');
    combinedByHand(chain, volumes, byHand);
    // What every restored place has of its own.
    const own = ['tablespace_map', 'recovery.signal', 'postgresql.auto.conf', 'postgresql.auto.conf.source'];
    const without = (tree: Record<string, string>) =>
      Object.fromEntries(
        Object.entries(tree).filter(([name]) => !own.includes(name) && !name.startsWith('pg_tblspc/')),
      );
    const paths = pathsOf(place.directory);
    expect(without(treeOf(paths.data))).toEqual(without(treeOf(path.join(byHand, 'data'))));
    expect(treeOf(paths.tablespaces)).toEqual(treeOf(path.join(byHand, 'tablespaces')));
    expect(Object.keys(treeOf(paths.tablespaces)).length).toBeGreaterThan(2);

    expect(await restoredContent(engine, requestOf('chain'), log)).toEqual(content);
  }, 120_000);

  test('a delta restore over it leaves what a fresh one leaves, byte by byte', async () => {
    const { engine, chain, log, content } = world;
    const marker = (await readMarker(place.directory))!;
    await withRestored(pathsOf(place.directory), marker, async (db) => {
      await db.query('DELETE FROM there WHERE id % 3 = 0');
      await db.query('CREATE TABLE new_since AS SELECT g FROM generate_series(1, 50000) g');
      await db.query('CHECKPOINT');
    });
    const { data, tablespaces } = pathsOf(place.directory);
    const relations = Object.keys(treeOf(tablespaces)).filter((name) => /\/\d+$/.test(name));
    const [flipped, longer] = random.shuffled(relations) as [string, string];
    flip(path.join(tablespaces, flipped), random.integer(8_192));
    fs.appendFileSync(path.join(tablespaces, longer), Buffer.alloc(8_192));
    fs.writeFileSync(path.join(data, 'base', 'stray'), 'of nobody');

    const ofTheFull = (keys: readonly string[]) => keys.filter((key) => key.startsWith(`${chain[0]!.backupId}/`));
    // What did not change since the full is not read of it again, though the newest backup only says that it did not.
    const leavesTheSame = async (request: RestoreRequest) => {
      const { tree, read } = await rebuild(request);
      expect(tree).toEqual(wanted);
      const full = ofTheFull(read);
      expect(new Set(full).size).toBe(full.length);
      expect(full.length).toBeLessThan(chain[0]!.artifacts.length);
      return full.length;
    };
    await leavesTheSame(requestOf('over-the-end', { delta: true }));
    expect(await restoredContent(engine, requestOf('over-the-end', { delta: true }), log)).toEqual(content);
    await engine.restore.discard(place, testContext());

    // Over the full alone, as it was: all its relations stay, and what changed since is written into them.
    await rebuild({ ...requestOf('full'), chain: chain.slice(0, 1) });
    expect(await leavesTheSame(requestOf('over-the-full', { delta: true }))).toBeLessThan(3);
    await engine.restore.discard(place, testContext());
  }, 120_000);
});

describe.each(postgresVersions)('delta restore on PostgreSQL $version', ({ programs }) => {
  test(`only what differs is read and written (seed ${random.seed})`, async () => {
    const { server, client, engine, log } = await cluster(programs);
    const { volumes, chain, content } = await chainOf(engine, client, log, 0);
    const [full] = chain as [Manifest];
    const plan = await engine.planRestore(
      { kind: 'backup', backupId: full.backupId },
      { backups: chain, log },
      testContext(),
    );
    const place = placeAt(`delta-${server.host}`);
    const first = { restoreId: 'first', plan, chain, place };
    await engine.restore.rebuild(first, combinedSource(volumes), log, testContext());
    const { data, tablespaces } = pathsOf(place.directory);
    const pristine = { ...treeOf(data), ...treeOf(tablespaces) };
    await restoredContent(engine, first, log);
    // Used, as a server does, and damaged, as a disk does.
    const marker = (await readMarker(place.directory))!;
    await withRestored(pathsOf(place.directory), marker, async (db) => {
      await db.query('DELETE FROM here WHERE id % 3 = 0');
      await db.query('CREATE TABLE new_since AS SELECT g FROM generate_series(1, 50000) g');
    });
    const victim = Object.keys(treeOf(tablespaces)).find((name) => /\/\d+$/.test(name))!;
    flip(path.join(tablespaces, victim), random.integer(8_192));

    await expect(
      engine.restore.rebuild({ ...first, restoreId: 'plain' }, combinedSource(volumes), log, testContext()),
    ).rejects.toMatchObject({ type: 'TargetNotEmpty' });
    const source = counting(volumes);
    const second = { ...first, restoreId: 'second', place: { ...place, delta: true } };
    await engine.restore.rebuild(second, source, log, testContext());
    expect({ ...treeOf(data), ...treeOf(tablespaces) }).toEqual(pristine);
    expect(new Set(source.read).size).toBe(source.read.length);
    expect(source.read.length).toBeLessThan(full.artifacts.length);
    expect(await restoredContent(engine, second, log)).toEqual(content);
    await engine.restore.discard(place, testContext());
    await client.end();
    await server.stop();
  }, 120_000);

  test('a stopped server gets its own directory back; a running one and another cluster are refused', async () => {
    const { server, client, engine, log } = await cluster(programs);
    const { volumes, chain, content } = await chainOf(engine, client, log, 0);
    const [full] = chain as [Manifest];
    const plan = await engine.planRestore(
      { kind: 'backup', backupId: full.backupId },
      { backups: chain, log },
      testContext(),
    );
    const place = { ...placeAt('unused'), directory: server.dataDir, delta: true };
    const request = { restoreId: 'own', plan, chain, place };
    const rebuild = (from: VolumeSource) => engine.restore.rebuild(request, from, log, testContext());
    const before = treeOf(server.dataDir);
    await expect(rebuild(combinedSource(volumes))).rejects.toThrow(/postmaster\.pid/);
    await client.query("UPDATE here SET body = 'lost'");
    await client.end();
    await server.server.stop();

    const control = path.join(server.dataDir, 'global/pg_control');
    const ofThis = fs.readFileSync(control);
    flip(control, 3);
    await expect(rebuild(combinedSource(volumes))).rejects.toThrow(/holds the cluster/);
    fs.writeFileSync(control, ofThis);
    expect(Object.keys(treeOf(server.dataDir)).length).toBeGreaterThan(Object.keys(before).length / 2);

    const source = counting(volumes);
    await rebuild(source);
    expect(source.read.length).toBeLessThan(full.artifacts.length);
    expect(await restoredContent(engine, request, log)).toEqual(content);
    await engine.restore.discard(place, testContext());
    await server.stop();
  }, 120_000);
});

function flip(file: string, at: number): void {
  const bytes = fs.readFileSync(file);
  bytes[at] = (bytes[at] as number) ^ 0x10;
  fs.writeFileSync(file, bytes);
}

describe.each(postgresVersions)('a full backup with a tablespace on PostgreSQL $version', ({ programs, version }) => {
  test('is restored as it was', async () => {
    const { server, client, engine, log } = await cluster(programs);
    const { volumes, chain, content } = await chainOf(engine, client, log, 0);
    const target = { kind: 'backup', backupId: chain.at(-1)!.backupId } as const;
    const plan = await engine.planRestore(target, { backups: chain, log }, testContext());
    const request = { restoreId: `full-${version}`, plan, chain, place: placeAt(`full-${version}`) };
    await engine.restore.rebuild(request, combinedSource(volumes), log, testContext());
    expect(await restoredContent(engine, request, log)).toEqual(content);
    const { tablespaces } = pathsOf(request.place.directory);
    expect(Object.keys(treeOf(tablespaces)).length).toBeGreaterThan(2);
    await engine.restore.discard(request.place, testContext());
    await client.end();
    await server.stop();
  }, 120_000);
});
