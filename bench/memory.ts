import type { LaunchBackupsResult } from '../core/runs';
import type { Bench, BenchContext } from './bench';
import { figure, type Figure, median } from './figure';
import { type BenchLab, protect, withLab } from './lab';
import { files, type MemorySubject, mongodb, postgresql, redis } from './memory-subjects';
import { watchMemory } from './process-memory';

const SMALL_BYTES = 200e6;
const LARGE_BYTES = 2e9;
/** Issue "The main job": independent of the size within this, and under the limit. */
const GROWTH_AT_MOST = 1.15;
const LIMIT_MIB = 512;
export const memory = benchOf(postgresql);
export const mongodbMemory = benchOf(mongodb);
export const redisMemory = benchOf(redis);
export const filesMemory = benchOf(files);

function benchOf(subject: MemorySubject): Bench {
  return {
    summary: `peak memory of the worker and its programs, ${subject.words}: a backup of 2 GB and one of 200 MB`,
    run(context) {
      return withLab(context.say, async (bench) => {
        // The archivers and the watch run beside it, as they always do.
        await protect(bench, subject.store);
        return measure(bench, subject, context);
      });
    },
  };
}

async function measure(bench: BenchLab, subject: MemorySubject, { rounds, say }: BenchContext): Promise<Figure[]> {
  const peaks = new Map<number, number[]>();
  for (const sizeBytes of [SMALL_BYTES, LARGE_BYTES]) {
    say(`${subject.words}: ${sizeBytes / 1e6} MB`);
    await subject.grow(bench, sizeBytes);
    const values: number[] = [];
    for (let round = 1; round <= rounds; round += 1) {
      values.push(await peakOfBackup(bench, subject.store, sizeBytes));
      say(`  round ${round}: ${values.at(-1)?.toFixed(0)} MiB`);
    }
    peaks.set(sizeBytes, values);
  }
  const [small, large] = [peaks.get(SMALL_BYTES) ?? [], peaks.get(LARGE_BYTES) ?? []];
  const peer = { name: 'backup of 200 MB', values: small };
  const of = `${subject.words}, worker and its programs`;
  return [
    figure({
      name: `peak memory, backup of 2 GB (${of})`,
      unit: 'MiB',
      values: large,
      aim: { valueAtMost: LIMIT_MIB },
    }),
    figure({
      name: `peak memory, 2 GB against 200 MB (${of})`,
      unit: 'MiB',
      values: [median(large)],
      peer,
      aim: { ratioAtMost: GROWTH_AT_MOST },
    }),
  ];
}

/** In MiB, from a fresh worker's start to the end of one full backup. */
async function peakOfBackup(bench: BenchLab, store: string, sizeBytes: number): Promise<number> {
  const pid = await bench.restartWorker('primary');
  const watch = watchMemory(pid);
  let peakBytes: number;
  try {
    const { backups, failed } = await bench.drctl<LaunchBackupsResult>('backup', store);
    const contentBytes = backups[0]?.contentBytes ?? 0;
    if (failed.length > 0) throw new Error(`the backup failed: ${failed[0]?.message}`);
    if (contentBytes < sizeBytes) throw new Error(`only ${contentBytes} bytes were backed up, not ${sizeBytes}`);
  } finally {
    peakBytes = await watch.stop();
  }
  return peakBytes / 2 ** 20;
}
