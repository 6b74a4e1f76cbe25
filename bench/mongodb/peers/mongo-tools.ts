import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import * as path from 'node:path';
import { projectRoot } from '../../../lab/runtime/servers';
import { pipeline, type Stage } from '../../pipeline';
import type { Rig } from '../../rig';
import { downloadStage, uploadStage } from '../../upload-stage';
import type { ReplicaSet } from '../replica-set';

/** The official tools, as an administrator's script runs them: archive, oplog, zstd on both cores, one upload stream. */
export interface MongoTools {
  /** "mongodump 100.13.0", as figures name it. */
  readonly name: string;
  backUp(rig: Rig, set: ReplicaSet): Promise<PeerBackup>;
  /** Into an empty server. */
  restore(rig: Rig, key: string, url: string): Promise<void>;
}

export interface PeerBackup {
  readonly key: string;
  readonly seconds: number;
  readonly storedBytes: number;
}

const COMPRESS: Stage = { argv: ['zstd', '-T2', '-3', '-q', '-c'] };
/** What reads when no mongodump does. */
export const RAW_READ = 'raw batches of the driver | zstd -T2 -3 | one upload';
export const TOOLS_MISSING = 'mongodump and mongorestore are not on PATH';

/** Null where they are not on PATH. */
export function mongoTools(): MongoTools | null {
  const version = versionOf('mongodump');
  if (version === null || versionOf('mongorestore') === null) return null;
  return {
    name: `mongodump ${version} | zstd -T2 -3 | one upload`,
    backUp: (rig, set) =>
      backUp(rig, { argv: ['mongodump', '--quiet', `--uri=${set.secondaryUrl}`, '--oplog', '--archive'] }),
    async restore(rig, key, url) {
      const restoring = ['mongorestore', '--quiet', `--uri=${url}`, '--oplogReplay', '--archive'];
      await pipeline([
        downloadStage(peersPlace(rig), key),
        { argv: ['zstd', '-d', '-q', '-c'] },
        // One worker a collection by default; two, because there are two cores.
        { argv: [...restoring, '--numInsertionWorkersPerCollection=2'] },
      ]);
    },
  };
}

/** The nearest thing without mongodump: the same collections in raw batches, four at a time, compressed and stored alike. */
export function rawReadBackup(rig: Rig, set: ReplicaSet): Promise<PeerBackup> {
  return backUp(rig, {
    argv: [process.execPath, path.join(projectRoot(), 'dist/bench/mongodb/peers/raw-read.js')],
    env: { MONGODB_URL: set.secondaryUrl },
  });
}

async function backUp(rig: Rig, read: Stage): Promise<PeerBackup> {
  const key = `mongodb/${randomBytes(4).toString('hex')}.archive.zst`;
  const started = performance.now();
  const printed = await pipeline([read, COMPRESS, uploadStage(peersPlace(rig), key)]);
  const { sizeBytes } = JSON.parse(printed) as { sizeBytes: number };
  return { key, seconds: (performance.now() - started) / 1_000, storedBytes: sizeBytes };
}

function peersPlace({ s3 }: Rig) {
  return { ...s3, ...s3.keys, bucket: s3.buckets.peers };
}

function versionOf(program: string): string | null {
  try {
    const printed = execFileSync(program, ['--version'], { encoding: 'utf8' });
    return /version: (\S+)/.exec(printed)?.[1] ?? 'of an unknown version';
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}
