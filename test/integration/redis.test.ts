import Redis from 'ioredis';
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { createRedisEngine } from '../../adapters/engines/redis/engine';
import { serverOf } from '../../adapters/engines/redis/restored-server';
import { settings } from '../../adapters/engines/redis/settings';
import { hasCode } from '../../core/errors';
import type { FenceEvidence } from '../../core/fencing';
import { compareFingerprints } from '../../core/recovery';
import { Secret } from '../../core/secret';
import { engineContract, type EngineHarness } from '../contract/engine.contract';
import { engineFaults } from '../contract/engine-faults.contract';
import { combinedSource, engineOf, MemoryVolumes, takeBackup, testContext } from '../support/engine-harness';
import { startRedisRoles } from '../support/redis-roles';
import { redisFlavours, redisProgram, startRedis, waitUntil } from '../support/servers';
import { startSilentServer } from '../support/silent-server';
import { seedsOfRounds } from '../support/random';
import { fillWithEveryType } from '../support/redis-content';

const folders: string[] = [];
function folder(): string {
  const made = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-redis-restore-'));
  folders.push(made);
  return made;
}
afterAll(async () => {
  // A test that failed half-way leaves a restored server, which outlives whoever started it.
  for (const each of folders.filter((made) => fs.existsSync(made))) await (await serverOf(each)).stop();
  folders.forEach((each) => fs.rmSync(each, { recursive: true, force: true }));
});

type Server = Awaited<ReturnType<typeof startRedis>>;

const toolsDirectory = (flavour: Parameters<typeof redisProgram>[0] = 'redis') => path.dirname(redisProgram(flavour));

function settingsFor(servers: Record<string, Server>, extra: Record<string, unknown> = {}) {
  const sites = Object.fromEntries(
    Object.entries(servers).map(([site, { host, port, password }]) => [
      site,
      { host, port, password: new Secret(password), ...(site === 'primary' ? extra : {}) },
    ]),
  );
  const dead = { host: '127.24.0.1', port: 6379 };
  return { sites: { ...sites, dead }, toolsDirectory: toolsDirectory() };
}

const engineFor = (...given: Parameters<typeof settingsFor>) =>
  createRedisEngine({ store: 'cache', settings: settings.parse(settingsFor(...given)) });

const connect = ({ host, port, password }: Server) => new Redis({ host, port, password, retryStrategy: () => null });

async function pair(): Promise<{ primary: Server; dr: Server; stop: () => Promise<void> }> {
  const primary = await startRedis();
  const dr = await startRedis({ password: primary.password, replicaOf: primary });
  await inSync(primary, dr);
  return { primary, dr, stop: async () => void (await Promise.all([primary.stop(), dr.stop()])) };
}

async function inSync(primary: Server, dr: Server): Promise<void> {
  const [a, b] = [connect(primary), connect(dr)];
  const field = (text: string, name: string) => new RegExp(`^${name}:(\\S+)`, 'm').exec(text)?.[1];
  await waitUntil('the replica in sync', async () => {
    const [left, right] = await Promise.all([a.info('replication'), b.info('replication')]);
    const up = field(right, 'master_link_status') === 'up';
    return up && field(left, 'master_repl_offset') === field(right, 'slave_repl_offset');
  });
  a.disconnect();
  b.disconnect();
}

async function startHarness(): Promise<EngineHarness> {
  const { primary, dr, stop } = await pair();
  const silent = await startSilentServer(6379);
  const client = connect(primary);
  await fillWithEveryType(client, 7);
  let changes = 0;
  return {
    engine: await engineOf('redis', 'cache', settingsFor({ primary, dr, silent: { ...primary, ...silent } })),
    site: 'primary',
    deadSite: 'dead',
    silence: { site: 'silent', signal: (signal) => primary.server.kill(signal) },
    standbySite: 'dr',
    leftByArchiver: null,
    change: async () => void (await client.set(`change:${changes}`, `${changes++}`)),
    place: async () => {
      const directory = path.join(folder(), 'place');
      folders.push(directory);
      return { directory, host: '127.24.0.2', port: 0, osUser: null, overwrite: false };
    },
    stop: async () => {
      client.disconnect();
      await Promise.all([silent.stop(), stop()]);
    },
  };
}

engineContract('redis', startHarness, startRedisRoles);
engineFaults('redis', startHarness);

const KINDS = redisFlavours().flatMap((flavour) => [[flavour, 'yes'] as const, [flavour, 'no'] as const]);

