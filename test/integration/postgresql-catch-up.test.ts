import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { borrowConninfo } from '../../adapters/engines/postgresql/primary-conninfo';
import type { CaughtUp } from '../../core/catch-up';
import type { Engine } from '../../core/engine';
import type { FenceEvidence } from '../../core/fencing';
import type { LogArchive, LogEntry } from '../../core/log-archive';
import { Secret } from '../../core/secret';
import { inPostgres } from '../../lab/servers/postgresql-client';
import { serverFile, serverFolder } from '../../lab/servers/process';
import { selfSigned } from '../support/certificate';
import { engineOf, testContext } from '../support/engine-harness';
import { Link } from '../support/link';
import { ask, PostgresSource } from '../support/postgresql-source';
import { startPostgresStandby } from '../support/postgresql-standby';
import { postgresVersions, postgresVersionsInDepth, startPostgres, waitUntil } from '../support/servers';

type Postgres = Awaited<ReturnType<typeof startPostgres>>;

/** As docs/postgresql.md has it for this step and for a promotion. */
const ACCOUNT = `
  CREATE ROLE drctl LOGIN PASSWORD 'of-the-docs';
  GRANT pg_read_all_data, pg_monitor TO drctl;
  CREATE SCHEMA drctl AUTHORIZATION drctl;
  GRANT EXECUTE ON FUNCTION pg_promote, pg_reload_conf, pg_wal_replay_pause, pg_wal_replay_resume TO drctl;
  GRANT SET, ALTER SYSTEM ON PARAMETER default_transaction_read_only, synchronous_standby_names, primary_conninfo TO drctl`;

