import type { BackupType, Manifest } from '../catalog';

/**
 * Upper bounds of the histogram of how long backups took: from seconds of a cache to a day, and the strategy's hour among
 * them. They are part of what is stored: other bounds would not fit what was counted before.
 */
export const DURATION_BOUNDS_SECONDS = [5, 15, 60, 300, 900, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400] as const;

/**
 * How many backups of each store were ever committed and how many failed: `monitoring/backups.json`. Manifests go with
 * retention and Temporal forgets runs, and a counter that goes down looks to Prometheus like one that began anew; what was
 * counted once is therefore kept. Any worker may count: from the same document and the same repository all come to the same.
 */
export interface Tally {
  readonly formatVersion: 1;
  readonly stores: Readonly<Record<string, StoreTally>>;
  /** Up to when Temporal was asked for runs that failed; null: never. */
  readonly failuresAskedAt: string | null;
  /** When counting by days began: runs that failed before may be in no day. Absent in what older versions kept. */
  readonly daysSince?: string;
  /** Runs that failed and ended so lately that the same question may show them again. */
  readonly failedRuns: readonly FailedBackup[];
}

export interface StoreTally {
  /** The newest backup that is counted; ids sort by time, and a store has one backup at a time. Null: none is. */
  readonly countedThrough: string | null;
  readonly succeeded: Readonly<Record<BackupType, DurationTally>>;
  readonly failed: number;
  readonly lastFailureAt: string | null;
  /** By day of UTC, the newest of them; a day without any has none. Absent in what older versions kept. */
  readonly days?: Readonly<Record<string, DayTally>>;
}

export interface DayTally {
  readonly succeeded: number;
  readonly failed: number;
}

export interface DurationTally {
  readonly count: number;
  readonly sumSeconds: number;
  /** How many took at most each of the bounds and more than the one before. */
  readonly within: readonly number[];
}

/** A run of `backUpStore` that ended without a backup. */
export interface FailedBackup {
  readonly store: string;
  readonly runId: string;
  readonly endedAt: string;
}

/** A report on a month is made weeks after its first day. */
const DAYS_KEPT = 100;

const NO_DURATIONS: DurationTally = { count: 0, sumSeconds: 0, within: DURATION_BOUNDS_SECONDS.map(() => 0) };
const NOTHING: StoreTally = {
  countedThrough: null,
  succeeded: { full: NO_DURATIONS, incr: NO_DURATIONS },
  failed: 0,
  lastFailureAt: null,
};

/** Asks Temporal for runs of backups that ended without one since then; for all that it remembers where it is null. */
export type FailedBackups = (application: string, since: string | null) => Promise<FailedBackup[]>;

export const EMPTY_TALLY: Tally = { formatVersion: 1, stores: {}, failuresAskedAt: null, failedRuns: [] };

/** Whether all that is counted on is there: what a bit or a half of it was lost of must not be counted on. */
export function isTally(value: unknown): value is Tally {
  const { formatVersion, stores, failuresAskedAt, failedRuns } = fieldsOf(value);
  const isStore = (store: unknown) => {
    const { countedThrough, succeeded, failed, lastFailureAt } = fieldsOf(store);
    const { full, incr } = fieldsOf(succeeded);
    return (
      isTextOrNull(countedThrough) &&
      isDurations(full) &&
      isDurations(incr) &&
      isCount(failed) &&
      isTextOrNull(lastFailureAt)
    );
  };
  return (
    formatVersion === 1 &&
    typeof stores === 'object' &&
    stores !== null &&
    Object.values(stores).every(isStore) &&
    (failuresAskedAt === null || isTime(failuresAskedAt)) &&
    Array.isArray(failedRuns) &&
    failedRuns.every((run) => isTime(fieldsOf(run)['endedAt']))
  );
}

function isDurations(value: unknown): boolean {
  const { count, sumSeconds, within } = fieldsOf(value);
  const isHistogram =
    Array.isArray(within) && within.length === DURATION_BOUNDS_SECONDS.length && within.every(isCount);
  return isCount(count) && typeof sumSeconds === 'number' && isHistogram;
}

