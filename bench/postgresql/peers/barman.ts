import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { runToEnd } from '../../../lab/servers/process';
import type { Cluster } from '../cluster';
import type { Rig } from '../../rig';

/** barman-cloud-backup has no zstd: gzip is its nearest, at the level that it takes by itself (9). */
const OPTIONS = ['--gzip', '--jobs', '2', '--immediate-checkpoint'];
const COMMAND_MILLISECONDS = 1_800_000;

/** Why it cannot be measured here; null when it can. */
export function barmanMissing(): string | null {
  try {
    barmanName();
    return null;
  } catch {
    return "barman-cloud-backup is not installed: Debian's package barman-cli-cloud has it";
  }
}

/** "barman-cloud-backup 3.4.0 (gzip)", as figures name it. */
export function barmanName(): string {
  const [, number = ''] = execFileSync('barman-cloud-backup', ['--version'], { encoding: 'utf8', stdio: 'pipe' }).split(
    ' ',
  );
  return `barman-cloud-backup ${number.trim()} (gzip)`;
}

export async function barmanBackup(
  rig: Rig,
  cluster: Cluster,
): Promise<{ readonly seconds: number; readonly storedBytes: number }> {
  const prefix = `barman/${randomBytes(4).toString('hex')}`;
  const { s3 } = rig;
  const connection = ['--host', cluster.host, '--port', `${cluster.port}`, '--user', 'postgres'];
  const place = ['--endpoint-url', s3.endpoint, `s3://${s3.buckets.peers}/${prefix}`, 'main'];
  const env = {
    ...cluster.environment,
    AWS_ACCESS_KEY_ID: s3.keys.accessKeyId,
    AWS_SECRET_ACCESS_KEY: s3.keys.secretAccessKey,
    AWS_DEFAULT_REGION: s3.region,
    AWS_CA_BUNDLE: s3.authorityFile,
  };
  const started = performance.now();
  // Its temporary files lie in the working directory's file system like everybody's.
  await runToEnd(
    {
      argv: ['barman-cloud-backup', ...OPTIONS, ...connection, ...place],
      env,
      cwd: cluster.socketFolder,
      unprivileged: true,
    },
    { deadlineMs: COMMAND_MILLISECONDS },
  );
  const seconds = (performance.now() - started) / 1_000;
  return { seconds, storedBytes: await s3.storedBytes(`${prefix}/`) };
}
