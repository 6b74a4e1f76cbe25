import { figure, type Figure, median } from '../../figure';
import { watchMemory } from '../../process-memory';
import { sizeWords, type Stand } from '../stand';

const LIMIT_MIB = 512;
const GROWTH_AT_MOST = 1.15;

/** The worker from its start to the end of one full backup of 16 MB documents, with archiver and watch beside it. */
export async function memory(stand: Stand): Promise<Figure[]> {
  const small = await peaks(stand, stand.smallMegabytes);
  const large = await peaks(stand, stand.megabytes);
  const of = 'worker and its programs, full backup of 16 MB documents';
  const [less, more] = [sizeWords(stand.smallMegabytes), sizeWords(stand.megabytes)];
  return [
    figure({ name: `peak memory, ${more} (${of})`, unit: 'MiB', values: large, aim: { valueAtMost: LIMIT_MIB } }),
    figure({
      name: `peak memory, ${more} against ${less} (${of})`,
      unit: 'MiB',
      values: [median(large)],
      peer: { name: `backup of ${less}`, values: small },
      aim: { ratioAtMost: GROWTH_AT_MOST },
    }),
  ];
}

async function peaks({ rounds, say, ...stand }: Stand, megabytes: number): Promise<number[]> {
  const { set, product } = await stand.large(megabytes);
  const values: number[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    await product.rest();
    const watch = watchMemory(await product.work());
    let peakBytes: number;
    try {
      await product.backUp('full');
    } finally {
      peakBytes = await watch.stop();
    }
    values.push(peakBytes / 2 ** 20);
    say(`  memory, ${set.name}, round ${round}: ${values.at(-1)?.toFixed(0)} MiB`);
  }
  await product.rest();
  await set.stop();
  return values;
}
