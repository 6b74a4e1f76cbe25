import type { Position, PositionCodec } from './positions';

/**
 * One look at one side of a replicated store. Unknown is null and never zero (rule 3).
 * `bytes` and `operations` are counters that only grow within a lineage, so that differences mean something.
 */
export interface ReplicaState {
  readonly site: string;
  /** When it was asked, by the clock of the worker that asks: what it answers is at least as new. */
  readonly at: string;
  /** When its answer had come, by the same clock. */
  readonly answeredAt: string;
  /** The server's own clock, read together with the position; null where it does not say. */
  readonly serverAt: string | null;
  readonly position: Position;
  readonly bytes: number | null;
  readonly operations: number | null;
  /** The newest change that this side is known to have, by the primary's clock; null when not known. */
  readonly appliedUntil: string | null;
  /**
   * When the log began to grow as fast as it does, by the server's clock: PostgreSQL's newest checkpoint, after which the first
   * change of each page logs all of it. Null where the server does not say; absent for engines whose log has no such moments.
   */
  readonly checkpointAt?: string | null;
  /** Of several servers at the site: which of them this is, and why that one would be promoted. */
  readonly chosen?: string;
}

/** Both sides, measured from outside the primary every few seconds and kept at the DR side. */
export interface ReplicationSample {
  readonly store: string;
  readonly takenAt: string;
  readonly primary: ReplicaState | null;
  readonly standby: ReplicaState | null;
  /** Why a side could not be measured. */
  readonly problem: string | null;
  /** Since when the primary of this lineage was sampled without a gap, by its own clock; by whoever keeps the samples. */
  readonly watchedSince?: string;
}

export type Certainty = 'bound' | 'unknown';

/** What a promotion of the standby would lose. Null is unknown. */
export interface LossEstimate {
  readonly store: string;
  readonly certainty: Certainty;
  readonly bytes: number | null;
  readonly operations: number | null;
  readonly seconds: number | null;
  /** When it was estimated, by the clock of the worker that did: what `growth` is counted from. */
  readonly measuredAt: string;
  /** Age, at that time, of the newest sample in which the primary answered. */
  readonly sampleAgeSeconds: number | null;
  /** How fast the bound grows while the old primary may still be writing unseen: the peak rates that were measured. */
  readonly growth: { readonly bytesPerSecond: number | null; readonly operationsPerSecond: number | null };
  /** The arithmetic in words, shown on the approval card. */
  readonly basis: string;
  /** Why the promotion would have to be forced (`Replication.mustForce`); absent where it need not be. */
  readonly mustForce?: string;
}

/** Clocks of workers that differ by less do not change what a person decides, and NTP keeps them closer. */
const SKEW_THAT_MATTERS_SECONDS = 0.25;

const secondsBetween = (from: string, to: string) => Math.max(0, (Date.parse(to) - Date.parse(from)) / 1_000);

/**
 * The growth a second of a counter between two samples of one lineage; null where it is not known. By the server's own clock
 * where it says it, because that was read together with the counter.
 */
export function growthPerSecond(
  before: ReplicaState,
  after: ReplicaState,
  counter: 'bytes' | 'operations',
): number | null {
  if (before.position.lineage !== after.position.lineage) return null;
  const [from, to] = [before[counter], after[counter]];
  if (from === null || to === null) return null;
  const elapsedSeconds =
    before.serverAt && after.serverAt
      ? secondsBetween(before.serverAt, after.serverAt)
      : secondsBetween(before.at, after.at);
  return elapsedSeconds > 0 ? (to - from) / elapsedSeconds : null;
}

/** The greatest growth a second of a counter between neighbouring samples; null when it was never measured twice. */
function peakPerSecond(samples: readonly ReplicationSample[], counter: 'bytes' | 'operations'): number | null {
  const states = samples.flatMap(({ primary }) => primary ?? []);
  return states.reduce<number | null>((peak, state, index) => {
    const before = states[index - 1];
    const growth = before ? growthPerSecond(before, state, counter) : null;
    return growth === null ? peak : Math.max(peak ?? 0, growth);
  }, null);
}

/**
 * Why the greatest growth that was measured is not the greatest there is: the log's fastest moments, those after a checkpoint,
 * were not among what was measured. Null where they were. Only the primary's own clock is compared with itself.
 */
function whyNoPeak(samples: readonly ReplicationSample[], { primary, watchedSince }: ReplicationSample): string | null {
  const checkpointAt = primary?.checkpointAt;
  if (checkpointAt === undefined) return null;
  if (checkpointAt === null) return 'the primary does not say when its last checkpoint was';
  if (watchedSince === undefined || Date.parse(watchedSince) > Date.parse(checkpointAt))
    return 'no checkpoint was seen since it is sampled, and the log grows most after one';
  // PostgreSQL keeps the time in whole seconds, rounded down.
  const after = samples.filter(
    (each) => each.primary?.serverAt && Date.parse(each.primary.serverAt) >= Date.parse(checkpointAt) + 1_000,
  );
  return after.length >= 2 ? null : 'a checkpoint has just been, and the log grows most after one';
}

