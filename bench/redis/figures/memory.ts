import { randomFillSync } from 'node:crypto';
import { figure, type Figure } from '../../figure';
import { sizeWords } from '../../parts';
import { MEMORY_LIMIT_MIB, peaksOf } from '../../peak-memory';
import type { Stand } from '../stand';

/** A full backup with such a value in it, and another one that comes along the stream. */
export async function memory({ rounds, say, valueBytes, ...stand }: Stand): Promise<Figure[]> {
  const { server, product } = await stand.empty('large');
  const value = randomFillSync(Buffer.alloc(valueBytes));
  await server.client.set('large:0', value);
  const values = await peaksOf(product, { rounds, say, name: 'large values' }, async () => {
    await product.backUp('full');
    await server.client.set('large:1', value);
    await product.archivedTo(`${await server.newest()}`);
  });
  await server.stop();
  return [
    figure({
      name: `peak memory of the worker, a full backup and the log with values of ${sizeWords(valueBytes / 2 ** 20)}`,
      unit: 'MiB',
      values,
      aim: { valueAtMost: MEMORY_LIMIT_MIB },
    }),
  ];
}
