import * as fs from 'node:fs';
import * as path from 'node:path';
import { serverBinaries } from '../runtime/servers';
import { inPostgres } from './postgresql-client';
import { runToEnd, serverFile, serverFolder, type ServerCommand, waitUntil } from './process';

export interface PostgresAddress {
  readonly host: string;
  readonly port: number;
}

/** Small enough for many clusters on one machine; durability is left as it ships. */
const SETTINGS = {
  unix_socket_directories: '', // everything goes by TCP, and two labs' sockets cannot meet
  shared_buffers: '64MB',
  max_connections: '100',
  wal_level: 'replica',
  summarize_wal: 'on',
  wal_log_hints: 'on',
  max_wal_senders: '16',
  max_replication_slots: '16',
  hot_standby: 'on',
  password_encryption: 'scram-sha-256',
  log_line_prefix: '%m [%p] ',
};

/** Creates a cluster with page checksums and scram passwords; does nothing where one exists. */
export async function initPostgres({
  dataDir,
  password,
  programs,
  segmentMebibytes = 16,
}: {
  dataDir: string;
  password: string;
  /** The folder of another PostgreSQL's programs. */
  programs?: string;
  segmentMebibytes?: number;
}): Promise<void> {
  if (fs.existsSync(path.join(dataDir, 'PG_VERSION'))) return;
  const parent = path.dirname(dataDir);
  serverFolder(parent);
  const scratch = `${dataDir}.init`; // renamed when complete, so that an interrupted initdb is never taken for a cluster
  fs.rmSync(scratch, { recursive: true, force: true });
  const passwordFile = serverFile(`${dataDir}.password`, password);
  try {
    const argv = [
      postgresTool('initdb', programs),
      '--pgdata',
      scratch,
      '--username',
      'postgres',
      '--pwfile',
      passwordFile,
    ];
    const how = [
      '--auth',
      'scram-sha-256',
      '--data-checksums',
      '--encoding',
      'UTF8',
      '--locale',
      'C.UTF-8',
      '--no-instructions',
      `--wal-segsize=${segmentMebibytes}`,
    ];
    await runToEnd({ argv: [...argv, ...how], cwd: parent, unprivileged: true });
  } finally {
    fs.rmSync(passwordFile, { force: true });
  }
  fs.appendFileSync(
    path.join(scratch, 'pg_hba.conf'),
    'host replication all 127.0.0.0/8 scram-sha-256\nhost all all 127.0.0.0/8 scram-sha-256\n',
  );
  fs.renameSync(scratch, dataDir);
}

/** The argv of a cluster; settings given here win over the cluster's own files. */
export function postgresCommand({
  dataDir,
  host,
  port,
  settings = {},
  programs,
}: PostgresAddress & {
  dataDir: string;
  settings?: Readonly<Record<string, string>>;
  /** The folder of another PostgreSQL's programs, which must be of the cluster's version. */
  programs?: string;
}): ServerCommand {
  const { summarize_wal: summarize, ...everywhere } = SETTINGS;
  const known = majorVersion(dataDir) >= 17 ? { ...everywhere, summarize_wal: summarize } : everywhere;
  const all = { ...known, listen_addresses: host, port: `${port}`, ...settings };
  const options = Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  return { argv: [postgresTool('postgres', programs), '-D', dataDir, ...options], cwd: dataDir, unprivileged: true };
}

function majorVersion(dataDir: string): number {
  return Number.parseInt(fs.readFileSync(path.join(dataDir, 'PG_VERSION'), 'utf8'), 10);
}

/** Resolves when the cluster takes connections, also one that would only refuse our password. */
export async function postgresReady({ host, port }: PostgresAddress, deadlineMs = 30_000): Promise<void> {
  await waitUntil(`PostgreSQL at ${host}:${port} taking connections`, () => takesConnections(host, port), {
    deadlineMs,
  });
}

async function takesConnections(host: string, port: number): Promise<boolean> {
  const stranger = { host, port, user: 'postgres', password: '', database: 'postgres', connectionTimeoutMillis: 2_000 };
  try {
    return await inPostgres(stranger, async () => true);
  } catch (error) {
    const { code } = error as { code?: string };
    // 28xxx is a refusal of our credentials by a server that is up; 57P03 says that it still starts (errcodes appendix).
    if (code?.startsWith('28')) return true;
    if (error instanceof Error && error.message.includes('password')) return true; // pg refuses an empty one by itself
    throw error;
  }
}

/** The path of one of PostgreSQL's programs, the lab's own unless another folder of them is named. */
export function postgresTool(name: string, programs = serverBinaries().postgresBin): string {
  return path.join(programs, name);
}
