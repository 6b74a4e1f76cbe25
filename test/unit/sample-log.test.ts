import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { MockActivityEnvironment } from '@temporalio/testing';
import type { ActivityDeps } from '../../activities/deps';
import { readSamples, SampleLog } from '../../activities/sample-log';
import { createWatchActivities } from '../../activities/watch';
import { createLocalRepository } from '../../adapters/repository/local';
import { layout } from '../../core/layout';
import type { Repository } from '../../core/repository';
import { estimateLoss, type ReplicaState, type ReplicationSample } from '../../core/replication';
import { faultyRepository } from '../support/faulty-repository';

const START = Date.parse('2026-11-22T13:00:00.000Z');
const INTERVAL_SECONDS = 1.5;
const BYTES_PER_SECOND = 100;
const STORES = ['orders', 'sessions'];

const iso = (seconds: number) => new Date(START + seconds * 1_000).toISOString();

/** A side that has everything written until then, by clocks that agree. */
function stateAt(seconds: number, writtenUntil = seconds): ReplicaState {
  const bytes = writtenUntil * BYTES_PER_SECOND;
  return {
    site: 'x',
    at: iso(seconds),
    answeredAt: iso(seconds),
    serverAt: iso(seconds),
    position: { engine: 'fake', lineage: '1', value: `${bytes}` },
    bytes,
    operations: bytes,
    appliedUntil: null,
  };
}

function sampleOf(store: string, round: number, primaryAnswers = true): ReplicationSample {
  const at = round * INTERVAL_SECONDS;
  const primary = primaryAnswers ? stateAt(at) : null;
  return { store, takenAt: iso(at), primary, standby: stateAt(at), problem: primary ? null : 'refused' };
}

const roundOf = (round: number, primaryAnswers = true) => STORES.map((store) => sampleOf(store, round, primaryAnswers));
const newestAnswered = (samples: readonly ReplicationSample[] | undefined) =>
  samples?.findLast(({ primary }) => primary !== null)?.takenAt;

