import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import * as path from 'node:path';
import { projectRoot } from '../../../lab/runtime/servers';
import { pipeline, type Stage } from '../../pipeline';
import type { Rig } from '../../rig';
import { uploadStage } from '../../upload-stage';
import type { BenchRedis } from '../server';

/** What reads the RDB, as figures name it. */
export interface RdbReader {
  readonly name: string;
  /** Said beside a figure; null where it is the peer that is meant. */
  readonly note: string | null;
  stage(server: BenchRedis): Stage;
}

const COMPRESS: Stage = { argv: ['zstd', '-T2', '-3', '-q', '-c'] };
const BEHIND = '| zstd -T2 -3 | one upload';

/** `redis-cli --rdb -`; without it on PATH the same RDB taken by us and only passed on, which is the least that reading needs. */
export function rdbReader(): RdbReader {
  const version = versionOf('redis-cli');
  if (version !== null)
    return {
      name: `redis-cli ${version} --rdb - ${BEHIND}`,
      note: null,
      stage: ({ host, port, password }) => ({
        argv: ['redis-cli', '-h', host, '-p', `${port}`, '--rdb', '-'],
        env: { REDISCLI_AUTH: password },
      }),
    };
  return {
    name: `the RDB as it comes ${BEHIND}`,
    note: 'redis-cli is not on PATH: the peer is a program that only passes the RDB on',
    stage: ({ host, port, password }) => ({
      argv: [process.execPath, path.join(projectRoot(), 'dist/bench/redis/peers/rdb-read.js')],
      env: { REDIS_HOST: host, REDIS_PORT: `${port}`, REDIS_PASSWORD: password },
    }),
  };
}

export async function backUpByPipe({ s3 }: Rig, reader: RdbReader, server: BenchRedis) {
  const key = `redis/${randomBytes(4).toString('hex')}.rdb.zst`;
  const place = { ...s3, ...s3.keys, bucket: s3.buckets.peers };
  const started = performance.now();
  const printed = await pipeline([reader.stage(server), COMPRESS, uploadStage(place, key)]);
  const { sizeBytes } = JSON.parse(printed) as { sizeBytes: number };
  return { seconds: (performance.now() - started) / 1_000, storedBytes: sizeBytes };
}

function versionOf(program: string): string | null {
  try {
    return (
      /redis-cli (\S+)/.exec(execFileSync(program, ['--version'], { encoding: 'utf8' }))?.[1] ?? 'of an unknown version'
    );
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}
