import { failure } from '../../../core/errors';
import type { Position, PositionCodec } from '../../../core/positions';

export type RedisPosition = Position<'redis'>;

/**
 * A replication offset under a replication id. Offsets of two ids are not comparable: after a promotion the same number
 * names another history (redis/docs, management/replication.md).
 */
export const redisPositions: PositionCodec<'redis'> = {
  parse(text, lineage) {
    if (!/^\d{1,19}$/.test(text.trim())) {
      throw failure('UsageInvalid', `"${text}" is not a Redis replication offset: write a number such as 1234567`);
    }
    return redisPosition(lineage, text.trim());
  },
  format: ({ value }) => value,
  compare(a, b) {
    if (a.lineage !== b.lineage) {
      throw failure('UsageInvalid', `offsets of the replication ids ${a.lineage} and ${b.lineage} cannot be compared`);
    }
    const [first, second] = [BigInt(a.value), BigInt(b.value)];
    return first < second ? -1 : first > second ? 1 : 0;
  },
};

export function redisPosition(replicationId: string, offset: string | number | bigint): RedisPosition {
  return { engine: 'redis', lineage: replicationId, value: `${offset}` };
}
