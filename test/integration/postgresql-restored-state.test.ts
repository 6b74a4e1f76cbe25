import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { pathsOf, readMarker } from '../../adapters/engines/postgresql/restore-place';
import { serverOf, withRestored } from '../../adapters/engines/postgresql/restored-server';
import type { Manifest } from '../../core/catalog';
import type { RestoreRequest } from '../../core/engine';
import { compareFingerprints, type RecoveryTarget, requireStopped } from '../../core/recovery';
import { checkLine, checksFailed } from '../../core/restore-checks';
import { openPostgres } from '../../lab/servers/postgresql-client';
import { isRoot } from '../../lab/servers/process';
import { combinedSource, testContext } from '../support/engine-harness';
import { ask, PostgresSource } from '../support/postgresql-source';
import { postgresTool, postgresVersions, startPostgres, waitUntil } from '../support/servers';

const CHECKS = [
  { name: 'there are rows', sql: 'SELECT count(*) FROM t', expect: { atLeast: 100, atMost: 100 } },
  { name: 'ids are positive', sql: 'SELECT bool_and(id > 0) FROM t' },
  { name: 'a text', sql: 'SELECT max(body) FROM t WHERE id = 7;', expect: 'seven' },
  { name: 'a number of a type of its own', sql: 'SELECT 12.50::numeric', expect: 12.5 },
  { name: 'too few rows', sql: 'SELECT count(*) FROM t', expect: { atLeast: 101 } },
  { name: 'several answers', sql: 'SELECT id FROM t' },
  { name: 'nothing', sql: 'SELECT NULL' },
  { name: 'no such table', sql: 'SELECT count(*) FROM missing' },
  { name: 'a write', sql: 'DELETE FROM t RETURNING true' },
  { name: 'two statements', sql: 'COMMIT; SELECT true' },
  { name: 'too slow', sql: 'SELECT pg_sleep(60) IS NOT NULL', timeoutSeconds: 1 },
  { name: 'the last one runs, too', sql: 'SELECT 1', expect: 1 },
];
const HOLD = [
  'there are rows',
  'ids are positive',
  'a text',
  'a number of a type of its own',
  'the last one runs, too',
];

const SOURCE_ONLY = {
  archive_mode: 'always',
  archive_command: '/bin/false',
  primary_conninfo: 'host=127.22.0.9',
  primary_slot_name: 'somewhere',
  synchronous_standby_names: 'somebody',
};

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-pg-left-'));
fs.chmodSync(root, 0o755);
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));

