import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { Writable } from 'node:stream';
import { floorToSegment, parseLsn } from '../../adapters/engines/postgresql/lsn';
import type { Manifest } from '../../core/catalog';
import { backupIdOf } from '../../core/layout';
import { compareFingerprints } from '../../core/recovery';
import type { VolumeSink } from '../../core/volumes';
import { runToEnd } from '../../lab/servers/process';
import { MemoryVolumes, testContext } from '../support/engine-harness';
import { ask, PostgresSource } from '../support/postgresql-source';
import { startPostgresStandby } from '../support/postgresql-standby';
import { postgresTool, postgresVersions, startPostgres, waitUntil } from '../support/servers';

type Postgres = Awaited<ReturnType<typeof startPostgres>>;

const planOf = (source: PostgresSource, type: 'full' | 'incr', existing: readonly Manifest[] = source.backups) => {
  const backupId = backupIdOf(new Date().toISOString(), type, '0000000a');
  return source.engine.planDump({ backupId, type, site: 'primary', existing }, testContext());
};

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-pg-source-'));
fs.chmodSync(root, 0o755);
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));

describe.each(postgresVersions)('PostgreSQL $version: backups from a standby', ({ version, programs }) => {
  let primary: Postgres;
  let standby: Postgres;
  let source: PostgresSource;

  beforeAll(async () => {
    primary = await startPostgres({ programs });
    standby = await startPostgresStandby(primary, {}, programs);
    const toolsDirectory = path.dirname(postgresTool('postgres', programs));
    source = await PostgresSource.of({ primary, dr: standby }, { backupFrom: 'standby', toolsDirectory });
    await ask(primary.url, 'CREATE TABLE t AS SELECT g AS id, md5(g::text) AS body FROM generate_series(1, 20000) g');
    await source.archive(1_500);
  }, 90_000);
  afterAll(async () => void (await Promise.all([standby?.stop(), primary?.stop()])), 60_000);

  test('it is read there, holds what the primary had, and lies within the log that is archived from the primary', async () => {
    await ask(primary.url, 'INSERT INTO t SELECT g, $1 FROM generate_series(1, 500) g', ['new']);
    const before = (
      await ask(primary.url, 'SELECT pg_current_wal_flush_lsn()::text AS lsn, clock_timestamp() AS now')
    )[0]!;
    const manifest = await source.back();
    expect(manifest.source).toEqual({ site: 'dr', member: `${standby.host}:${standby.port}`, follows: 'primary' });
    expect(manifest.typeReason).toBeNull();
    expect(parseLsn(manifest.start!.value)).toBeGreaterThanOrEqual(parseLsn(before['lsn'] as string));
    expect(Date.parse(manifest.consistentAt)).toBeGreaterThanOrEqual((before['now'] as Date).getTime());
    const target = { kind: 'backup', backupId: manifest.backupId } as const;
    const catalog = { backups: source.backups, log: source.log };
    // The server does not wait for the log at a standby: the plan exists only once the archive reaches the end.
    await source.archive(2_000);
    const plan = await source.engine.planRestore(target, catalog, testContext());
    expect(plan.chain).toEqual([manifest.backupId]);
  }, 60_000);

  test('it is restored though it begins in the middle of a segment that is archived in slices', async () => {
    await ask(primary.url, 'DELETE FROM t WHERE id % 7 = 0');
    await ask(primary.url, "SELECT pg_create_restore_point('one in seven gone')");
    await source.archiveAll(primary.url);
    const expected = await source.engine.fingerprint({ site: 'primary' }, testContext());
    const { backupId, start, detail, lineage } = source.backups.at(-1)!;
    const at = parseLsn(start!.value);
    const floor = floorToSegment(at, BigInt(Number(detail['segmentBytes'])));
    const before = (await source.log.entries(lineage!)).filter(
      ({ kind, from, to }) => kind === 'slice' && parseLsn(from.value) >= floor && parseLsn(to.value) <= at,
    );
    expect(before.length).toBeGreaterThan(0); // else the segment is whole, or begins with the backup
    const directory = path.join(root, `${version}`);
    const { request, restored } = await source.restore({ kind: 'name', name: 'one in seven gone' }, directory);
    expect(request.plan.chain).toEqual([backupId]);
    expect(compareFingerprints(expected, await source.engine.fingerprint(restored, testContext()))).toEqual([]);
    await source.engine.restore.discard(request.place, testContext());
  }, 60_000);

  if (version >= 17) {
    test('an incremental is read there too, though hardly anything happened since its parent', async () => {
      const manifest = await source.back('incr');
      expect(manifest).toMatchObject({ type: 'incr', typeReason: null, source: { site: 'dr' } });
    }, 60_000);
  } else {
    test('an incremental is a full, and says why', async () => {
      expect(await planOf(source, 'incr')).toMatchObject({
        type: 'full',
        backupId: expect.stringContaining('-full-'),
        typeReason: `incremental asked, full taken: PostgreSQL ${version} has no incremental backups (17 has)`,
      });
    }, 60_000);
  }

  test('a standby that does not replay is not read: refused where one is demanded, said where the primary stands in', async () => {
    await ask(standby.url, 'SELECT pg_wal_replay_pause()');
    await ask(primary.url, 'INSERT INTO t SELECT g, $1 FROM generate_series(1, 500) g', ['unseen']);
    await expect(planOf(source, 'full')).rejects.toMatchObject({
      type: 'TargetUnreachable',
      message: expect.stringMatching(/no standby of .* somebody paused it/),
    });
    const lenient = await PostgresSource.of({ primary, dr: standby }, { backupFrom: 'prefer-standby' });
    expect(await planOf(lenient, 'full')).toMatchObject({
      source: { site: 'primary', member: `${primary.host}:${primary.port}` },
      typeReason: expect.stringMatching(/^read from the primary, not from a standby: .* somebody paused it/),
    });
    await ask(standby.url, 'SELECT pg_wal_replay_resume()');
    const alone = await PostgresSource.of({ primary }, { backupFrom: 'standby' });
    await expect(planOf(alone, 'full')).rejects.toMatchObject({ type: 'ConfigInvalid' });
  }, 60_000);

  test('a standby of the same site is found by its address, and preferred to another site', async () => {
    const here = { host: primary.host, port: primary.port, password: primary.password };
    const near = await PostgresSource.of({ primary: here }, { backupFrom: 'standby' });
    const sites = { primary: { ...here, standbys: [{ host: standby.host, port: standby.port }] } };
    const withStandby = await PostgresSource.of(sites, { backupFrom: 'standby' });
    expect((await planOf(withStandby, 'full')).source).toMatchObject({ site: 'primary', follows: 'primary' });
    await expect(planOf(near, 'full')).rejects.toMatchObject({ type: 'ConfigInvalid' });
  }, 30_000);

  test('a standby that is promoted while it is read fails the backup, and says so', async () => {
    const plan = await planOf(source, 'full');
    const volumes = new MemoryVolumes(2 ** 20);
    let promoted: Promise<unknown> | null = null;
    // The first volume is held until the promotion is through, so that the copy is in its middle.
    const sink: VolumeSink = {
      targetVolumeBytes: volumes.targetVolumeBytes,
      early: (name: string, bytes: Uint8Array) => volumes.early(name, bytes),
      volume(name) {
        const inner = volumes.volume(name);
        return new Writable({
          write(chunk, _, done) {
            promoted ??= ask(standby.url, 'SELECT pg_promote(true, 30)');
            void promoted.finally(() => inner.write(chunk, () => done()));
          },
          final: (done) => void inner.end(() => done()),
        });
      },
    };
    const failed = await source.engine.dump(plan, null, sink, testContext()).then(
      () => null,
      (error: unknown) => error,
    );
    expect(failed).toMatchObject({
      type: 'BackupIncomplete',
      message: expect.stringMatching(/was promoted while .* was read from it/),
    });
    // The step is tried again with the same plan: what was a standby is none any more, for good.
    await expect(source.engine.dump(plan, null, new MemoryVolumes(), testContext())).rejects.toMatchObject({
      type: 'RoleMismatch',
    });
    await expect(planOf(source, 'full')).rejects.toMatchObject({ message: expect.stringMatching(/is not a standby/) });
  }, 60_000);
});

