import { setTimeout as delay } from 'node:timers/promises';
import type { CallContext } from '../core/call';
import type { LogEntry } from '../core/log-archive';
import type { ReplicaState } from '../core/replication';
import type { OpenApplication } from './deps';

/** People wait for their card: a repository that needs longer leaves the line out, which is about a choice and not about the loss. */
const LOOK_MILLISECONDS = 3_000;

/**
 * What the archived log has that the standby has not, in words for the approval card: where nothing brings it there before the
 * promotion, that loses it and a restore would not. Null where it has nothing more, where there is no log, and where it cannot be seen in time.
 */
export async function archivedBeyond(
  open: OpenApplication,
  store: string,
  standby: ReplicaState | null,
  ctx: CallContext,
): Promise<string | null> {
  const log = open.logArchive(store);
  if (log === null || standby === null) return null;
  const { positions, replication, log: shipping } = open.engine(store);
  const catchesUp = replication?.catchUp !== undefined;
  const look = async (): Promise<string | null> => {
    const entries = await log.entries(standby.position.lineage);
    const newest = entries.reduce<LogEntry | null>(
      (furthest, entry) => (furthest && positions.compare(furthest.to, entry.to) >= 0 ? furthest : entry),
      null,
    );
    if (!newest || positions.compare(newest.to, standby.position) <= 0) return null;
    if ((await shipping?.changesBehind?.(standby.position, log, ctx)) === false) return null;
    const { coversUntil } = await log.resolve(newest);
    const until = coversUntil === null ? '' : `, all until ${coversUntil}`;
    const between = catchesUp
      ? 'what lies between is replayed there before the promotion, and is lost only where that is skipped'
      : 'what lies between is lost to a promotion, and restored by `drctl restore`';
    return `its archived log reaches ${positions.format(newest.to)}${until}, the standby ${positions.format(standby.position)}: ${between}`;
  };
  const over = new AbortController();
  try {
    // What cannot be seen is left out: the bound of the loss does not depend on it.
    const found = look().catch(() => null);
    return await Promise.race([found, delay(LOOK_MILLISECONDS, null, { signal: over.signal })]);
  } finally {
    over.abort();
  }
}
