import { chooseInstant, commonRanges, instantLine } from '../../core/restorable-instant';
import { heartbeatProblem } from '../../core/restored-heartbeat';

const DAY = '2026-11-20T00:00:00.000Z';
const at = (seconds: number) => new Date(Date.parse(DAY) + seconds * 1_000).toISOString();
const range = (from: number, to: number) => ({ from: at(from), to: at(to) });

test('chance reaches every part of what can be restored, nothing else, and each seed the same again', () => {
  const ranges = [range(0, 100), range(1_000, 1_300)];
  const chosen = Array.from({ length: 2_000 }, (_, seed) => chooseInstant(ranges, seed));
  expect(Array.from({ length: 2_000 }, (_, seed) => chooseInstant(ranges, seed))).toEqual(chosen);
  const seconds = chosen.flatMap((each) => (each === null ? [] : [(Date.parse(each) - Date.parse(DAY)) / 1_000]));
  // A quarter is the newest state; of the rest a quarter lies in the first range, by its length.
  expect(seconds.length / chosen.length).toBeCloseTo(0.75, 1);
  expect(seconds.filter((each) => each <= 100).length / seconds.length).toBeCloseTo(0.25, 1);
  expect(seconds.every((each) => (each > 0 && each <= 100) || (each > 1_000 && each <= 1_300))).toBe(true);
  for (const [from, to] of [
    [0, 10],
    [90, 100],
    [1_000, 1_010],
    [1_290, 1_300],
  ] as const)
    expect(seconds.some((each) => each > from && each <= to)).toBe(true);
});

test('without a range there is the newest state only', () => {
  for (const seed of [1, 2, 3, 4]) expect(chooseInstant([], seed)).toBeNull();
  expect(instantLine({ time: null, seed: 1, at: DAY, from: [], newest: {} })).toMatch(/nothing else can be restored/);
});

test('one instant for all stores lies in what each of them can be restored to', () => {
  const orders = [range(0, 100), range(200, 300)];
  const events = [range(50, 250)];
  expect(commonRanges(orders, events)).toEqual([range(50, 100), range(200, 250)]);
  expect(commonRanges(orders, [range(100, 200)])).toEqual([]);
  expect(commonRanges(orders, [])).toEqual([]);
});

test('a heartbeat of after the instant, or from before one that was archived, is a wrong state', () => {
  const found = (here: number | null, noted: number | null) =>
    heartbeatProblem({ at: here === null ? null : at(here), noted: noted === null ? null : at(noted) }, at(100));
  expect([found(100, 98), found(99, 98), found(98, 98), found(3, null)]).toEqual([null, null, null, null]);
  expect(found(101, 98)).toMatch(/was written after/);
  expect(found(97, 98)).toMatch(/was archived before/);
  expect(found(null, 98)).toMatch(/no heartbeat is in it/);
});