describe('the samples of replication', () => {
  let folder: string;
  let control: Repository;
  let requests: string[];

  beforeEach(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-samples-'));
    requests = [];
    const inner = createLocalRepository({ name: 'local', directory: folder, prefix: 'shop' });
    control = faultyRepository(inner, { before: (operation) => void requests.push(operation) });
  });

  afterEach(() => fs.rmSync(folder, { recursive: true, force: true }));

  /** Runs the activity over a primary that answers each round as told; `ask` is called before each answer. */
  async function watch(answers: (round: number) => boolean, ask: (round: number) => Promise<void>, rounds: number) {
    const environment = new MockActivityEnvironment();
    const replicationOf = (store: string) => {
      let round = 0;
      return {
        async sample() {
          if (store === STORES[0]) await ask(round);
          if (round === rounds) environment.cancel();
          return sampleOf(store, round++, answers(round - 1));
        },
      };
    };
    const replications = new Map(STORES.map((store) => [store, { replication: replicationOf(store) }]));
    const open = {
      application: { stores: STORES.map((name) => ({ name, hasReplication: true })) },
      engine: (store: string) => replications.get(store),
      control,
    };
    const activities = createWatchActivities({ open: () => open } as unknown as ActivityDeps);
    const input = { application: 'shop', primarySite: 'a', standbySite: 'b' };
    const run = () => activities.sampleReplication({ ...input, runForMilliseconds: 60_000, intervalMilliseconds: 1 });
    await expect(environment.run(run)).rejects.toThrow('aborted');
  }

  test('cost one read, and one write of all stores in five rounds while the primary answers', async () => {
    await watch(
      () => true,
      () => Promise.resolve(),
      21,
    );
    // 22 rounds, the last of which was cancelled: four writes on the way and one at the end.
    expect(requests).toEqual(['read', 'put', 'put', 'put', 'put', 'put']);
  });

  test('are stored by the end of a watch that is cancelled', async () => {
    await watch(
      () => true,
      () => Promise.resolve(),
      7,
    );
    expect(newestAnswered((await readSamples(control))['orders'])).toBe(iso(7 * INTERVAL_SECONDS));
  });

  test.each([1, 2, 3, 4, 5, 6, 7])(
    'hold the last words of a primary that answered %i times, one round on',
    async (last) => {
      let stored: string | undefined;
      const look = async (round: number) => {
        if (round === last + 1) stored = newestAnswered((await readSamples(control))['sessions']);
      };
      await watch((round) => round < last, look, last + 3);
      expect(stored).toBe(iso((last - 1) * INTERVAL_SECONDS));
      const kept = (await readSamples(control))['orders'] ?? [];
      expect(kept.filter(({ primary }) => primary === null)).toHaveLength(1);
      expect(kept).toHaveLength(last + 1);
    },
  );

  test('outlive a watch that was killed: the next one goes on from them', async () => {
    const killed = await SampleLog.open(control);
    for (let round = 0; round < 8; round += 1) await killed.add(roundOf(round));
    const next = await SampleLog.open(control);
    for (let round = 20; round < 25; round += 1) await next.add(roundOf(round));
    const kept = (await readSamples(control))['orders'] ?? [];
    expect(kept.map(({ takenAt }) => takenAt)).toEqual(
      [0, 1, 2, 3, 4, 20, 21, 22, 23, 24].map((round) => iso(round * INTERVAL_SECONDS)),
    );
  });

  test('bound the loss, and no looser than by their age, also when the watch is lost with the primary', async () => {
    const compare = (a: { value: string }, b: { value: string }) => Number(a.value) - Number(b.value);
    const log = await SampleLog.open(control);
    for (let round = 0; round < 30; round += 1) {
      await log.add(roundOf(round));
      if (round < 5) continue; // a rate takes two samples
      // Both are lost right here, with a second of writes that the standby has not; ten seconds later a person asks.
      const diedAt = round * INTERVAL_SECONDS;
      const samples = (await readSamples(control))['orders'] ?? [];
      const bound = estimateLoss('orders', samples, stateAt(diedAt + 10, diedAt - 1), iso(diedAt + 10), compare);
      const age = bound.sampleAgeSeconds ?? Infinity;
      expect(age).toBeLessThanOrEqual(10 + 4 * INTERVAL_SECONDS);
      expect(bound.bytes).toBeGreaterThanOrEqual(BYTES_PER_SECOND);
      expect(bound.bytes).toBeLessThanOrEqual(BYTES_PER_SECOND + BYTES_PER_SECOND * age);
    }
  });

  test('keep the busiest moment, as after a checkpoint, for an hour beyond the others, and no more than that', async () => {
    const log = await SampleLog.open(control);
    // Half a minute apart, so that an hour is few of them.
    const step = 20;
    const burstAt = 10 * step;
    const burst = 100_000;
    const sampleAt = (round: number) => {
      const sample = sampleOf('orders', round);
      const { primary } = sample;
      if (!primary || round < burstAt) return sample;
      const bytes = (primary.bytes ?? 0) + burst;
      return { ...sample, primary: { ...primary, bytes } };
    };
    const hour = 3_600 / INTERVAL_SECONDS;
    const takenAt = async () => ((await readSamples(control))['orders'] ?? []).map((each) => each.takenAt);
    const around = [burstAt - step, burstAt].map((round) => iso(round * INTERVAL_SECONDS));
    for (let round = 0; round < hour; round += step) await log.add([sampleAt(round)]);
    await log.save();
    expect((await takenAt()).slice(0, 2)).toEqual(around);
    expect((await takenAt()).length).toBeLessThanOrEqual(64);
    const samples = (await readSamples(control))['orders'] ?? [];
    const bound = estimateLoss('orders', samples, stateAt(0), iso(3_600), () => 1);
    expect(bound.growth.bytesPerSecond).toBeCloseTo(BYTES_PER_SECOND + burst / (step * INTERVAL_SECONDS));

    for (let round = hour; round < hour + burstAt + 2 * step; round += step) await log.add([sampleAt(round)]);
    await log.save();
    expect(await takenAt()).not.toEqual(expect.arrayContaining(around));
    expect((await takenAt()).length).toBeLessThanOrEqual(64);
  });

  test('say since when the primary was watched without a gap, and of the same history', async () => {
    const log = await SampleLog.open(control);
    const since = async () => {
      await log.save();
      return (await readSamples(control))['orders']?.at(-1)?.watchedSince;
    };
    const add = (round: number, lineage = '1') => {
      const sample = sampleOf('orders', round);
      const primary = sample.primary && { ...sample.primary, position: { ...sample.primary.position, lineage } };
      return log.add([{ ...sample, primary }]);
    };
    const at = (round: number) => iso(round * INTERVAL_SECONDS);
    for (const round of [0, 1, 2, 20]) await add(round);
    expect(await since()).toBe(at(0));
    for (const round of [50, 51]) await add(round);
    expect(await since()).toBe(at(50));
    await add(52, '2');
    expect(await since()).toBe(at(52));
    // A primary that does not answer ends nothing before the gap is too long.
    await log.add([sampleOf('orders', 53, false)]);
    await add(54, '2');
    expect(await since()).toBe(at(52));
  });

  test('keep the busiest moment since the last checkpoint, however long ago that was', async () => {
    const log = await SampleLog.open(control);
    const step = 18; // seconds
    const burstAt = 3_600;
    for (let seconds = 0; seconds <= 4 * 3_600; seconds += step) {
      const sample = sampleOf('orders', seconds / INTERVAL_SECONDS);
      const bytes = (sample.primary?.bytes ?? 0) + (seconds >= burstAt ? 100_000 : 0);
      const checkpointAt = iso(seconds >= burstAt ? burstAt - 1 : -1);
      await log.add([{ ...sample, primary: sample.primary && { ...sample.primary, bytes, checkpointAt } }]);
    }
    await log.save();
    const samples = (await readSamples(control))['orders'] ?? [];
    expect(samples.map(({ takenAt }) => takenAt)).toContain(iso(burstAt));
    expect(samples.length).toBeLessThanOrEqual(64);
    const bound = estimateLoss('orders', samples, stateAt(0), iso(4 * 3_600), () => 1);
    expect(bound.growth.bytesPerSecond).toBeCloseTo(BYTES_PER_SECOND + 100_000 / step);
  });

  test('are none where nothing was ever watched', async () => {
    expect(await readSamples(control)).toEqual({});
  });

  test.each([
    '',
    '[]',
    '{"orders":[{"takenAt":"2026-11',
    '{"orders":[{"store":"orders","takenAt":"?"}]}',
    '{"orders":7}',
  ])('that are damaged (%j) are none for the watch, which says so and replaces them', async (damaged) => {
    await control.put(layout.samples(), Buffer.from(damaged));
    await expect(readSamples(control)).rejects.toThrow(
      /samples\/replication\.json in .* is damaged, and the next look replaces it/,
    );
    const log = await SampleLog.open(control);
    expect(log.problem).toMatch(/is damaged/);
    for (let round = 0; round < 5; round += 1) await log.add(roundOf(round));
    expect(Object.keys(await readSamples(control))).toEqual(STORES);
    expect((await SampleLog.open(control)).problem).toBeNull();
  });
});
