import type { LogReach } from '../../../core/retention/log-reach';
import { parentOf } from './lineage';

/**
 * A backup is whole by itself, and the stream is replayed from its position on. That one names the lineage: what older
 * manifests have in its place has the offset in it as well.
 */
export const logReach: LogReach = {
  needs: ({ stop }) => stop && { lineage: stop.lineage, from: stop, to: stop },
  parentOf,
};
