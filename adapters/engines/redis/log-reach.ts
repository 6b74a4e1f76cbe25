import type { LogReach } from '../../../core/retention/log-reach';
import { sealedSpan } from '../../../core/sealed-log';
import { parentOf } from './lineage';

/**
 * A full is whole by itself, and the stream is replayed from its position on. That one names the lineage: what older
 * manifests have in its place has the offset in it as well.
 */
export const logReach: LogReach = {
  needs: sealedSpan,
  parentOf,
};
