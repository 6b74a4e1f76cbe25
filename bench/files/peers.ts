import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { runToEnd } from '../../lab/servers/process';
import { pipeline } from '../pipeline';
import type { Rig } from '../rig';
import { uploadStage } from '../upload-stage';

const COMMAND_MILLISECONDS = 1_800_000;
export const PIPE = 'tar | zstd -T2 -3 | one upload';

export interface PeerBackup {
  readonly seconds: number;
  /** By which the repository grew. */
  readonly storedBytes: number;
}

/** "restic 0.14.0", as figures name it; null where it is not installed. */
export function resticName(): string | null {
  try {
    const [name, version] = execFileSync('restic', ['version'], { encoding: 'utf8' }).split(' ');
    return `${name} ${version}`;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/** A repository of its own in the peers' bucket, with the compression and the chunks that restic chooses by itself. */
export class Restic {
  private readonly prefix = `restic-${randomBytes(4).toString('hex')}`;
  private readonly rig: Rig;

  private constructor(rig: Rig) {
    this.rig = rig;
  }

  static async init(rig: Rig): Promise<Restic> {
    const restic = new Restic(rig);
    await restic.run(['init']);
    return restic;
  }

  async backUp(root: string): Promise<PeerBackup> {
    const { s3 } = this.rig;
    const before = await s3.storedBytes(`${this.prefix}/`);
    const seconds = await this.run(['backup', '--quiet', root]);
    return { seconds, storedBytes: (await s3.storedBytes(`${this.prefix}/`)) - before };
  }

  /** Seconds. */
  restore(into: string): Promise<number> {
    return this.run(['restore', 'latest', '--quiet', '--target', into]);
  }

  private async run(args: readonly string[]): Promise<number> {
    const { s3, folder } = this.rig;
    const repository = `s3:${s3.endpoint}/${s3.buckets.peers}/${this.prefix}`;
    const started = performance.now();
    await runToEnd(
      {
        argv: ['restic', '--repo', repository, '--cacert', s3.authorityFile, ...args],
        env: {
          AWS_ACCESS_KEY_ID: s3.keys.accessKeyId,
          AWS_SECRET_ACCESS_KEY: s3.keys.secretAccessKey,
          AWS_DEFAULT_REGION: s3.region,
          RESTIC_PASSWORD: 'bench',
        },
        cwd: folder,
      },
      { deadlineMs: COMMAND_MILLISECONDS },
    );
    return (performance.now() - started) / 1_000;
  }
}

/** What a script does without a tool. */
export async function pipeBackup(rig: Rig, root: string): Promise<PeerBackup> {
  const { s3 } = rig;
  const place = { ...s3, ...s3.keys, bucket: s3.buckets.peers };
  const started = performance.now();
  const printed = await pipeline([
    { argv: ['tar', '-cf', '-', '-P', root] },
    { argv: ['zstd', '-T2', '-3', '-q', '-c'] },
    uploadStage(place, `pipe/${randomBytes(4).toString('hex')}.tar.zst`),
  ]);
  const { sizeBytes } = JSON.parse(printed) as { sizeBytes: number };
  return { seconds: (performance.now() - started) / 1_000, storedBytes: sizeBytes };
}