const fieldsOf = (value: unknown) => (value ?? {}) as Partial<Record<string, unknown>>;
const isCount = (value: unknown) => typeof value === 'number' && value >= 0;
const isTextOrNull = (value: unknown) => value === null || typeof value === 'string';
const isTime = (value: unknown) => typeof value === 'string' && !Number.isNaN(Date.parse(value));

export function tallyOf({ stores }: Tally, store: string): StoreTally {
  return stores[store] ?? NOTHING;
}

/** Counts what was committed since; manifests in any order, those that are counted already are left out. */
export function countBackups(tally: Tally, store: string, manifests: readonly Manifest[]): Tally {
  const before = tallyOf(tally, store);
  const added = manifests
    .filter(({ backupId }) => before.countedThrough === null || backupId > before.countedThrough)
    .toSorted((a, b) => (a.backupId < b.backupId ? -1 : 1));
  const newest = added.at(-1);
  if (!newest) return tally;
  const succeeded = { ...before.succeeded };
  let { days } = before;
  for (const { type, startedAt, committedAt } of added) {
    const seconds = Math.max(0, (Date.parse(committedAt) - Date.parse(startedAt)) / 1_000);
    succeeded[type] = withDuration(succeeded[type], seconds);
    days = withRun(days, committedAt, 'succeeded');
  }
  const after = { ...before, succeeded, countedThrough: newest.backupId, ...(days ? { days } : {}) };
  return { ...tally, stores: { ...tally.stores, [store]: after } };
}

/** How far back failed runs are asked for again: Temporal's list of runs is a little behind what has happened. */
const ASKED_AGAIN_MILLISECONDS = 3_600_000;
/** Nothing is written for a question that found nothing before this long. */
const NOTED_AFTER_MILLISECONDS = 600_000;

/** From when on to ask for failed runs; null: for all that Temporal remembers. */
export function askFailuresSince({ failuresAskedAt }: Tally): string | null {
  return failuresAskedAt === null
    ? null
    : new Date(Date.parse(failuresAskedAt) - ASKED_AGAIN_MILLISECONDS).toISOString();
}

/** Counts failed runs as they were found at `now` by `askFailuresSince`; those that were counted before are left out. */
export function countFailures(tally: Tally, failed: readonly FailedBackup[], now: string): Tally {
  const known = new Set(tally.failedRuns.map(({ runId }) => runId));
  const added = failed.filter(({ runId }) => !known.has(runId));
  const asked = tally.failuresAskedAt;
  if (added.length === 0 && asked !== null && Date.parse(now) - Date.parse(asked) < NOTED_AFTER_MILLISECONDS)
    return tally;
  const stores = { ...tally.stores };
  for (const { store, endedAt } of added) {
    const before = stores[store] ?? NOTHING;
    const last = before.lastFailureAt;
    const lastFailureAt = last !== null && last > endedAt ? last : endedAt;
    const days = withRun(before.days, endedAt, 'failed');
    stores[store] = { ...before, failed: before.failed + 1, lastFailureAt, days };
  }
  // Twice as long as they are asked for again: whoever asks next may have another clock.
  const since = Date.parse(now) - 2 * ASKED_AGAIN_MILLISECONDS;
  const failedRuns = [...tally.failedRuns, ...added].filter(({ endedAt }) => Date.parse(endedAt) >= since);
  return { ...tally, stores, failuresAskedAt: now, daysSince: tally.daysSince ?? now, failedRuns };
}

function withRun(days: StoreTally['days'] = {}, at: string, outcome: keyof DayTally): StoreTally['days'] & object {
  const day = at.slice(0, 10);
  const { succeeded, failed } = days[day] ?? { succeeded: 0, failed: 0 };
  const after = { ...days, [day]: { succeeded, failed, [outcome]: (outcome === 'failed' ? failed : succeeded) + 1 } };
  const oldest = Object.keys(after).length > DAYS_KEPT ? Object.keys(after).toSorted()[0] : null;
  return oldest === null ? after : Object.fromEntries(Object.entries(after).filter(([each]) => each !== oldest));
}

function withDuration({ count, sumSeconds, within }: DurationTally, seconds: number): DurationTally {
  const bucket = DURATION_BOUNDS_SECONDS.findIndex((bound) => seconds <= bound);
  return {
    count: count + 1,
    sumSeconds: sumSeconds + seconds,
    within: within.map((value, index) => (index === bucket ? value + 1 : value)),
  };
}
