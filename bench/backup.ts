import { randomBytes } from 'node:crypto';
import * as path from 'node:path';
import type { LaunchBackupsResult } from '../core/runs';
import { accessTo } from '../lab/demo/access';
import { storeUrls } from '../lab/lab';
import { projectRoot, serverBinaries } from '../lab/runtime/servers';
import { seedBulkPostgres } from '../lab/shop/seed-bulk';
import { STORES } from '../lab/sites/build';
import { POSTGRES_ROLES } from '../lab/sites/postgresql';
import type { Bench } from './bench';
import { figure } from './figure';
import { type BenchLab, protect, withLab } from './lab';
import { pipeline, type Stage } from './pipeline';

export const CLUSTER_BYTES = 1e9;
export const PEER = 'pg_basebackup | zstd -T2 -3 | one upload';

export const fullBackup: Bench = {
  summary: 'a full PostgreSQL backup of 1 GB to S3, against pg_basebackup | zstd -T2 | upload',
  async run({ rounds, say }) {
    return withLab(say, async (bench) => {
      await prepare(bench, say);
      const ours = { seconds: [] as number[], bytes: [] as number[] };
      const theirs = { seconds: [] as number[], bytes: [] as number[] };
      for (let round = 1; round <= rounds; round += 1) {
        const mine = await backUp(bench);
        ours.seconds.push(mine.seconds);
        ours.bytes.push(mine.storedBytes / 2 ** 20);
        const peer = await shellBackup(bench);
        theirs.seconds.push(peer.seconds);
        theirs.bytes.push(peer.storedBytes / 2 ** 20);
        say(`  round ${round}: ours ${mine.seconds.toFixed(1)} s, the pipeline ${peer.seconds.toFixed(1)} s`);
      }
      return [
        figure({
          name: 'full backup of 1 GB to S3, planned to committed',
          unit: 's',
          values: ours.seconds,
          peer: { name: PEER, values: theirs.seconds },
          aim: { ratioAtMost: 1 },
        }),
        figure({
          name: 'stored bytes of a full backup of 1 GB',
          unit: 'MiB',
          values: ours.bytes,
          peer: { name: PEER, values: theirs.bytes },
          aim: { ratioAtMost: 1.05 },
        }),
      ];
    });
  },
};

/** A cluster of 1 GB whose log is archived. */
export async function prepare(bench: BenchLab, say: (line: string) => void): Promise<void> {
  say(`filling PostgreSQL with ${CLUSTER_BYTES / 1e9} GB`);
  await protect(bench, STORES.postgresql);
  await seedBulkPostgres(storeUrls(bench.lab, 'primary').postgresql, { sizeBytes: CLUSTER_BYTES, seed: 1 });
  await bench.waitForArchiver(STORES.postgresql);
}

/** Verification, the manifest and the cleaning up are within its seconds; the pipeline has none of them. */
export async function backUp({ drctl }: BenchLab): Promise<LaunchBackupsResult['backups'][number]> {
  const { backups, failed } = await drctl<LaunchBackupsResult>('backup', STORES.postgresql);
  const [backup] = backups;
  if (!backup) throw new Error(`the backup failed: ${failed[0]?.message}`);
  return backup;
}

/** What a careful administrator's script does: one stream, compressed on both cores, stored as it comes. */
export async function shellBackup(bench: BenchLab): Promise<{ seconds: number; storedBytes: number; key: string }> {
  const { plan, secrets } = accessTo(bench.lab);
  const { host, port } = plan.sites.primary.postgresql;
  const { name, secret } = POSTGRES_ROLES.backup;
  const key = `peer/${randomBytes(4).toString('hex')}.tar.zst`;
  const options = ['-h', host, '-p', `${port}`, '-U', name, '-Ft', '-D', '-', '-X', 'none', '-c', 'fast'];
  const started = performance.now();
  const printed = await pipeline([
    {
      argv: [path.join(serverBinaries().postgresBin, 'pg_basebackup'), ...options],
      env: { PGPASSWORD: secrets.password(secret) },
    },
    { argv: ['zstd', '-T2', '-3', '-q', '-c'] },
    objectStage(bench, 'put', key),
  ]);
  const { sizeBytes } = JSON.parse(printed) as { sizeBytes: number };
  return { seconds: (performance.now() - started) / 1_000, storedBytes: sizeBytes, key };
}

/** A program that uploads its standard input, or downloads to its standard output. */
export function objectStage({ lab }: BenchLab, verb: 'get' | 'put', key: string): Stage {
  const { secrets } = accessTo(lab);
  const [bucket] = lab.s3.buckets;
  return {
    argv: [process.execPath, path.join(projectRoot(), 'dist/bench/object.js'), verb, key],
    env: {
      S3_ENDPOINT: lab.s3.endpoint,
      S3_REGION: lab.s3.region,
      S3_BUCKET: bucket ?? '',
      S3_ACCESS_KEY_ID: secrets.password('s3-access-key-id'),
      S3_SECRET_ACCESS_KEY: secrets.password('s3-secret-access-key'),
    },
  };
}
