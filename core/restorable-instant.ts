import { formatDuration } from './clock';
import { mixed } from './seeded-choice';

/** A range of instants, both ends included. */
export interface InstantRange {
  readonly from: string;
  readonly to: string;
}

/** What a test of recovery is to restore, as chance decided, and what that was drawn from. */
export interface ChosenInstant {
  /** Null: the newest state. */
  readonly time: string | null;
  readonly seed: number;
  /** When it was looked what can be restored. */
  readonly at: string;
  /** What can be restored at once; empty where only the newest state can. */
  readonly from: readonly InstantRange[];
  /** By store: the newest instant of its log that can be restored. */
  readonly newest: Readonly<Record<string, string>>;
}

/** The end of a log is what most restores need, and where faults of an archiver show first: it is more than one instant of many. */
const SHARE_OF_NEWEST = 1 / 4;

/** How old the newest state of a store was; null where only its restore tells, because that is what chance chose. */
export function newestAgeSeconds({ time, at, newest }: ChosenInstant, store: string): number | null {
  const until = newest[store];
  return time === null || until === undefined ? null : Math.max(0, (Date.parse(at) - Date.parse(until)) / 1_000);
}

/** An instant within the ranges; null for the newest state, and where there is none. The same seed chooses the same of the same ranges. */
export function chooseInstant(ranges: readonly InstantRange[], seed: number): string | null {
  if (share(seed) < SHARE_OF_NEWEST) return null;
  const lengths = ranges.map(({ from, to }) => Date.parse(to) - Date.parse(from));
  let left = share(~seed) * lengths.reduce((sum, length) => sum + length, 0);
  for (const [index, { from }] of ranges.entries()) {
    const length = lengths[index] as number;
    // Its very beginning is the end of a backup, which needs no log.
    if (left < length) return new Date(Date.parse(from) + Math.floor(left) + 1).toISOString();
    left -= length;
  }
  return null;
}

/** From 0 to 1, that excluded. */
const share = (seed: number) => mixed(seed) / 2 ** 32;

/** What lies in one of each; what has no length is left out. */
export function commonRanges(some: readonly InstantRange[], others: readonly InstantRange[]): InstantRange[] {
  const shared = some.flatMap((one) =>
    others.map(({ from, to }) => ({ from: one.from > from ? one.from : from, to: one.to < to ? one.to : to })),
  );
  return shared.filter(({ from, to }) => from < to).toSorted((a, b) => a.from.localeCompare(b.from));
}

/** `2026-11-22T13:05:03.120Z, by chance (seed 7) of 3d 2h from 2026-11-19T11:00:00.000Z on`. */
export function instantLine({ time, seed, from }: ChosenInstant): string {
  const [first] = from;
  if (!first) return 'the newest state: nothing else can be restored';
  const length = from.reduce((sum, range) => sum + Date.parse(range.to) - Date.parse(range.from), 0);
  return `${time ?? 'the newest state'}, by chance (seed ${seed}) of ${formatDuration(length)} from ${first.from} on`;
}
