import type { LossEstimate } from '../../../core/replication';
import type { LossBound } from './history';

/** What a person signed: the bound of the card, which grows as the card says for as long as the old primary went on writing. */
export function boundOf(loss: LossEstimate | undefined, lastWriteAtMs: number): LossBound {
  if (!loss || loss.certainty === 'unknown') return { operations: null, seconds: null, bytes: null };
  const elapsedSeconds = Math.max(0, (lastWriteAtMs - Date.parse(loss.measuredAt)) / 1_000);
  const grown = (bound: number | null, perSecond: number | null) => {
    if (bound === null || elapsedSeconds === 0) return bound;
    return perSecond === null ? null : Math.ceil(bound + perSecond * elapsedSeconds);
  };
  return {
    operations: grown(loss.operations, loss.growth.operationsPerSecond),
    bytes: grown(loss.bytes, loss.growth.bytesPerSecond),
    seconds: loss.seconds === null ? null : loss.seconds + elapsedSeconds,
  };
}
