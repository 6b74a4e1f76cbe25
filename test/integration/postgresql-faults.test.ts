import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { createPostgresqlEngine } from '../../adapters/engines/postgresql/engine';
import { pathsOf } from '../../adapters/engines/postgresql/restore-place';
import { serverOf } from '../../adapters/engines/postgresql/restored-server';
import { settings } from '../../adapters/engines/postgresql/settings';
import type { Manifest } from '../../core/catalog';
import type { Engine, RestoreRequest } from '../../core/engine';
import { compareFingerprints, type RecoveryTarget } from '../../core/recovery';
import { Secret } from '../../core/secret';
import { openPostgres } from '../../lab/servers/postgresql-client';
import { isRoot, serverFolder } from '../../lab/servers/process';
import {
  combinedSource,
  MemoryLogArchive,
  type MemoryVolumes,
  takeBackup,
  testContext,
} from '../support/engine-harness';
import { postgresTool, postgresVersionsInDepth, startPostgres, waitUntil } from '../support/servers';

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-pg-faults-'));
fs.chmodSync(root, 0o755);
let places = 0;
/** What a failed test must not leave behind. */
const leftovers: (() => Promise<void>)[] = [];
afterAll(async () => {
  for (const remove of leftovers) await remove();
  fs.rmSync(root, { recursive: true, force: true });
});

/** One cluster with its backups and log in memory, and the steps that tests repeat. */
class World {
  readonly engine: Engine;
  readonly log: MemoryLogArchive;
  readonly volumes = new Map<string, MemoryVolumes>();
  readonly backups: Manifest[] = [];

  constructor(server: { host: string; port: number; password: string }, toolsDirectory: string) {
    const { host, port, password } = server;
    const { sites, ...own } = settings.parse({ sites: { here: { host, port, password: new Secret(password) } } });
    this.engine = createPostgresqlEngine({ store: 'faults', sites, settings: own, toolsDirectory });
    this.log = new MemoryLogArchive(this.engine.log!.naming);
  }

  private readonly answeredGaps: string[] = [];

  async archive(runForMilliseconds = 2_500) {
    const request = { site: 'here', runForMilliseconds, sliceMilliseconds: 100, answeredGaps: this.answeredGaps };
    const outcome = await this.engine.log!.archive(request, this.log, () => undefined, testContext());
    if (outcome.needsBase !== null) this.answeredGaps.push(outcome.needsBase);
    return outcome;
  }

  async back(type: 'full' | 'incr' = 'full') {
    const taken = await takeBackup(this.engine, 'here', this.volumes, this.backups, {
      type,
      targetVolumeBytes: 2 ** 20,
    });
    this.backups.push(taken.manifest);
    return taken.manifest;
  }

  async request(target: RecoveryTarget, name: string): Promise<RestoreRequest> {
    const plan = await this.engine.planRestore(target, { backups: this.backups, log: this.log }, testContext());
    const chain = plan.chain.map((id) => this.backups.find((each) => each.backupId === id)!);
    const osUser = isRoot ? 'nobody' : null;
    const place = {
      directory: path.join(root, `${++places}-${name}`),
      host: '127.22.0.3',
      port: 0,
      osUser,
      overwrite: false,
    };
    leftovers.push(() => this.engine.restore.discard(place, testContext()).catch(() => undefined));
    return { restoreId: name, plan, chain, place };
  }

  async rebuild(request: RestoreRequest, signal?: AbortSignal) {
    await this.engine.restore.rebuild(request, combinedSource(this.volumes), this.log, testContext(signal));
  }

  async replay(request: RestoreRequest, signal?: AbortSignal) {
    return this.engine.restore.replay(request, this.log, testContext(signal));
  }
}

