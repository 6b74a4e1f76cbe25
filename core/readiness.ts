/** `failing`: a failover would stop there, or lose more than agreed. `unknown` is no better: what is not seen is not ready. */
export type ReadinessState = 'ok' | 'warning' | 'failing' | 'unknown';

/** One thing that has to hold on the day of a failover, as it was found now. */
export interface ReadinessCheck {
  /** Stable, such as `standby:orders-db`. */
  readonly id: string;
  readonly state: ReadinessState;
  /** What was looked at. */
  readonly title: string;
  readonly found: string;
  /** What it would mean on the day; null where it holds. */
  readonly onTheDay: string | null;
}

export type Verdict = 'ready' | 'not ready';

/** How many of 100 points the checks are worth: one that holds counts whole, a warning half, everything else nothing. */
export function readinessScore(checks: readonly ReadinessCheck[]): number {
  const worth = { ok: 1, warning: 0.5, failing: 0, unknown: 0 } as const;
  const points = checks.reduce((sum, { state }) => sum + worth[state], 0);
  // Rounded down: 100 is said only where everything holds.
  return checks.length === 0 ? 0 : Math.floor((100 * points) / checks.length);
}

/** The checks for which a failover would not come to its end as it should. */
export function alarming(checks: readonly ReadinessCheck[]): ReadinessCheck[] {
  return checks.filter(({ state }) => state === 'failing' || state === 'unknown');
}

export function verdictOf(checks: readonly ReadinessCheck[]): Verdict {
  return checks.length > 0 && alarming(checks).length === 0 ? 'ready' : 'not ready';
}

/** What people were told of last, and when: kept beside the result, so that they hear of changes and not of every look. */
export interface Told {
  /** Ids of the checks that alarmed, sorted. */
  readonly ids: readonly string[];
  readonly at: string | null;
}

/** Whether people are told now: when something else alarms than they know of, and once a day while it does. */
export function whatToTell(
  checks: readonly ReadinessCheck[],
  last: Told | null,
  now: string,
): 'alarm' | 'relief' | null {
  const ids = alarmingIds(checks);
  const known = last?.ids ?? [];
  if (ids.length === 0) return known.length > 0 ? 'relief' : null;
  return ids.join() !== known.join() || last?.at?.slice(0, 10) !== now.slice(0, 10) ? 'alarm' : null;
}

export const alarmingIds = (checks: readonly ReadinessCheck[]) =>
  alarming(checks)
    .map(({ id }) => id)
    .toSorted();

/** `onTheDay` is null where it holds. */
export type Judgement = readonly [state: ReadinessState, found: string, onTheDay: string | null];

export function check(id: string, title: string, [state, found, onTheDay]: Judgement): ReadinessCheck {
  return { id, state, title, found, onTheDay };
}

export interface ReadinessResult {
  readonly application: string;
  readonly fromSite: string;
  readonly toSite: string;
  readonly at: string;
  readonly verdict: Verdict;
  /** Out of 100; see `readinessScore`. */
  readonly score: number;
  readonly checks: readonly ReadinessCheck[];
}

/** The newest look as it is kept in the control repository. */
export interface KeptReadiness {
  readonly result: ReadinessResult;
  readonly told: Told;
}