describe('a server', () => {
  test.each(seedsOfRounds(KINDS.length).map((seed, index) => [...KINDS[index % KINDS.length]!, seed] as const))(
    '(%s) of every type, users and functions is restored (diskless sync: %s, seed %i)',
    async (flavour, diskless, seed) => {
      const source = await startRedis({ flavour, settings: { 'repl-diskless-sync': diskless, databases: '40' } });
      const client = connect(source);
      await fillWithEveryType(client, seed);
      await client.call('ACL', 'SETUSER', 'shop', 'on', '>secret-of-the-shop', '~cart:*', '+@read');
      await client.call('FUNCTION', 'LOAD', "#!lua name=lib\nredis.register_function('f', function() return 1 end)");
      const engine = createRedisEngine({
        store: 'cache',
        settings: settings.parse({
          sites: { primary: { host: source.host, port: source.port, password: new Secret(source.password) } },
          toolsDirectory: toolsDirectory(flavour),
        }),
      });
      const volumes = new Map<string, MemoryVolumes>();
      const expected = await engine.fingerprint({ site: 'primary' }, testContext());
      expect(expected.items.map((each) => each.name)).toEqual(['db0', 'db3', 'db39', 'functions']);
      const { manifest } = await takeBackup(engine, 'primary', volumes, []);
      expect(manifest.lineage).toMatch(/^[0-9a-f]{40}$/);
      const early = [...(volumes.get(manifest.backupId)?.earlyFiles.values() ?? [])].join('');
      expect(early).toContain('user shop');
      expect(early).not.toMatch(/#[0-9a-f]{64}/);
      const place = {
        directory: folder(),
        host: '127.24.0.3',
        port: 0,
        osUser: process.getuid?.() === 0 ? 'nobody' : null,
        overwrite: false,
      };
      const target = { kind: 'backup', backupId: manifest.backupId } as const;
      const plan = await engine.planRestore(target, { backups: [manifest], log: null }, testContext());
      expect(plan.reaches.exact).toBe(true);
      const request = { restoreId: 'r1', plan, chain: [manifest], place };
      await engine.restore.rebuild(request, combinedSource(volumes), null, testContext());
      await engine.restore.replay(request, null, testContext());
      const opened = await engine.restore.open(request, testContext());
      expect(compareFingerprints(expected, await engine.fingerprint(opened, testContext()))).toEqual([]);
      const restored = new Redis({ ...(opened.address as { host: string; port: number }), password: source.password });
      expect(await restored.call('ACL', 'GETUSER', 'shop')).toEqual(await client.call('ACL', 'GETUSER', 'shop'));
      expect(fs.statSync(path.join(place.directory, 'redis.conf')).mode & 0o777).toBe(0o600);
      await restored.set('written', 'after');
      expect(compareFingerprints(expected, await engine.fingerprint(opened, testContext()))).toHaveLength(1);
      restored.disconnect();
      await engine.restore.discard(place, testContext());
      expect(fs.existsSync(place.directory)).toBe(false);
      client.disconnect();
      await source.stop();
    },
    60_000,
  );
});

test('a backup of 64 MB values while the source is written to is whole, and the append-only copy loads by itself', async () => {
  const source = await startRedis({ settings: { maxmemory: '1gb', appenddirname: 'aof' } });
  const client = connect(source);
  for (let index = 0; index < 6; index++) await client.set(`large:${index}`, Buffer.alloc(64 * 1024 * 1024, index));
  const engine = engineFor({ primary: source }, { aofDirectory: path.join(source.dataDir, 'aof') });
  const volumes = new Map<string, MemoryVolumes>();
  const writing = new AbortController();
  const writer = (async () => {
    for (let index = 0; !writing.signal.aborted; index++) await client.set(`meanwhile:${index % 1000}`, `${index}`);
  })();
  const { manifest } = await takeBackup(engine, 'primary', volumes, []);
  writing.abort();
  await writer;
  expect(manifest.artifacts.map((each) => each.name).toSorted()).toEqual([
    'appendonlydir.tar',
    'dump.rdb',
    'users.acl',
  ]);
  const place = folder();
  const archive = volumes.get(manifest.backupId)?.contents.get('appendonlydir.tar') as Buffer;
  execFileSync('tar', ['-xf', '-', '-C', place], { input: archive });
  await client.quit();
  await source.stop();
  const again = await startRedis({
    dataDir: place,
    password: 'x',
    settings: { appenddirname: 'aof', maxmemory: '1gb' },
  });
  const reader = connect(again);
  expect(await reader.strlen('large:5')).toBe(64 * 1024 * 1024);
  expect(await reader.dbsize()).toBeGreaterThan(6);
  reader.disconnect();
  await again.stop();
}, 90_000);

describe('roles', () => {
  let primary: Server;
  let dr: Server;
  let stop: () => Promise<void>;
  const proven = (epoch: number): FenceEvidence => ({
    strength: 'proven',
    site: 'primary',
    stores: ['cache'],
    epoch,
    at: new Date().toISOString(),
    how: 'test',
    by: 'test',
  });

  beforeEach(async () => ({ primary, dr, stop } = await pair()));
  afterEach(async () => stop());

  test('a sample measures both sides under one replication id, counting writes and not reads', async () => {
    const engine = engineFor({ primary, dr });
    const client = connect(primary);
    const first = await engine.replication?.sample('primary', 'dr', testContext());
    for (let index = 0; index < 50; index++) await client.set(`key:${index}`, 'value');
    for (let index = 0; index < 70; index++) await client.get(`key:${index}`);
    await inSync(primary, dr);
    const second = await engine.replication?.sample('primary', 'dr', testContext());
    expect(second?.primary?.position.lineage).toBe(first?.primary?.position.lineage);
    expect((second?.primary?.operations ?? 0) - (first?.primary?.operations ?? 0)).toBe(50);
    await client.call('CONFIG', 'RESETSTAT');
    await client.set('one-more', 'value');
    const third = await engine.replication?.sample('primary', 'dr', testContext());
    expect(third?.primary?.operations).toBe((second?.primary?.operations ?? 0) + 1);
    expect(second?.standby?.bytes).toBe(second?.primary?.bytes);
    client.disconnect();
    await primary.server.kill('SIGKILL');
    const without = await engine.replication?.sample('primary', 'dr', testContext());
    expect(without).toMatchObject({ primary: null, problem: expect.stringContaining('primary') as string });
    expect(without?.standby).not.toBeNull();
  });

  test('a fence is proven by a refused write, survives a restart, and gives back what was set before', async () => {
    const engine = engineFor({ primary, dr });
    const client = connect(primary);
    await client.config('SET', 'min-replicas-to-write', '1');
    const evidence = await engine.replication?.fence('primary', 'dr', 3, testContext());
    expect(evidence).toMatchObject({ strength: 'proven', site: 'primary', stores: ['cache'], epoch: 3 });
    expect(await engine.replication?.fence('primary', 'dr', 3, testContext())).toMatchObject({ strength: 'proven' });
    expect((await engine.probe('primary', testContext())).writable).toBe(false);
    await primary.server.kill('SIGKILL');
    await primary.server.start();
    expect((await engine.probe('primary', testContext())).writable).toBe(false);
    const older = await engine.replication?.unfence('primary', 2, testContext()).catch((error: unknown) => error);
    expect(hasCode(older, 'StaleEpoch')).toBe(true);
    const stale = await engine.replication?.fence('primary', 'dr', 2, testContext()).catch((error: unknown) => error);
    expect(hasCode(stale, 'StaleEpoch')).toBe(true);
    await engine.replication?.unfence('primary', 3, testContext());
    await engine.replication?.unfence('primary', 3, testContext());
    await inSync(primary, dr); // one replica is what was asked for before, so it must be back for a write
    const after = connect(primary);
    expect(await after.config('GET', 'min-replicas-to-write')).toEqual(['min-replicas-to-write', '1']);
    expect(await after.set('written', 'again')).toBe('OK');
    after.disconnect();
    client.disconnect();
    expect(await engine.replication?.fence('dead', 'dr', 3, testContext())).toMatchObject({ strength: 'none' });
  });

  test('a replica that never received a copy is not promoted', async () => {
    const empty = await startRedis({ password: primary.password, replicaOf: { host: '127.24.0.1', port: 6379 } });
    const engine = engineFor({ primary, dr: empty });
    const refused = await engine.replication
      ?.promote({ site: 'dr', epoch: 1, evidence: [proven(1)] }, testContext())
      .catch((error: unknown) => error);
    expect(hasCode(refused, 'PromotionFailed')).toBe(true);
    expect((await engine.probe('dr', testContext())).role).toBe('replica');
    await empty.stop();
  });

  test('a backup reads from a replica that follows, and from the primary when it does not', async () => {
    const engine = engineFor({ primary, dr }, { replicas: [{ host: dr.host, port: dr.port }] });
    const taken = await takeBackup(engine, 'primary', new Map(), []);
    expect(taken.manifest.source.member).toBe(`${dr.host}:${dr.port}`);
    await dr.server.kill('SIGKILL');
    const next = await takeBackup(engine, 'primary', new Map(), []);
    expect(next.manifest.source.member).toBe(`${primary.host}:${primary.port}`);
    expect(next.manifest.identity).toBe(taken.manifest.identity);
  });
});

test('wrong credentials are AccessDenied, and no password is in the message', async () => {
  const server = await startRedis();
  const wrong = { host: server.host, port: server.port, password: new Secret('not-the-password') };
  const engine = createRedisEngine({ store: 'cache', settings: settings.parse({ sites: { primary: wrong } }) });
  const error = await takeBackup(engine, 'primary', new Map(), []).catch((each: unknown) => each);
  expect(hasCode(error, 'AccessDenied')).toBe(true);
  expect(JSON.stringify(error) + String(error)).not.toContain('not-the-password');
  expect(await engine.probe('primary', testContext())).toMatchObject({ reachable: false });
  await server.stop();
});
