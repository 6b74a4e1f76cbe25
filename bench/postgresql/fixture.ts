import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { cacheFolder } from '../../lab/runtime/servers';
import { freeLoopbackHost } from '../../lab/servers/loopback';
import { initPostgres, postgresCommand, postgresReady, postgresTool } from '../../lab/servers/postgresql';
import { inPostgres } from '../../lab/servers/postgresql-client';
import { runToEnd } from '../../lab/servers/process';
import { RunningServer } from '../../lab/servers/running-server';
import type { PostgresVersion } from './versions';

/** A stopped cluster to copy from; nobody starts it. */
export interface Fixture {
  readonly dataDir: string;
  /** Of its superuser `postgres`. */
  readonly password: string;
}

const PORT = 5432;
/** What scale 1 of pgbench weighs with its index. */
const SCALE_BYTES = 14.9e6;
/** What a row of `bulk_rows` weighs, its index and the page's own bytes included. */
const BULK_ROW_BYTES = 1_365;
/** Half of a cluster is many small rows (pgbench), half is rows of a kilobyte. */
const PGBENCH_SHARE = 0.51;
const BUILD_MILLISECONDS = 1_800_000;

/** It is thrown away when it fails, so nothing has to survive a crash while it is made; its log is not kept either. */
const BUILD_SETTINGS = {
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
  wal_level: 'minimal',
  max_wal_senders: '0',
  autovacuum: 'off',
  shared_buffers: '512MB',
  maintenance_work_mem: '256MB',
  max_wal_size: '256MB',
  min_wal_size: '80MB',
};

/**
 * The cluster of about this size, made once on a machine and kept in the cache: the same rows every time, half of them
 * pgbench's, half of a kilobyte that compresses to about a third, as business data does.
 */
export async function fixture(
  version: PostgresVersion,
  megabytes: number,
  say: (line: string) => void,
): Promise<Fixture> {
  const folder = path.join(cacheFolder(), 'fixtures', `postgresql-${version.major}-${megabytes}mb`);
  const passwordFile = path.join(folder, 'password');
  if (!fs.existsSync(passwordFile)) {
    say(`making the cluster of ${megabytes} MB on PostgreSQL ${version.number}, once, in ${folder}`);
    await make(version, megabytes, folder);
  }
  return { dataDir: path.join(folder, 'cluster'), password: fs.readFileSync(passwordFile, 'utf8') };
}

async function make(version: PostgresVersion, megabytes: number, folder: string): Promise<void> {
  fs.mkdirSync(path.dirname(folder), { recursive: true });
  fs.rmSync(folder, { recursive: true, force: true });
  const scratch = `${folder}.${process.pid}`; // renamed when complete: a folder with the name is a whole cluster
  const dataDir = path.join(scratch, 'cluster');
  const password = randomBytes(12).toString('hex');
  const { programs } = version;
  const at = { host: await freeLoopbackHost(PORT), port: PORT };
  try {
    await initPostgres({ dataDir, password, programs });
    const server = new RunningServer({
      name: `PostgreSQL ${version.major} of the fixture`,
      command: postgresCommand({ dataDir, ...at, programs, settings: settingsFor(version) }),
      logFile: path.join(scratch, 'server.log'),
      ready: () => postgresReady(at),
      stopSignal: 'SIGINT',
    });
    try {
      await server.start();
      await fill({ ...at, password }, programs, megabytes * 1e6);
    } finally {
      await server.stop();
    }
    fs.writeFileSync(path.join(scratch, 'password'), password, { mode: 0o600 });
    await runToEnd({ argv: ['sync'], cwd: '/' }, { deadlineMs: BUILD_MILLISECONDS });
    fs.renameSync(scratch, folder);
  } finally {
    fs.rmSync(scratch, { recursive: true, force: true });
  }
}

/** Log summaries need a log that is worth something, which this one is not. */
function settingsFor({ major }: PostgresVersion): Record<string, string> {
  return major >= 17 ? { ...BUILD_SETTINGS, summarize_wal: 'off' } : BUILD_SETTINGS;
}

async function fill(
  login: { host: string; port: number; password: string },
  programs: string,
  sizeBytes: number,
): Promise<void> {
  const scale = Math.max(1, Math.round((sizeBytes * PGBENCH_SHARE) / SCALE_BYTES));
  const rows = Math.max(1_000, Math.round((sizeBytes * (1 - PGBENCH_SHARE)) / BULK_ROW_BYTES));
  await runToEnd(
    {
      argv: [postgresTool('pgbench', programs), '-i', '-q', '-s', `${scale}`, 'postgres'],
      env: { PGHOST: login.host, PGPORT: `${login.port}`, PGUSER: 'postgres', PGPASSWORD: login.password },
      cwd: '/',
    },
    { deadlineMs: BUILD_MILLISECONDS },
  );
  await inPostgres({ ...login, user: 'postgres', database: 'postgres' }, async (client) => {
    await client.query('CREATE TABLE bulk_rows (id bigint PRIMARY KEY, digits text NOT NULL, words text NOT NULL)');
    // Compression inside the server would make the files smaller than asked.
    await client.query('ALTER TABLE bulk_rows ALTER digits SET STORAGE EXTERNAL, ALTER words SET STORAGE EXTERNAL');
    await client.query(
      `INSERT INTO bulk_rows
       SELECT id, (SELECT string_agg(md5(id || ':' || part), '' ORDER BY part) FROM generate_series(1, 16) AS part),
              repeat('ultramarket order ' || id % 100 || ' ', 24)
       FROM generate_series(1, $1::bigint) AS id`,
      [rows],
    );
    await client.query('VACUUM FREEZE ANALYZE bulk_rows');
    await client.query('CHECKPOINT');
  });
}
