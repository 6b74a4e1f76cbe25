import { figure, type Figure, median } from './figure';
import { sizeWords } from './parts';
import { watchMemory } from './process-memory';
import type { Product } from './product';

export const MEMORY_LIMIT_MIB = 512;
const GROWTH_AT_MOST = 1.15;

interface Rounds {
  readonly rounds: number;
  readonly say: (line: string) => void;
  /** Of what is backed up, for the person who waits. */
  readonly name: string;
}

/** The worker with what it starts, from its start to the end of the work, with archiver and watch beside it. In MiB. */
export async function peaksOf(
  product: Product,
  { rounds, say, name }: Rounds,
  work: () => Promise<unknown>,
): Promise<number[]> {
  const values: number[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    await product.rest();
    const watch = watchMemory(await product.work());
    let peakBytes: number;
    try {
      await work();
    } finally {
      peakBytes = await watch.stop();
    }
    values.push(peakBytes / 2 ** 20);
    say(`  memory, ${name}, round ${round}: ${values.at(-1)?.toFixed(0)} MiB`);
  }
  await product.rest();
  return values;
}

export interface Peaks {
  readonly megabytes: number;
  readonly values: readonly number[];
}

/** `of`: "worker and its programs, full backup on PostgreSQL 18" */
export function growthFigures(of: string, small: Peaks, large: Peaks): Figure[] {
  const [less, more] = [sizeWords(small.megabytes), sizeWords(large.megabytes)];
  const limit = { valueAtMost: MEMORY_LIMIT_MIB };
  return [
    figure({ name: `peak memory, ${more} (${of})`, unit: 'MiB', values: large.values, aim: limit }),
    figure({
      name: `peak memory, ${more} against ${less} (${of})`,
      unit: 'MiB',
      values: [median(large.values)],
      peer: { name: `backup of ${less}`, values: small.values },
      aim: { ratioAtMost: GROWTH_AT_MOST },
    }),
  ];
}
