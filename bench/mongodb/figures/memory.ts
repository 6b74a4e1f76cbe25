import type { Figure } from '../../figure';
import { growthFigures, peaksOf } from '../../peak-memory';
import type { Stand } from '../stand';

export async function memory(stand: Stand): Promise<Figure[]> {
  const small = await peaks(stand, stand.smallMegabytes);
  const large = await peaks(stand, stand.megabytes);
  return growthFigures('worker and its programs, full backup of 16 MB documents', small, large);
}

async function peaks({ rounds, say, ...stand }: Stand, megabytes: number) {
  const { set, product } = await stand.large(megabytes);
  const values = await peaksOf(product, { rounds, say, name: set.name }, () => product.backUp('full'));
  await set.stop();
  return { megabytes, values };
}
