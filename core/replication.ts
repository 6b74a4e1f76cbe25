import type { Position } from './positions';

/**
 * One look at one side of a replicated store. Unknown is null and never zero (rule 3).
 * `bytes` and `operations` are counters that only grow within a lineage, so that differences mean something.
 */
export interface ReplicaState {
  readonly site: string;
  readonly at: string;
  readonly position: Position;
  readonly bytes: number | null;
  readonly operations: number | null;
  /** The newest change that this side is known to have, by the primary's clock; null when not known. */
  readonly appliedUntil: string | null;
}

/** Both sides, measured from outside the primary every few seconds and kept at the DR side. */
export interface ReplicationSample {
  readonly store: string;
  readonly takenAt: string;
  readonly primary: ReplicaState | null;
  readonly standby: ReplicaState | null;
  /** Why a side could not be measured. */
  readonly problem: string | null;
  /**
   * True where writes acknowledged with the engine's safest setting cannot be lost while the standby side has a majority
   * (MongoDB `w: majority` with survivors in the majority).
   */
  readonly majorityAtStandby: boolean;
}

export type Certainty = 'exact' | 'bound' | 'unknown';

/** What a promotion of the standby would lose. Null is unknown. */
export interface LossEstimate {
  readonly store: string;
  readonly certainty: Certainty;
  readonly bytes: number | null;
  readonly operations: number | null;
  readonly seconds: number | null;
  /** Age of the newest sample in which the primary answered. */
  readonly sampleAgeSeconds: number | null;
  /** The arithmetic in words, shown on the approval card. */
  readonly basis: string;
}

const secondsBetween = (from: string, to: string) => Math.max(0, (Date.parse(to) - Date.parse(from)) / 1_000);

/** The greatest growth a second of a counter between neighbouring samples; null when it was never measured twice. */
function peakPerSecond(samples: readonly ReplicationSample[], counter: 'bytes' | 'operations'): number | null {
  let peak: number | null = null;
  let previous: ReplicaState | null = null;
  for (const { primary } of samples) {
    if (!primary) continue;
    const before = previous?.position.lineage === primary.position.lineage ? previous : null;
    const [from, to] = [before?.[counter] ?? null, primary[counter]];
    if (before && from !== null && to !== null) {
      const elapsedSeconds = secondsBetween(before.at, primary.at);
      if (elapsedSeconds > 0) peak = Math.max(peak ?? 0, (to - from) / elapsedSeconds);
    }
    previous = primary;
  }
  return peak;
}

/**
 * Bounds the loss as Patroni bounds it: what the primary had at the newest sample beyond what the standby has now, plus the
 * peak write rate times the age of that sample (research/disaster-recovery.md §2.0). `standbyNow` is measured afresh at
 * the surviving side; `now` is when the estimate is made. Samples in time order, oldest first.
 */
export function estimateLoss(
  store: string,
  samples: readonly ReplicationSample[],
  standbyNow: ReplicaState | null,
  now: string,
): LossEstimate {
  const unknown = (basis: string): LossEstimate => ({
    store,
    certainty: 'unknown',
    bytes: null,
    operations: null,
    seconds: null,
    sampleAgeSeconds: null,
    basis,
  });
  const newest = samples.findLast((sample) => sample.primary !== null);
  if (!newest?.primary) return unknown('the primary was never sampled');
  if (!standbyNow) return unknown('the standby does not answer');
  const { primary } = newest;
  if (primary.position.lineage !== standbyNow.position.lineage) {
    return unknown(
      `the standby follows lineage ${standbyNow.position.lineage}, the primary wrote ${primary.position.lineage}`,
    );
  }
  const sampleAgeSeconds = secondsBetween(primary.at, now);
  const bytesRate = peakPerSecond(samples, 'bytes');
  const operationsRate = peakPerSecond(samples, 'operations');
  const bytesBehind =
    primary.bytes === null || standbyNow.bytes === null ? null : Math.max(0, primary.bytes - standbyNow.bytes);
  const bytes =
    bytesBehind === null || bytesRate === null ? null : Math.ceil(bytesBehind + bytesRate * sampleAgeSeconds);
  const covered = newestCovered(samples, standbyNow);
  const operations =
    covered?.operations == null || primary.operations === null || operationsRate === null
      ? null
      : Math.ceil(primary.operations - covered.operations + operationsRate * sampleAgeSeconds);
  const seconds = covered === null ? null : secondsBetween(covered.at, primary.at) + sampleAgeSeconds;
  const known = bytes !== null || operations !== null || seconds !== null;
  return {
    store,
    certainty: known ? 'bound' : 'unknown',
    bytes,
    operations,
    seconds,
    sampleAgeSeconds,
    basis: known
      ? `behind at the newest sample, plus peak write rate × its age of ${sampleAgeSeconds.toFixed(1)} s`
      : 'no counter of this store could be measured twice',
  };
}

/** The newest state of the primary that the standby has completely; its successors may be lost. */
function newestCovered(samples: readonly ReplicationSample[], standby: ReplicaState): ReplicaState | null {
  const covered = samples.findLast(
    ({ primary }) =>
      primary !== null &&
      primary.position.lineage === standby.position.lineage &&
      (primary.bytes !== null && standby.bytes !== null
        ? primary.bytes <= standby.bytes
        : standby.appliedUntil !== null && primary.at <= standby.appliedUntil),
  );
  return covered?.primary ?? null;
}
