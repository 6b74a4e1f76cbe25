import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { serverFile, serverFolder, runToEnd, waitUntil } from '../../../lab/servers/process';
import type { Cluster } from '../cluster';
import type { Rig } from '../../rig';

/** pgBackRest over one cluster: two processes, zstd level 3, its own archiving of WAL, pages checked as it does by default. */
export interface PgBackRest {
  /** "pgBackRest 2.45", as figures name it. */
  readonly name: string;
  backUp(
    type: 'full' | 'incr',
  ): Promise<{ readonly label: string; readonly seconds: number; readonly storedBytes: number }>;
  /** The seconds that the program takes; the server is still to be started. */
  restore(label: string, dataDir: string): Promise<void>;
}

const STANZA = 'main';
const PROCESSES = 2;
const ZSTD_LEVEL = 3;
const COMMAND_MILLISECONDS = 1_200_000;

/** Why it cannot be measured here; null when it can. */
export function pgBackRestMissing(): string | null {
  try {
    version();
    return null;
  } catch {
    return "pgBackRest is not installed: Debian's package pgbackrest has it";
  }
}

export async function pgBackRest(rig: Rig, cluster: Cluster): Promise<PgBackRest> {
  const folder = serverFolder(path.join(rig.folder, `pgbackrest-${cluster.name}`));
  const config = serverFile(path.join(folder, 'pgbackrest.conf'), configOf(rig, cluster, folder));
  const program = ['pgbackrest', `--config=${config}`, `--stanza=${STANZA}`];
  const run = (...args: string[]) =>
    runToEnd(
      { argv: [...program, ...args], env: cluster.environment, cwd: folder, unprivileged: true },
      { deadlineMs: COMMAND_MILLISECONDS },
    );
  await run('stanza-create');
  const archive = `exec ${program.join(' ')} archive-push "$1"`;

  const drained = async () => {
    await waitUntil(
      `PostgreSQL handing its complete segments to pgBackRest`,
      async () => fs.readdirSync(path.join(cluster.dataDir, 'pg_wal/archive_status')).every(isDone),
      { deadlineMs: COMMAND_MILLISECONDS },
    );
  };

  return {
    name: version(),
    async backUp(type) {
      cluster.archiveBy(archive);
      try {
        // What others wrote before is no part of this backup.
        await cluster.query('SELECT pg_switch_wal()');
        await drained();
        const started = performance.now();
        await run('backup', `--type=${type}`);
        const seconds = (performance.now() - started) / 1_000;
        const [stanza] = JSON.parse(await run('info', '--output=json')) as Info[];
        const backup = stanza?.backup.at(-1);
        if (backup?.type !== type) throw new Error(`pgBackRest made no backup of type ${type}`);
        return { label: backup.label, seconds, storedBytes: backup.info.repository.delta };
      } finally {
        await drained();
        cluster.archiveBy(null);
      }
    },
    async restore(label, dataDir) {
      serverFolder(dataDir);
      await run('restore', `--set=${label}`, `--pg1-path=${dataDir}`, '--type=immediate', '--target-action=promote');
    },
  };
}

const isDone = (file: string) => !file.endsWith('.ready');

interface Info {
  readonly backup: readonly {
    readonly label: string;
    readonly type: string;
    readonly info: { readonly repository: { readonly delta: number } };
  }[];
}

function version(): string {
  return execFileSync('pgbackrest', ['version'], { encoding: 'utf8', stdio: 'pipe' }).trim();
}

function configOf({ s3 }: Rig, cluster: Cluster, folder: string): string {
  return `[global]
repo1-type=s3
repo1-s3-bucket=${s3.buckets.peers}
repo1-s3-endpoint=${s3.host}
repo1-s3-region=${s3.region}
repo1-s3-key=${s3.keys.accessKeyId}
repo1-s3-key-secret=${s3.keys.secretAccessKey}
repo1-s3-uri-style=path
repo1-storage-host=${s3.host}
repo1-storage-port=${s3.tlsPort}
repo1-storage-ca-file=${s3.authorityFile}
repo1-path=/pgbackrest
repo1-retention-full=1000
process-max=${PROCESSES}
compress-type=zst
compress-level=${ZSTD_LEVEL}
start-fast=y
log-path=${folder}
lock-path=${folder}
spool-path=${folder}
log-level-console=warn
[${STANZA}]
pg1-path=${cluster.dataDir}
pg1-socket-path=${cluster.socketFolder}
pg1-port=${cluster.port}
pg1-user=postgres
`;
}
