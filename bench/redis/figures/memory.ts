import { randomFillSync } from 'node:crypto';
import { figure, type Figure } from '../../figure';
import { watchMemory } from '../../process-memory';
import { sizeWords, type Stand } from '../stand';

const LIMIT_MIB = 512;

/** The worker from its start: a full backup with such a value in it, and another one that comes along the stream. */
export async function memory({ rounds, say, valueBytes, ...stand }: Stand): Promise<Figure[]> {
  const { server, product } = await stand.empty('large');
  const value = randomFillSync(Buffer.alloc(valueBytes));
  await server.client.set('large:0', value);
  const values: number[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    await product.rest();
    const watch = watchMemory(await product.work());
    let peakBytes: number;
    try {
      await product.backUp('full');
      await server.client.set('large:1', value);
      await product.archivedTo(`${await server.newest()}`);
    } finally {
      peakBytes = await watch.stop();
    }
    values.push(peakBytes / 2 ** 20);
    say(`  memory, round ${round}: ${values.at(-1)?.toFixed(0)} MiB`);
  }
  await product.rest();
  await server.stop();
  return [
    figure({
      name: `peak memory of the worker, a full backup and the log with values of ${sizeWords(valueBytes / 2 ** 20)}`,
      unit: 'MiB',
      values,
      aim: { valueAtMost: LIMIT_MIB },
    }),
  ];
}