describe.each(postgresVersions)('a copy that is left by PostgreSQL $version', ({ version, programs }) => {
  let source: PostgresSource;
  let stop: () => Promise<void>;
  let expected: Awaited<ReturnType<PostgresSource['engine']['fingerprint']>>;
  let underWay: Manifest;
  const requests: RestoreRequest[] = [];

  beforeAll(async () => {
    const server = await startPostgres({ programs });
    stop = server.stop;
    const toolsDirectory = path.dirname(postgresTool('postgres', programs));
    source = await PostgresSource.of({ primary: server }, { toolsDirectory, checks: CHECKS });
    await ask(
      server.url,
      `CREATE TABLE t AS SELECT g AS id, CASE g WHEN 7 THEN 'seven' END AS body FROM generate_series(1, 90) g`,
    );
    await source.archiveAll(server.url);
    // In the files of the backup, and not in force: no copy may archive, follow or wait for anybody.
    for (const [name, value] of Object.entries(SOURCE_ONLY)) {
      await ask(server.url, `ALTER SYSTEM SET ${name} = '${value}'`);
    }
    await source.back();
    await ask(server.url, 'ALTER SYSTEM RESET ALL');
    await server.server.stop();
    const { host, port, dataDir, password } = server;
    const settings = { max_connections: '150' }; // raised after the backup: a copy has to find out
    const again = await startPostgres({ host, port, dataDir, password, programs, settings });
    stop = async () => {
      await again.stop();
      await server.stop();
    };
    await ask(server.url, 'INSERT INTO t SELECT g FROM generate_series(91, 100) g');
    expected = await source.engine.fingerprint({ site: 'primary' }, testContext());
    await ask(server.url, "SELECT pg_create_restore_point('a hundred')");
    await ask(server.url, 'DELETE FROM t');
    // A transaction with more subtransactions than a server lists (64) is under way when this backup begins and ends.
    const open = await openPostgres(server.url);
    await open.query('CREATE TABLE s (id int)');
    await open.query('BEGIN');
    await open.query(Array.from({ length: 100 }, (_, i) => `SAVEPOINT s${i}; INSERT INTO s VALUES (${i});`).join(' '));
    underWay = await source.back();
    await open.query('COMMIT');
    await open.end();
    await source.archiveAll(server.url);
  }, 120_000);
  afterAll(async () => {
    for (const { place } of requests) await source.engine.restore.discard(place, testContext());
    await stop?.();
  });

  async function replayed(name: string, target: RecoveryTarget = { kind: 'name', name: 'a hundred' }) {
    const catalog = { backups: source.backups, log: source.log };
    const plan = await source.engine.planRestore(target, catalog, testContext());
    const directory = path.join(root, `${name}-${version}`);
    const place = { directory, host: '127.22.0.4', port: 0, osUser: isRoot ? 'nobody' : null, overwrite: false };
    const chain = source.backups.filter(({ backupId }) => plan.chain.includes(backupId));
    const request = { restoreId: name, plan, chain, place };
    requests.push(request);
    await source.engine.restore.rebuild(request, combinedSource(source.volumes), source.log, testContext());
    return { request, restored: await source.engine.restore.replay(request, source.log, testContext()) };
  }
  const inPlace = async (directory: string, text: string) => {
    const marker = (await readMarker(directory))!;
    return withRestored(pathsOf(directory), marker, async (client) => (await client.query(text)).rows as object[]);
  };

  test('paused: the checks run on it read-only, each with its deadline, and it is opened as its notes say', async () => {
    const { request, restored } = await replayed('paused');
    const { directory } = request.place;
    expect(restored).toMatchObject({ state: 'paused', address: { host: '127.22.0.4' } });
    expect(restored.notes.join()).toContain('SELECT pg_promote()');
    expect(compareFingerprints(expected, await source.engine.fingerprint(restored, testContext()))).toEqual([]);
    const names = [...Object.keys(SOURCE_ONLY), 'max_connections'].map((name) => `'${name}'`).join();
    const settings = await inPlace(directory, `SELECT name, setting FROM pg_settings WHERE name IN (${names})`);
    expect(Object.fromEntries(settings.map((each) => Object.values(each)))).toEqual({
      archive_mode: 'off',
      archive_command: expect.stringMatching(/^(|\(disabled\))$/),
      primary_conninfo: '',
      primary_slot_name: '',
      synchronous_standby_names: '',
      max_connections: '150',
    });
    const checks = source.engine.checks!;
    expect(checks.names).toEqual(CHECKS.map(({ name }) => name));
    const results = await checks.run(restored, testContext());
    expect(results.filter(({ ok }) => ok).map(({ name }) => name)).toEqual(HOLD);
    expect(results.map(checkLine)).toEqual([
      'there are rows: 100',
      'ids are positive: true',
      'a text: seven',
      'a number of a type of its own: 12.50',
      'too few rows: expected at least 101, found 100',
      'several answers: answered 100 rows of 1 columns instead of one value',
      'nothing: answered NULL',
      'no such table: relation "missing" does not exist',
      'a write: cannot execute DELETE in a read-only transaction',
      'two statements: cannot insert multiple commands into a prepared statement',
      'too slow: no answer within 1 s',
      'the last one runs, too: 1',
    ]);
    expect(checksFailed('orders', restored, results)).toMatchObject({
      type: 'CheckFailed',
      nonRetryable: true,
      message: expect.stringMatching(
        /^7 of 12 checks of orders do not hold in the restored copy at 127\.22\.0\.4:\d+: too few rows/,
      ),
    });
    await inPlace(directory, 'SELECT pg_promote()');
    await inPlace(directory, 'INSERT INTO t VALUES (101)');
    // Opened: a check still may not write.
    const again = await checks.run(restored, testContext());
    expect(again.find(({ name }) => name === 'a write')?.ok).toBe(false);
    expect(await inPlace(directory, 'SELECT count(*)::int AS n FROM t')).toEqual([{ n: 101 }]);
  }, 120_000);

  test('shut down: it runs no more, and the command of its notes opens it at the target', async () => {
    const { request } = await replayed('shutdown');
    const { directory } = request.place;
    const paths = pathsOf(directory);
    const left = await source.engine.restore.shutDown!(request, testContext());
    expect(left.state).toBe('shutdown');
    expect(await serverOf(paths).pid()).toBeNull();
    expect(await source.engine.restore.shutDown!(request, testContext())).toEqual(left);
    const command = /: (\S+\/postgres -D \S+ -c config_file=\S+) /.exec(left.notes.join('\n'))?.[1]?.split(' ') ?? [];
    expect(command).toHaveLength(5);
    const owner = fs.statSync(paths.data);
    const [program, ...argv] = command as [string, ...string[]];
    const child = spawn(program, argv, { stdio: 'ignore', cwd: '/', uid: owner.uid, gid: owner.gid });
    try {
      await waitUntil('the copy open for writing', async () => {
        const rows = await inPlace(directory, 'SELECT pg_is_in_recovery() AS waits').catch(() => [{ waits: true }]);
        return !(rows[0] as { waits: boolean }).waits;
      });
      expect(compareFingerprints(expected, await source.engine.fingerprint(left, testContext()))).toEqual([]);
      await inPlace(directory, 'INSERT INTO t VALUES (102)');
      const segment = (await inPlace(directory, 'SELECT pg_walfile_name(pg_current_wal_lsn()) AS name'))[0];
      expect(segment).toMatchObject({ name: expect.stringMatching(/^00000002/) });
    } finally {
      child.kill('SIGINT');
      await new Promise((resolve) => child.once('exit', resolve));
    }
  }, 120_000);

  test('a target at which PostgreSQL cannot pause: it opened by itself, and is not called paused', async () => {
    const { request, restored } = await replayed('overflowed', { kind: 'backup', backupId: underWay.backupId });
    expect(restored).toMatchObject({ state: 'open', notes: [expect.stringContaining('more than 64 subtransactions')] });
    const look =
      'SELECT pg_is_in_recovery() AS waits, (SELECT count(*)::int FROM t) AS t, (SELECT count(*)::int FROM s) AS s';
    expect(await inPlace(request.place.directory, look)).toEqual([{ waits: false, t: 0, s: 0 }]);
    for (const leave of ['paused', 'shutdown'] as const)
      expect(() => requireStopped('orders', leave, restored)).toThrow(/opened by itself at its target/);
    await expect(source.engine.restore.shutDown!(request, testContext())).rejects.toMatchObject({
      type: 'RoleMismatch',
    });
    expect(await source.engine.restore.open(request, testContext())).toMatchObject({ state: 'open' });
  }, 120_000);
});