/** Two standbys whose links are cut while the archive still gets everything, and then the primary is lost. */
describe.each(postgresVersionsInDepth)('PostgreSQL $version: what only the archive has', ({ programs }) => {
  let primary: Postgres;
  let dr: Postgres;
  let late: Postgres;
  let links: Link[] = [];
  let source: PostgresSource;
  let engine: Engine;
  const roles = () => engine.replication!;

  beforeAll(async () => {
    primary = await startPostgres({ programs, segmentMebibytes: 1 });
    await ask(primary.url, ACCOUNT);
    await ask(primary.url, 'CREATE TABLE entries (row int, filler text)');
    links = [await Link.to(primary), await Link.to(primary)];
    const behind = (link: Link) => startPostgresStandby({ ...primary, ...link.address }, {}, programs);
    [dr, late] = await Promise.all([behind(links[0] as Link), behind(links[1] as Link)]);
    source = await PostgresSource.of({ primary, dr });
    const site = ({ host, port }: Postgres) => ({ host, port, user: 'drctl', password: new Secret('of-the-docs') });
    const sites = { primary: site(primary), dr: site(dr), late: site(late) };
    engine = await engineOf('postgresql', 'orders', { sites });
    await roles().writeProbe('primary', 'makes its tables', testContext());
    await source.archiveAll(primary.url); // the log begins, and with it a new base is wanted
    await source.archiveAll(primary.url);
  }, 60_000);
  afterAll(async () => {
    for (const link of links) link.close();
    await Promise.all([late?.stop(), dr?.stop(), primary?.stop()]);
  }, 60_000);

  const write = (server: Postgres, from: number, to: number) =>
    ask(server.url, `INSERT INTO entries SELECT n, repeat(md5(n::text), 40) FROM generate_series($1::int, $2) n`, [
      from,
      to,
    ]);
  const rowsOf = async (server: Postgres) =>
    (await ask(server.url, 'SELECT row FROM entries ORDER BY row')).map(({ row }) => row as number);
  const upTo = (count: number) => Array.from({ length: count }, (_, index) => index + 1);
  const conninfoOf = async (server: Postgres) =>
    (await ask(server.url, `SELECT current_setting('primary_conninfo') AS value`))[0]!['value'];
  const catchUp = (
    site: string,
    withinSeconds = 30,
    log: LogArchive = source.log,
    context = testContext(),
  ): Promise<CaughtUp> => roles().catchUp!({ site, epoch: 1, withinSeconds }, log, context);
  const proven: FenceEvidence = {
    ...{ strength: 'proven', site: 'primary', stores: ['orders'], epoch: 1, at: new Date().toISOString() },
    ...{ how: 'killed', by: 'the test' },
  };

  test('nothing is missing while the standby follows', async () => {
    await write(primary, 1, 10);
    await source.archiveAll(primary.url);
    await waitUntil('the standby having the rows', async () => (await rowsOf(dr)).length === 10);
    expect(await catchUp('dr')).toMatchObject({ fed: false, how: expect.stringMatching(/has all that is archived/) });
    expect(await catchUp('primary')).toMatchObject({ fed: false, how: 'it is a primary already' });
  }, 30_000);

  test('a try that cannot read, that is cancelled or that died leaves the standby following its primary', async () => {
    for (const link of links) link.cut();
    await write(primary, 11, 3_000);
    await source.archiveAll(primary.url);
    await primary.server.kill('SIGKILL');
    const before = await conninfoOf(dr);

    const hangs = Object.assign(Object.create(source.log) as LogArchive, {
      open: () => new Promise<never>(() => undefined),
    });
    await expect(catchUp('dr', 1, hangs)).rejects.toMatchObject({ type: 'CatchUpIncomplete' });
    expect(await conninfoOf(dr)).toBe(before);

    const cancelled = new AbortController();
    const context = {
      ...testContext(cancelled.signal),
      progress: ({ phase }: { phase: string }) => {
        if (phase === 'replaying the archived log') cancelled.abort(new DOMException('seen enough', 'AbortError'));
      },
    };
    const [lineage] = await source.log.lineages();
    const newest = (await source.log.entries(lineage as string)).at(-1)!.name.slice(0, 24);
    // Only the end of it can be read, which is looked at first.
    const stuck = Object.assign(Object.create(source.log) as LogArchive, {
      open: async (entry: LogEntry) =>
        entry.name.startsWith(newest) ? source.log.open(entry) : new Promise<never>(() => undefined),
    });
    await expect(catchUp('dr', 30, stuck, context)).rejects.toThrow(/seen enough|aborted/);
    expect(await conninfoOf(dr)).toBe(before);

    await inPostgres({ ...engineLogin(dr) }, (client) => borrowConninfo(client, 'host=127.0.0.1 port=1'));
    expect(await conninfoOf(dr)).not.toBe(before);
    expect(await roles().leaveArchive!('dr', testContext())).toBe(true);
    expect(await roles().leaveArchive!('dr', testContext())).toBe(false);
    expect(await conninfoOf(dr)).toBe(before);
    expect(await rowsOf(late)).toEqual(upTo(10));
  }, 60_000);

  test('the commits are there after the promotion, and the setting is as it was', async () => {
    const before = await conninfoOf(dr);
    await ask(dr.url, 'SELECT pg_wal_replay_pause()'); // by somebody who forgot it
    const caughtUp = await catchUp('dr');
    expect(caughtUp).toMatchObject({
      fed: true,
      server: `${dr.host}:${dr.port}`,
      how: expect.stringMatching(/out of the archived log, all that it has$/),
    });
    expect(await rowsOf(dr)).toEqual(upTo(3_000));
    expect(await conninfoOf(dr)).toBe(before);
    expect(await catchUp('dr')).toMatchObject({ fed: false });
    await roles().promote({ site: 'dr', epoch: 1, evidence: [proven] }, testContext());
    expect(await rowsOf(dr)).toEqual(upTo(3_000));
  }, 60_000);

  test('from an older timeline it goes on into the newest that is archived', async () => {
    await source.archiveAll(dr.url, 'dr');
    await write(dr, 3_001, 5_000);
    await source.archiveAll(dr.url, 'dr');
    await dr.server.kill('SIGKILL');
    const caughtUp = await catchUp('late');
    expect(caughtUp.before.lineage).toMatch(/\/1$/);
    expect(caughtUp.reached.lineage).toMatch(/\/2$/);
    expect(await rowsOf(late)).toEqual(upTo(5_000));
    await roles().promote({ site: 'late', epoch: 2, evidence: [{ ...proven, epoch: 2 }] }, testContext());
    expect((await ask(late.url, `SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 8, 1) AS timeline`))[0]).toEqual({
      timeline: '3',
    });
    await write(late, 5_001, 5_001);
    expect(await rowsOf(late)).toEqual(upTo(5_001));
  }, 60_000);

  const engineLogin = ({ host, port }: Postgres) => ({
    ...{ host, port, user: 'drctl', password: 'of-the-docs', database: 'postgres' },
  });
});