describe('an incremental that cannot be continues the chain by a full, and says why', () => {
  let server: Postgres;
  let source: PostgresSource;
  const reasonOf = async (existing: readonly Manifest[] = source.backups, of = source) => {
    const plan = await planOf(of, 'incr', existing);
    expect(plan).toMatchObject({ type: 'full', parent: null, backupId: expect.stringContaining('-full-') });
    return plan.typeReason;
  };

  beforeAll(async () => {
    server = await startPostgres();
    await ask(server.url, 'CREATE TABLE t AS SELECT g AS id, md5(g::text) AS body FROM generate_series(1, 2000) g');
    source = await PostgresSource.of({ primary: server }, { maximumIncrements: 2 });
  }, 60_000);
  afterAll(() => server?.stop(), 60_000);

  test('nothing to build on; a parent that is missing; another cluster; another timeline; another checksum mode', async () => {
    expect(await reasonOf()).toBe('incremental asked, full taken: there is no backup to build on');
    const full = await source.back();
    expect(await planOf(source, 'incr')).toMatchObject({ type: 'incr', parent: full.backupId, typeReason: null });
    const orphan = { ...full, backupId: '20260101T000000Z-incr-00000001', type: 'incr', parent: 'gone' } as Manifest;
    expect(await reasonOf([full, orphan])).toMatch(/00000001 builds on a backup that is missing or cannot be read/);
    expect(await reasonOf([{ ...full, identity: '42' }])).toMatch(/is of another cluster/);
    expect(await reasonOf([{ ...full, lineage: full.lineage!.replace(/\d+$/, '7') }])).toMatch(
      /the timeline has changed since/,
    );
    expect(await reasonOf([{ ...full, detail: { ...full.detail, dataChecksums: 'off' } }])).toMatch(
      /data checksums were turned on since/,
    );
    expect(await reasonOf([{ ...full, detail: {} }])).toMatch(/does not say whether its pages have checksums/);
    expect(await reasonOf([{ ...full, early: [] }])).toMatch(/has no backup_manifest/);
  }, 60_000);

  test('a chain as long as the config allows', async () => {
    await source.back('incr');
    await source.back('incr');
    expect(source.backups.map(({ type }) => type)).toEqual(['full', 'incr', 'incr']);
    expect(await reasonOf()).toMatch(/has 2 increments \(maximumIncrements is 2\)/);
    await source.back('incr');
    expect(source.backups.at(-1)).toMatchObject({
      type: 'full',
      typeReason: expect.stringMatching(/maximumIncrements/),
    });
  }, 60_000);

  test('WAL summaries that are gone, also out of the middle', async () => {
    for (let round = 0; round < 4; round += 1) {
      await ask(server.url, 'INSERT INTO t SELECT g FROM generate_series(1, 2000) g');
      await ask(server.url, 'CHECKPOINT');
    }
    const summaries = path.join(server.dataDir, 'pg_wal', 'summaries');
    await waitUntil('several summaries', async () => fs.readdirSync(summaries).length >= 5);
    expect((await planOf(source, 'incr')).type).toBe('incr');
    const since = parseLsn(source.backups.at(-1)!.start!.value);
    const after = fs
      .readdirSync(summaries)
      .toSorted()
      .filter((name) => BigInt(`0x${name.slice(8, 24)}`) > since);
    fs.rmSync(path.join(summaries, after[1]!));
    expect(await reasonOf()).toMatch(/WAL summaries from \S+ to \S+ are gone, and \S+-full-\S+ needs them/);
    await source.back('incr');
    expect(source.backups.at(-1)!.type).toBe('full');
  }, 60_000);

  test('summarize_wal turned off', async () => {
    const other = await startPostgres({ settings: { summarize_wal: 'off' } });
    const of = await PostgresSource.of({ primary: other });
    expect(await reasonOf(source.backups, of)).toMatch(/summarize_wal is off: ALTER SYSTEM SET summarize_wal = on/);
    expect((await of.engine.probe('primary', testContext())).problems.join()).toMatch(/summarize_wal is off/);
    await other.stop();
  }, 60_000);

  test('checksums that were really turned off', async () => {
    await source.back();
    await server.server.stop();
    const argv = [postgresTool('pg_checksums'), '--disable', '-D', server.dataDir];
    await runToEnd({ argv, cwd: path.dirname(server.dataDir), unprivileged: true });
    await server.server.start();
    expect(await reasonOf()).toMatch(/data checksums were turned off since/);
  }, 60_000);
});
