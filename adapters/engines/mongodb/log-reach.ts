import type { LogReach } from '../../../core/retention/log-reach';

/** A backup is whole by itself, and the oplog is applied from its end on. No lineage goes on in another one. */
export const logReach: LogReach = {
  needs: ({ stop, lineage }) => (stop && lineage !== null ? { lineage, from: stop, to: stop } : null),
  parentOf: () => null,
};
