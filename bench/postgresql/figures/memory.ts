import type { Figure } from '../../figure';
import { growthFigures, peaksOf } from '../../peak-memory';
import type { Side } from '../product';
import type { Stand } from '../stand';

export async function memory(stand: Stand): Promise<Figure[]> {
  const { smallMegabytes, megabytes } = stand;
  const small = { megabytes: smallMegabytes, values: await peaks(stand, await stand.small()) };
  const large = { megabytes, values: await peaks(stand, await stand.on18()) };
  return growthFigures('worker and its programs, full backup on PostgreSQL 18', small, large);
}

function peaks({ rounds, say }: Stand, { cluster, product }: Side): Promise<number[]> {
  return peaksOf(product, { rounds, say, name: cluster.name }, () => product.backUp('full'));
}
