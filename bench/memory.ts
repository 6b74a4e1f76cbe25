import { once } from 'node:events';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { createHash } from 'node:crypto';
import { finished } from 'node:stream/promises';
import type { LaunchBackupsResult } from '../core/runs';
import { storeUrls } from '../lab/lab';
import { seedBulkPostgres } from '../lab/shop/seed-bulk';
import { STORES } from '../lab/sites/build';
import { applicationRoot } from '../lab/sites/files';
import type { Bench, BenchContext } from './bench';
import { figure, type Figure, median } from './figure';
import { type BenchLab, protect, withLab } from './lab';
import { watchMemory } from './process-memory';

const SMALL_BYTES = 200e6;
const LARGE_BYTES = 2e9;
/** Issue "The main job": independent of the size within this, and under the limit. */
const GROWTH_AT_MOST = 1.15;
const LIMIT_MIB = 512;
/** Enough files that their number is not the cost, few enough that their sizes are. */
const FILE_BYTES = 4e6;

/** A store of the lab that can be made as large as wanted. */
interface Subject {
  readonly store: string;
  readonly words: string;
  grow(lab: BenchLab, sizeBytes: number): Promise<void>;
}

const postgresql: Subject = {
  store: STORES.postgresql,
  words: 'PostgreSQL',
  async grow(bench, sizeBytes) {
    await seedBulkPostgres(storeUrls(bench.lab, 'primary').postgresql, { sizeBytes, seed: 1 });
    // The log of what was just written is archived first: what is measured is the backup with an ordinary load beside it.
    await bench.waitForArchiver(STORES.postgresql);
  },
};

const files: Subject = { store: 'application', words: 'files', grow: growFiles };

export const memory = benchOf(postgresql);
export const filesMemory = benchOf(files);

function benchOf(subject: Subject): Bench {
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

async function measure(bench: BenchLab, subject: Subject, { rounds, say }: BenchContext): Promise<Figure[]> {
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

/** Half hexadecimal digits, half words, as the rows of `seedBulk`. */
async function growFiles({ lab }: BenchLab, sizeBytes: number): Promise<void> {
  const folder = path.join(applicationRoot(lab, 'primary'), 'bulk');
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder, { recursive: true });
  for (let file = 0; file * FILE_BYTES < sizeBytes; file += 1) {
    const stream = fs.createWriteStream(path.join(folder, `part-${String(file).padStart(5, '0')}`));
    for (let block = 0; block * 1_024 < FILE_BYTES; block += 1) {
      const digits = createHash('sha512').update(`${file}:${block}`).digest('hex').repeat(4);
      if (!stream.write(digits + `ultramarket order ${block % 100} `.repeat(24).padEnd(512)))
        await once(stream, 'drain');
    }
    stream.end();
    await finished(stream);
  }
}
