import { formatDuration } from './clock';
import type { ConnectionAttempt, DrillStage, PerformancePolicy } from './drill';

export type StageState = 'held' | 'failed' | 'left out' | 'not reached';

/** How one stage of a drill ended. */
export interface StageResult {
  readonly stage: DrillStage;
  readonly state: StageState;
  /** What was found, why it failed, or why it was left out. */
  readonly note: string;
  readonly seconds: number;
  /** Left out although there is something to rehearse: the drill proves less than it could. */
  readonly gap?: boolean;
}

/** What was tried from inside the bubble. */
export interface IsolationEvidence {
  readonly at: string;
  /** The copies, which have to be reached: a probe that reaches nothing proves nothing. */
  readonly copies: readonly ConnectionAttempt[];
  /** Production, where every attempt has to fail. */
  readonly production: readonly ConnectionAttempt[];
}

/** Why the isolation is not proven; null where it is. */
export function isolationProblem({ copies, production }: IsolationEvidence): string | null {
  const open = production.filter(({ connected }) => connected).map(({ target }) => target);
  if (open.length > 0) return `production can be reached from the bubble: ${open.join(', ')}`;
  const shut = copies.filter(({ connected }) => !connected).map(({ target, how }) => `${target} (${how})`);
  if (shut.length > 0) return `the copies cannot be reached from the bubble: ${shut.join(', ')}`;
  if (copies.length === 0) return 'there is no copy that could be reached, so that a failed connection proves nothing';
  if (production.length === 0) return 'there is no address of production to try';
  return null;
}

/** How fast an endpoint answered. */
export interface EndpointSpeed {
  readonly url: string;
  readonly requests: number;
  readonly failed: number;
  /** Of the failures, the first. */
  readonly problem: string | null;
  readonly p50Milliseconds: number;
  readonly p95Milliseconds: number;
  readonly perSecond: number;
}

export interface MeasuredSpeed extends EndpointSpeed {
  /** The median of earlier drills' p95; null where there is none to compare with. */
  readonly baselineMilliseconds: number | null;
  /** Of how many drills. */
  readonly baselineDrills: number;
  /** What does not hold; null where all does. */
  readonly verdict: string | null;
}

/** Sorted or not; the smallest value that at least the share of all values does not exceed. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
}

/** A difference below this is what any machine does between two runs. */
const NOISE_MILLISECONDS = 20;

/** Compares with the medians of earlier drills, and with the limit of the config. */
export function judgeSpeed(
  measured: readonly EndpointSpeed[],
  earlier: readonly (readonly EndpointSpeed[])[],
  { p95Milliseconds: limit, slowerBy }: PerformancePolicy,
): MeasuredSpeed[] {
  return measured.map((speed) => {
    const before = earlier.flatMap((drill) =>
      drill.filter(({ url, failed }) => url === speed.url && failed === 0).map((each) => each.p95Milliseconds),
    );
    const baseline = before.length === 0 ? null : percentile(before, 0.5);
    const { failed, requests, problem, p95Milliseconds: p95 } = speed;
    const tooSlow = baseline !== null && p95 > slowerBy * baseline && p95 - baseline > NOISE_MILLISECONDS;
    const verdict =
      failed > 0
        ? `${failed} of ${requests} requests failed: ${problem}`
        : limit !== null && p95 > limit
          ? `p95 is ${p95} ms, over the limit of ${limit} ms`
          : tooSlow
            ? `p95 is ${p95} ms, more than ${slowerBy} times the ${baseline} ms of earlier drills`
            : null;
    return { ...speed, baselineMilliseconds: baseline, baselineDrills: before.length, verdict };
  });
}

/** What the validator found of one component. */
export interface ComponentRecovery {
  readonly name: string;
  /** "the copy of orders-db", "order in the bubble", "orders-db at dr". */
  readonly component: string;
  readonly killed: readonly string[];
  readonly killedAt: string | null;
  /** From the kill until it was healthy again; null where that was not seen. */
  readonly seconds: number | null;
  readonly limitSeconds: number;
  readonly problem: string | null;
}

export const recoveryHeld = ({ seconds, limitSeconds, problem }: ComponentRecovery): boolean =>
  problem === null && seconds !== null && seconds <= limitSeconds;

/** `orders-db: healthy after 1.2 s, limit 30 min`. */
export function recoveryLine(recovery: ComponentRecovery): string {
  const { name, component, seconds, limitSeconds, problem } = recovery;
  const limit = formatDuration(limitSeconds * 1_000);
  const what = `${name} (${component})`;
  if (problem !== null) return `${what}: ${problem}`;
  if (seconds === null) return `${what}: not healthy again`;
  const took = formatDuration(seconds * 1_000);
  return `${what}: healthy after ${took}, ${seconds <= limitSeconds ? 'limit' : 'OVER the limit of'} ${limit}`;
}

/** What only the report of a drill has. */
export interface DrillReport {
  /** Where it was held. */
  readonly site: string;
  readonly stages: readonly StageResult[];
  /** Null where the bubble was not reached. */
  readonly isolation: IsolationEvidence | null;
  readonly speeds: readonly MeasuredSpeed[];
  readonly recoveries: readonly ComponentRecovery[];
  /** What is left of it, in words; null where nobody could look. */
  readonly remains: readonly string[] | null;
}

/** What a drill is worth: it achieves only what was tried, cleaned up and found to hold. */
export function judgeDrillRun(
  stages: readonly StageResult[],
  remains: readonly string[] | null,
): { verdict: 'achieved' | 'attention' | 'failed'; because: string; outcome: 'completed' | 'completed with failures' } {
  const failed = stages.filter(({ state }) => state === 'failed' || state === 'not reached');
  const gaps = stages.filter(({ gap }) => gap);
  const held = stages.filter(({ state }) => state === 'held').length;
  const isClean = remains !== null && remains.length === 0;
  const tried = stages.length - stages.filter(({ state }) => state === 'left out').length;
  const because = [
    `${held} of ${tried} stages held`,
    ...(failed.length > 0 ? [`not ${failed.map(({ stage }) => stage).join(', ')}`] : []),
    ...(gaps.length > 0 ? [`not rehearsed: ${gaps.map(({ stage }) => stage).join(', ')}`] : []),
    isClean ? 'nothing was left behind' : remains === null ? 'what was left is not known' : 'something was left behind',
  ].join('; ');
  const verdict = failed.length > 0 ? 'failed' : gaps.length > 0 || !isClean ? 'attention' : 'achieved';
  return { verdict, because, outcome: failed.length > 0 ? 'completed with failures' : 'completed' };
}