/**
 * Bounds the loss as Patroni bounds it: what the primary had at the newest sample beyond what the standby has now, plus the
 * peak write rate times the age of that sample (research/disaster-recovery.md §2.0). `standbyNow` is measured afresh at
 * the surviving side; `now` is when the estimate is made, by the clock of the worker that makes it. `compare` orders two
 * positions of one lineage. Samples in time order, oldest first.
 *
 * No two machines' clocks meet in the arithmetic: what the standby has is told by positions, rates are by the primary's
 * own clock, ages by the clock of workers. Where the worker that sampled is not the one that estimates, the difference of
 * the two is measured against the standby's clock, which both have read, and added to the age.
 */
export function estimateLoss(
  store: string,
  samples: readonly ReplicationSample[],
  standbyNow: ReplicaState | null,
  now: string,
  compare: PositionCodec['compare'],
): LossEstimate {
  const unknown = (basis: string): LossEstimate => ({
    store,
    certainty: 'unknown',
    bytes: null,
    operations: null,
    seconds: null,
    measuredAt: now,
    sampleAgeSeconds: null,
    growth: { bytesPerSecond: null, operationsPerSecond: null },
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
  const behindSeconds = secondsBehindSampler(samples, standbyNow);
  const sampleAgeSeconds = secondsBetween(primary.at, now) + behindSeconds;
  const noPeak = whyNoPeak(samples, newest);
  const bytesPerSecond = noPeak === null ? peakPerSecond(samples, 'bytes') : null;
  const operationsPerSecond = peakPerSecond(samples, 'operations');
  const bytesBehind =
    primary.bytes === null || standbyNow.bytes === null ? null : Math.max(0, primary.bytes - standbyNow.bytes);
  const bytes =
    bytesBehind === null || bytesPerSecond === null ? null : Math.ceil(bytesBehind + bytesPerSecond * sampleAgeSeconds);
  const covered = newestCovered(samples, standbyNow, compare);
  const operations =
    covered?.operations == null || primary.operations === null || operationsPerSecond === null
      ? null
      : Math.ceil(primary.operations - covered.operations + operationsPerSecond * sampleAgeSeconds);
  const seconds = covered === null ? null : secondsBetween(covered.at, primary.at) + sampleAgeSeconds;
  const known = bytes !== null || operations !== null || seconds !== null;
  const skewWords =
    behindSeconds === 0
      ? ''
      : `; the clock of the worker that sampled is ahead of this one's: ${behindSeconds.toFixed(1)} s were added`;
  const bytesWords = noPeak === null ? '' : `; bytes are unknown: ${noPeak}`;
  return {
    store,
    certainty: known ? 'bound' : 'unknown',
    bytes,
    operations,
    seconds,
    measuredAt: now,
    sampleAgeSeconds,
    growth: { bytesPerSecond, operationsPerSecond },
    basis: known
      ? `behind at the newest sample, plus peak write rate × its age of ${sampleAgeSeconds.toFixed(1)} s${skewWords}${bytesWords}`
      : 'no counter of this store could be measured twice',
  };
}

/** The newest state of the primary that the standby has completely; its successors may be lost. */
function newestCovered(
  samples: readonly ReplicationSample[],
  standby: ReplicaState,
  compare: PositionCodec['compare'],
): ReplicaState | null {
  const covered = samples.findLast(
    ({ primary }) =>
      primary !== null &&
      primary.position.lineage === standby.position.lineage &&
      compare(primary.position, standby.position) <= 0,
  );
  return covered?.primary ?? null;
}

/**
 * How far this worker's clock may be behind the one of the worker that took the newest sample, so that an age would come
 * out too small; 0 unless the two readings of the standby's clock prove that it is behind by more than a little. Each
 * reading is only known to lie between the question and the answer.
 */
function secondsBehindSampler(samples: readonly ReplicationSample[], standbyNow: ReplicaState): number {
  const sampled = samples.findLast(({ standby }) => standby?.serverAt)?.standby;
  if (!sampled?.serverAt || !standbyNow.serverAt) return 0;
  const ahead = ({ at, answeredAt }: ReplicaState, serverAt: string) => ({
    least: (Date.parse(serverAt) - Date.parse(answeredAt)) / 1_000,
    most: (Date.parse(serverAt) - Date.parse(at)) / 1_000,
  });
  const [then, here] = [ahead(sampled, sampled.serverAt), ahead(standbyNow, standbyNow.serverAt)];
  return here.least - then.most > SKEW_THAT_MATTERS_SECONDS ? here.most - then.least : 0;
}