// The lab's own PostgreSQL is built without TLS; Debian's is not.
const withTls = postgresVersions.find(({ programs }) => programs !== undefined);

(withTls ? describe : describe.skip)('where the connections of a store are encrypted', () => {
  const programs = withTls?.programs;
  let folder: string;
  let primary: Postgres;
  let dr: Postgres;
  let link: Link;
  const certFile = () => path.join(folder, 'cert.pem');
  const keyFile = () => path.join(folder, 'key.pem');

  beforeAll(async () => {
    folder = serverFolder(fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-pg-tls-')));
    const { key, cert } = selfSigned('postgresql.test');
    serverFile(keyFile(), key);
    serverFile(certFile(), cert);
    const settings = { ssl: 'on', ssl_cert_file: certFile(), ssl_key_file: keyFile() };
    primary = await startPostgres({ settings, programs, segmentMebibytes: 1 });
    link = await Link.to(primary);
    dr = await startPostgresStandby({ ...primary, ...link.address }, settings, programs);
  }, 60_000);
  afterAll(async () => {
    link?.close();
    await Promise.all([dr?.stop(), primary?.stop()]);
    fs.rmSync(folder, { recursive: true, force: true });
  }, 60_000);

  test('the archived log is sent encrypted, and not at all without a certificate', async () => {
    const site = ({ host, port, password }: Postgres) => ({
      ...{ host, port, password: new Secret(password), tls: { rejectUnauthorized: false } },
    });
    const engineWith = (catchUp?: object) =>
      engineOf('postgresql', 'orders', {
        sites: { primary: site(primary), dr: { ...site(dr), ...(catchUp ? { catchUp } : {}) } },
      });
    const engine = await engineWith({ certFile: certFile(), keyFile: keyFile() });
    const source = await PostgresSource.of({ primary });
    await engine.replication!.writeProbe('primary', 'makes its tables', testContext());
    await ask(primary.url, 'CREATE TABLE entries (row int)');
    await source.archiveAll(primary.url); // the log begins, and with it a new base is wanted
    await waitUntil(
      'the table at the standby',
      async () => (await ask(dr.url, 'SELECT row FROM entries')).length === 0,
    );
    link.cut();
    await ask(primary.url, 'INSERT INTO entries SELECT generate_series(1, 50000)');
    await source.archiveAll(primary.url);
    await primary.server.kill('SIGKILL');

    const request = { site: 'dr', epoch: 1, withinSeconds: 30 };
    const bare = await engineWith();
    await expect(bare.replication!.catchUp!(request, source.log, testContext())).rejects.toMatchObject({
      type: 'CatchUpIncomplete',
      message: expect.stringMatching(/there is no certificate to offer its log with/) as string,
    });
    const ways = new Set<string>();
    const seen = Object.assign(Object.create(source.log) as LogArchive, {
      open: async (entry: LogEntry) => {
        const [row] = await ask(dr.url, `SELECT current_setting('primary_conninfo') AS way`);
        ways.add(/sslmode=\w+/.exec(row!['way'] as string)?.[0] ?? 'its own');
        return source.log.open(entry);
      },
    });
    expect(await engine.replication!.catchUp!(request, seen, testContext())).toMatchObject({ fed: true });
    expect([...ways]).toContain('sslmode=require');
    expect(await ask(dr.url, 'SELECT count(*)::int AS rows, sum(row)::int AS sum FROM entries')).toEqual([
      { rows: 50_000, sum: 1_250_025_000 },
    ]);
  }, 60_000);
});
