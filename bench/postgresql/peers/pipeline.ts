import { randomBytes } from 'node:crypto';
import * as path from 'node:path';
import { projectRoot } from '../../../lab/runtime/servers';
import { pipeline, type Stage } from '../../pipeline';
import type { Cluster } from '../cluster';
import type { Rig } from '../rig';

export const PIPELINE = 'pg_basebackup | zstd -T2 -3 | one upload';

/** What a careful administrator's script does: one stream, compressed on both cores, stored as it comes. */
export async function pipelineBackup(
  rig: Rig,
  cluster: Cluster,
): Promise<{ readonly seconds: number; readonly storedBytes: number }> {
  const key = `pipeline/${randomBytes(4).toString('hex')}.tar.zst`;
  const started = performance.now();
  const printed = await pipeline([
    {
      argv: [cluster.program('pg_basebackup'), '-w', '-Ft', '-D', '-', '-X', 'none', '-c', 'fast'],
      env: cluster.environment,
    },
    { argv: ['zstd', '-T2', '-3', '-q', '-c'] },
    uploadStage(rig, key),
  ]);
  const { sizeBytes } = JSON.parse(printed) as { sizeBytes: number };
  return { seconds: (performance.now() - started) / 1_000, storedBytes: sizeBytes };
}

function uploadStage({ s3 }: Rig, key: string): Stage {
  return {
    argv: [process.execPath, path.join(projectRoot(), 'dist/bench/object.js'), 'put', key],
    env: {
      S3_ENDPOINT: s3.endpoint,
      S3_REGION: s3.region,
      S3_BUCKET: s3.buckets.peers,
      S3_ACCESS_KEY_ID: s3.keys.accessKeyId,
      S3_SECRET_ACCESS_KEY: s3.keys.secretAccessKey,
      NODE_EXTRA_CA_CERTS: s3.authorityFile,
    },
  };
}
