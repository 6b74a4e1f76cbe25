import { randomBytes } from 'node:crypto';
import { pipeline } from '../../pipeline';
import { uploadStage } from '../../upload-stage';
import type { Cluster } from '../cluster';
import type { Rig } from '../../rig';

export const PIPELINE = 'pg_basebackup | zstd -T2 -3 | one upload';

/** What a careful administrator's script does: one stream, compressed on both cores, stored as it comes. */
export async function pipelineBackup(
  rig: Rig,
  cluster: Cluster,
): Promise<{ readonly seconds: number; readonly storedBytes: number }> {
  const { s3 } = rig;
  const key = `pipeline/${randomBytes(4).toString('hex')}.tar.zst`;
  const started = performance.now();
  const printed = await pipeline([
    {
      argv: [cluster.program('pg_basebackup'), '-w', '-Ft', '-D', '-', '-X', 'none', '-c', 'fast'],
      env: cluster.environment,
    },
    { argv: ['zstd', '-T2', '-3', '-q', '-c'] },
    uploadStage({ ...s3, ...s3.keys, bucket: s3.buckets.peers }, key),
  ]);
  const { sizeBytes } = JSON.parse(printed) as { sizeBytes: number };
  return { seconds: (performance.now() - started) / 1_000, storedBytes: sizeBytes };
}