describe.each(postgresVersionsInDepth)('PostgreSQL $version', ({ version, programs }) => {
  const toolsDirectory = path.dirname(postgresTool('postgres', programs));

  test('a chain with increments and a cluster with a tablespace are restored; steps cut off anywhere are repeated', async () => {
    const server = await startPostgres({ programs });
    const client = await openPostgres(server.url);
    const world = new World(server, toolsDirectory);
    await client.query(
      'CREATE TABLE t AS SELECT g AS id, repeat(md5(g::text), 20) AS body FROM generate_series(1, 20000) g',
    );
    await world.archive(1_500);
    await world.back();
    await client.query('UPDATE t SET body = body || $1 WHERE id % 997 = 0', ['changed']);
    const incremental = await world.back('incr');
    const [isIncremental, { type, parent, typeReason }] = [version >= 17, incremental];
    expect({ type, parent, refused: /PostgreSQL 15 has no incremental/.test(typeReason ?? '') }).toEqual({
      type: isIncremental ? 'incr' : 'full',
      parent: isIncremental ? world.backups[0]!.backupId : null,
      refused: !isIncremental,
    });
    const sizeOf = (manifest: Manifest) => manifest.artifacts.reduce((sum, each) => sum + each.contentBytes, 0);
    expect(sizeOf(incremental) < sizeOf(world.backups[0]!) / 2).toBe(isIncremental);
    await client.query('DELETE FROM t WHERE id < 100');
    await world.archive();
    const expected = await world.engine.fingerprint({ site: 'here' }, testContext());
    await world.archive(1_500);

    const request = await world.request({ kind: 'latest' }, 'chain');
    expect(request.plan.chain).toEqual(world.backups.slice(version >= 17 ? 0 : -1).map((each) => each.backupId));
    // Cut off in the middle of the rebuild, then at the start of the replay: what runs or lies there is taken up.
    const cut = new AbortController();
    setTimeout(() => cut.abort(new DOMException('killed', 'AbortError')), 150);
    await expect(world.rebuild(request, cut.signal)).rejects.toBeDefined();
    await world.rebuild(request);
    const paths = pathsOf(request.place.directory);
    const second = new AbortController();
    const cutReplay = world.replay(request, second.signal).catch(() => undefined);
    await waitUntil('the restored server running', async () => (await serverOf(paths).pid()) !== null);
    second.abort(new DOMException('killed', 'AbortError'));
    await cutReplay;
    const replayed = await world.replay(request);
    expect(compareFingerprints(expected, await world.engine.fingerprint(replayed, testContext()))).toEqual([]);
    process.kill((await serverOf(paths).pid())!, 'SIGKILL');
    await waitUntil('the restored server gone', async () => (await serverOf(paths).pid()) === null);
    await world.replay(request);
    const opened = await world.engine.restore.open(request, testContext());
    expect(compareFingerprints(expected, await world.engine.fingerprint(opened, testContext()))).toEqual([]);
    await world.engine.restore.discard(request.place, testContext());
    expect(await serverOf(paths).pid()).toBeNull();

    const space = serverFolder(path.join(path.dirname(server.dataDir), 'space'));
    await client.query(`CREATE TABLESPACE fast LOCATION '${space}'`);
    await client.query('CREATE TABLE elsewhere TABLESPACE fast AS SELECT g AS id FROM generate_series(1, 5000) g');
    const manifest = await world.back();
    await world.archive(1_500);
    expect(manifest.artifacts.some((each) => /^\d+-vol-00001\.tar$/.test(each.name))).toBe(true);
    const withSpace = await world.request({ kind: 'backup', backupId: manifest.backupId }, 'space');
    await world.rebuild(withSpace);
    const there = await world.replay(withSpace);
    const wanted = await world.engine.fingerprint({ site: 'here' }, testContext());
    expect(compareFingerprints(wanted, await world.engine.fingerprint(there, testContext()))).toEqual([]);
    await world.engine.restore.discard(withSpace.place, testContext());
    await client.end();
    await server.stop();
  }, 180_000);

  test('restore points and positions; WAL that the server no longer has is said, and needs a base', async () => {
    const server = await startPostgres({ programs, settings: { max_wal_size: '64MB', min_wal_size: '32MB' } });
    const client = await openPostgres(server.url);
    const world = new World(server, toolsDirectory);
    await client.query('CREATE TABLE t (id int)');
    await world.archive(1_500);
    await world.back();
    await client.query('INSERT INTO t VALUES (1)');
    await client.query("SELECT pg_create_restore_point('before-the-release')");
    await client.query('INSERT INTO t VALUES (2)');
    const at = (await client.query('SELECT pg_current_wal_insert_lsn()::text AS lsn')).rows[0] as { lsn: string };
    await client.query('INSERT INTO t VALUES (3)');
    await world.archive();
    for (const [target, name, rows] of [
      [{ kind: 'name', name: 'before-the-release' }, 'named', 1],
      [{ kind: 'position', text: at.lsn }, 'position', 2],
    ] as const) {
      const request = await world.request(target, name);
      await world.rebuild(request);
      const print = await world.engine.fingerprint(await world.replay(request), testContext());
      expect(print.items.find((each) => each.name === 'postgres.public.t')).toMatchObject({ count: rows });
      await world.engine.restore.discard(request.place, testContext());
    }
    const none = { kind: 'name', name: 'never-made' } as const;
    await expect(world.request(none, 'none')).rejects.toMatchObject({ type: 'PitrTargetUnreachable' });
    // As where the log was too long to be searched beforehand: the server itself looks for it, and never opens without it.
    const known = await world.request({ kind: 'name', name: 'before-the-release' }, 'unknown');
    const unknown = {
      ...known,
      plan: { ...known.plan, target: none, reaches: { ...known.plan.reaches, position: null } },
    };
    await world.rebuild(unknown);
    await expect(world.replay(unknown)).rejects.toMatchObject({ type: 'PitrTargetUnreachable' });
    await world.engine.restore.discard(unknown.place, testContext());

    await world.engine.log!.release('here', testContext());
    for (let round = 0; round < 6; round += 1) {
      await client.query('INSERT INTO t SELECT g FROM generate_series(1, 200000) g');
      await client.query('CHECKPOINT');
    }
    const gap = await world.archive(3_000);
    expect(gap.needsBase).toMatch(/is gone from the server/);
    const inGap = { kind: 'time', time: new Date().toISOString() } as const;
    expect(Date.parse(gap.coversUntil!)).toBeLessThan(Date.parse(inGap.time));
    await expect(world.request(inGap, 'beyond')).rejects.toMatchObject({ type: 'PitrTargetUnreachable' });
    await world.back();
    expect((await world.archive(3_000)).needsBase).toBeNull();
    await expect(world.request(inGap, 'beyond')).rejects.toMatchObject({ type: 'PitrTargetUnreachable' });
    expect(await world.engine.windows({ backups: world.backups, log: world.log })).toHaveLength(2);
    await client.end();
    await server.stop();
  }, 180_000);

  test('a damaged page fails the backup and is named', async () => {
    const server = await startPostgres({ programs });
    const client = await openPostgres(server.url);
    await client.query('CREATE TABLE damaged AS SELECT g AS id, md5(g::text) AS body FROM generate_series(1, 5000) g');
    const { file } = (await client.query("SELECT pg_relation_filepath('damaged') AS file")).rows[0] as { file: string };
    await client.query('CHECKPOINT');
    await client.end();
    await server.server.stop();
    const handle = fs.openSync(path.join(server.dataDir, file), 'r+');
    fs.writeSync(handle, 'not what was written here', 8_192 * 3 + 4_000);
    fs.closeSync(handle);
    await server.server.start();
    const world = new World(server, toolsDirectory);
    await expect(world.back()).rejects.toMatchObject({ type: 'BackupCorrupt', message: expect.stringContaining(file) });
    await server.stop();
  }, 60_000);
});
