import * as fs from 'node:fs';
import * as path from 'node:path';
import { freeLoopbackHost } from '../../lab/servers/loopback';
import { postgresCommand, postgresReady, postgresTool } from '../../lab/servers/postgresql';
import { inPostgres } from '../../lab/servers/postgresql-client';
import { giveToServers, runToEnd, serverFolder } from '../../lab/servers/process';
import { RunningServer } from '../../lab/servers/running-server';
import { fixture } from './fixture';
import type { Rig } from '../rig';
import type { PostgresVersion } from './versions';

/** A running copy of a fixture. */
export interface Cluster {
  readonly name: string;
  readonly version: PostgresVersion;
  readonly megabytes: number;
  readonly dataDir: string;
  readonly host: string;
  readonly port: number;
  readonly password: string;
  /** Peers that read the data directory come by it. */
  readonly socketFolder: string;
  /** What libpq's programs need to log in. */
  readonly environment: Readonly<Record<string, string>>;
  program(name: string): string;
  query<T extends object>(sql: string, values?: readonly unknown[]): Promise<T[]>;
  /** Hands each complete segment to this shell command from now on (`%p` is "$1", `%f` is "$2"); null: to nobody. */
  archiveBy(command: string | null): void;
  /** Updates this share of the rows of every table, evenly spread, others each time. */
  changeRows(share: number): Promise<void>;
  /** A digest of what `changeRows` changes, to compare a restored copy with. */
  digest(): Promise<string>;
}

const PORT = 5432;
const COPY_MILLISECONDS = 900_000;

/** Room for a benchmark's load without a checkpoint by time or by size in the middle of it; durability is as it ships. */
const SETTINGS = {
  shared_buffers: '256MB',
  max_wal_size: '4GB',
  checkpoint_timeout: '30min',
  archive_mode: 'on',
};

export async function startCluster(rig: Rig, version: PostgresVersion, megabytes: number): Promise<Cluster> {
  const made = await fixture(version, megabytes, rig.say);
  const name = `pg${version.major}-${megabytes}mb`;
  rig.say(`copying and starting ${name}`);
  const folder = serverFolder(path.join(rig.folder, name));
  const dataDir = path.join(folder, 'cluster');
  await runToEnd(
    { argv: ['cp', '-a', '--reflink=auto', made.dataDir, dataDir], cwd: '/' },
    { deadlineMs: COPY_MILLISECONDS },
  );
  await runToEnd({ argv: ['sync', '-f', dataDir], cwd: '/' }, { deadlineMs: COPY_MILLISECONDS });
  const at = { host: await freeLoopbackHost(PORT), port: PORT };
  // pgBackRest refuses an archive_command that does not name it.
  const script = path.join(folder, 'pgbackrest-or-another');
  const settings = {
    ...SETTINGS,
    unix_socket_directories: folder,
    archive_command: `${script} %p %f`,
    cluster_name: name,
  };
  const archiveBy = (command: string | null) => {
    fs.writeFileSync(`${script}.new`, `#!/bin/sh\n${command ?? 'exit 0'}\n`, { mode: 0o755 });
    fs.renameSync(`${script}.new`, script);
  };
  archiveBy(null);
  await giveToServers(script);
  const server = new RunningServer({
    name,
    command: postgresCommand({ dataDir, ...at, settings, programs: version.programs }),
    logFile: path.join(folder, 'server.log'),
    ready: () => postgresReady(at, 120_000),
    stopSignal: 'SIGINT',
  });
  rig.defer(() => server.kill());
  await server.start();
  const login = { ...at, user: 'postgres', password: made.password, database: 'postgres' };
  const query = async <T extends object>(sql: string, values: readonly unknown[] = []): Promise<T[]> =>
    inPostgres(login, async (client) => (await client.query(sql, [...values])).rows as T[]);
  let changes = 0;
  return {
    name,
    version,
    megabytes,
    dataDir,
    ...at,
    password: made.password,
    socketFolder: folder,
    environment: { PGHOST: at.host, PGPORT: `${PORT}`, PGUSER: 'postgres', PGPASSWORD: made.password },
    program: (tool) => postgresTool(tool, version.programs),
    query,
    archiveBy,
    async changeRows(share) {
      const [every, turn] = [Math.round(1 / share), (changes += 1)];
      await query('UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid % $1 = $2', [every, turn]);
      await query(
        'UPDATE bulk_rows SET digits = reverse(digits), words = words || $3::text WHERE id % $1::int = $2::int',
        [every, turn, turn],
      );
    },
    digest: () => digestOf(login),
  };
}

export interface Login {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
}

/** Everything that a measurement changes, in one short text. */
export async function digestOf(login: Login): Promise<string> {
  return inPostgres(login, async (client) => {
    const { rows } = await client.query(
      `SELECT (SELECT count(*) || '/' || sum(abalance::bigint * (aid % 9973)) FROM pgbench_accounts) || '/' ||
              (SELECT count(*) || '/' || sum(hashtextextended(digits || words, 0) % 1000000007) FROM bulk_rows) AS digest`,
    );
    return (rows[0] as { digest: string }).digest;
  });
}
