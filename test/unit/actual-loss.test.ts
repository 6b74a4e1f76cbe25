import { withSamples } from '../../core/actual-loss';
import type { Divergence } from '../../core/divergence';
import type { ReplicaState, ReplicationSample } from '../../core/replication';

const START = Date.parse('2026-11-22T13:00:00.000Z');
const iso = (seconds: number) => new Date(START + seconds * 1_000).toISOString();
const at = (value: number, lineage = '1') => ({ engine: 'fake', lineage, value: `${value}` });
const compare = (a: { value: string }, b: { value: string }) => Number(a.value) - Number(b.value);

const state = (seconds: number, value: number, operations: number | null, lineage = '1'): ReplicaState => ({
  ...{ site: 'primary', at: iso(seconds), answeredAt: iso(seconds), serverAt: null, bytes: value, appliedUntil: null },
  ...{ position: at(value, lineage), operations },
});
const sample = (primary: ReplicaState): ReplicationSample => ({
  ...{ store: 'cache', takenAt: primary.at, primary, standby: null, problem: null },
});

/** The promoted side has everything up to 250, the old one is at 500. */
const found: Divergence = {
  ...{ store: 'cache', fork: at(250), end: at(500), bytes: 250, how: 'as read' },
  ...{ operations: null, seconds: null },
};
const samples = [0, 1, 2, 3, 4, 5].map((round) => sample(state(round * 2, round * 100, round * 10)));

test('an end that was sampled bounds changes and time from both sides', () => {
  expect(withSamples(found, { samples, now: null, fencedAt: iso(60) }, compare)).toMatchObject({
    ...{ bytes: 250, operations: 30, seconds: 6 },
    how: 'as read; changes and time are at most what lies between the samples around it',
  });
});

test('an end behind all samples is bounded by the fence, and counted by what the old primary says now', () => {
  const known = { samples: samples.slice(0, 4), now: state(90, 500, 55), fencedAt: iso(20) };
  expect(withSamples(found, known, compare)).toMatchObject({ operations: 35, seconds: 16 });
  expect(withSamples(found, { ...known, fencedAt: null }, compare)).toMatchObject({ operations: 35, seconds: 86 });
  expect(withSamples(found, { ...known, now: null }, compare)).toMatchObject({ operations: null, seconds: 16 });
  expect(withSamples(found, { ...known, now: null, fencedAt: null }, compare)).toMatchObject({ seconds: null });
});

test('unknown stays unknown: without a sample before the fork, of another history, with a counter that was reset', () => {
  const none = { operations: null, seconds: null, how: 'as read' };
  expect(withSamples(found, { samples: [], now: null, fencedAt: iso(20) }, compare)).toMatchObject(none);
  expect(withSamples(found, { samples: samples.slice(3), now: null, fencedAt: null }, compare)).toMatchObject(none);
  const other = samples.map((each) => ({
    ...each,
    primary: each.primary && { ...each.primary, position: at(0, '2') },
  }));
  expect(withSamples(found, { samples: other, now: null, fencedAt: iso(20) }, compare)).toMatchObject(none);
  const reset = { samples, now: state(90, 500, 3), fencedAt: null };
  expect(withSamples(found, { ...reset, samples: samples.slice(0, 4) }, compare)).toMatchObject({ operations: null });
});

test('what the engine has read itself stays as it is', () => {
  const read = { ...found, operations: 3, seconds: 1 };
  expect(withSamples(read, { samples, now: null, fencedAt: iso(60) }, compare)).toBe(read);
  expect(withSamples({ ...found, operations: 3 }, { samples, now: null, fencedAt: iso(60) }, compare)).toMatchObject({
    ...{ operations: 3, seconds: 6 },
  });
});
