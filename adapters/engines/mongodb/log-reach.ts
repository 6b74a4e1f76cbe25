import type { LogReach } from '../../../core/retention/log-reach';
import { sealedSpan } from '../../../core/sealed-log';

/** A full is whole by itself, and the oplog is applied from its end on. No lineage goes on in another one. */
export const logReach: LogReach = {
  needs: sealedSpan,
  parentOf: () => null,
};
