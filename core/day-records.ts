import type { CheckHealthResult } from './runs';

/**
 * What is kept of a day, small and of bounded size, one object for each kind of look: `days/<day>/<what>.json` of the control
 * repository. Reports on a month are made of them; what nobody looked at is in none, and is not known.
 */
export interface DayRecord {
  readonly formatVersion: 1;
  /** `2026-11-23`, of UTC. */
  readonly day: string;
}

/** How the health checks of a day found each store: `days/<day>/health.json`. */
export interface HealthDay extends DayRecord {
  /** Of the newest look that is counted: a repeated one is not counted again. */
  readonly lastAt: string;
  readonly stores: Readonly<Record<string, StoreDay>>;
}

export interface StoreDay {
  readonly looks: number;
  readonly healthy: number;
  readonly warning: number;
  readonly error: number;
  /** Looks that could not tell what a loss of the store would lose. */
  readonly rpoUnknown: number;
  /** Looks at which that was more than the store's objective. */
  readonly rpoOver: number;
  /** The most that was seen; null where it was never known. */
  readonly rpoWorstSeconds: number | null;
}

/** How the looks of a day found one site: `days/<day>/readiness-<site>.json`. */
export interface ReadinessDay extends DayRecord {
  readonly lastAt: string;
  readonly looks: number;
  readonly ready: number;
  readonly lowestScore: number;
}

export const dayOf = (iso: string): string => iso.slice(0, 10);

const NO_LOOKS: StoreDay = {
  ...{ looks: 0, healthy: 0, warning: 0, error: 0 },
  ...{ rpoUnknown: 0, rpoOver: 0, rpoWorstSeconds: null },
};

/** Counts a look at every store; `rpoSeconds` are the objectives. Looks that are not newer than the last are counted already. */
export function withHealth(
  before: HealthDay | null,
  { at, stores }: Pick<CheckHealthResult, 'at' | 'stores'>,
  rpoSeconds: Readonly<Record<string, number>>,
): HealthDay {
  if (before && before.lastAt >= at) return before;
  const after = { ...before?.stores };
  for (const { store, status, rpoSeconds: seconds } of stores) {
    const day = after[store] ?? NO_LOOKS;
    const objective = rpoSeconds[store];
    after[store] = {
      ...day,
      looks: day.looks + 1,
      [status]: day[status] + 1,
      rpoUnknown: day.rpoUnknown + (seconds === null ? 1 : 0),
      rpoOver: day.rpoOver + (seconds !== null && objective !== undefined && seconds > objective ? 1 : 0),
      rpoWorstSeconds: seconds === null ? day.rpoWorstSeconds : Math.max(day.rpoWorstSeconds ?? 0, seconds),
    };
  }
  return { formatVersion: 1, day: dayOf(at), lastAt: at, stores: after };
}

export function withReadiness(
  before: ReadinessDay | null,
  { at, verdict, score }: { readonly at: string; readonly verdict: string; readonly score: number },
): ReadinessDay {
  if (before && before.lastAt >= at) return before;
  return {
    ...{ formatVersion: 1, day: dayOf(at), lastAt: at },
    looks: (before?.looks ?? 0) + 1,
    ready: (before?.ready ?? 0) + (verdict === 'ready' ? 1 : 0),
    lowestScore: Math.min(before?.lowestScore ?? 100, score),
  };
}
