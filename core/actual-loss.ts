import type { Divergence } from './divergence';
import type { PositionCodec } from './positions';
import type { ReplicaState, ReplicationSample } from './replication';

/** What is known of an old primary besides its divergence. */
export interface OldPrimaryKnown {
  /** Taken before the promotion, kept with the run; in time order. */
  readonly samples: readonly ReplicationSample[];
  /** As it answers now. */
  readonly now: ReplicaState | null;
  /** When it was seen to refuse writes, by a worker's clock; null where nobody saw that. */
  readonly fencedAt: string | null;
}

/**
 * What an engine cannot read in its log, as far as the samples bound it: from the newest sample that the promoted side has all
 * of, until the oldest that is at the old primary's end or, behind all samples, until the fence. Of what the engine has read
 * itself nothing is changed.
 */
export function withSamples(
  found: Divergence,
  { samples, now, fencedAt }: OldPrimaryKnown,
  compare: PositionCodec['compare'],
): Divergence {
  if (found.operations !== null && found.seconds !== null) return found;
  const states = [...samples.flatMap(({ primary }) => primary ?? []), ...(now ? [now] : [])].filter(
    ({ position }) => position.lineage === found.end.lineage,
  );
  const kept = states.findLast(({ position }) => compare(position, found.fork) <= 0);
  if (!kept) return found;
  const reached = states.find(({ position }) => compare(position, found.end) >= 0);
  const until = earlier(reached?.at ?? null, fencedAt);
  const seconds = until === null ? null : Math.max(0, (Date.parse(until) - Date.parse(kept.at)) / 1_000);
  const counted = kept.operations === null || reached?.operations == null ? null : reached.operations - kept.operations;
  // A counter that was reset in between says nothing.
  const operations = counted !== null && counted >= 0 ? counted : null;
  return {
    ...found,
    operations: found.operations ?? operations,
    seconds: found.seconds ?? seconds,
    how: `${found.how}; changes and time are at most what lies between the samples around it`,
  };
}

function earlier(one: string | null, other: string | null): string | null {
  if (one === null || other === null) return one ?? other;
  return Date.parse(one) < Date.parse(other) ? one : other;
}
