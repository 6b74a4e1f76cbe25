import type { RetentionPolicy } from '../../core/retention/policy';
import { countOf, randomOf, seededRandom, seedsOfRounds } from '../support/random';
import { Model } from '../support/retention/model';
import { type Habits, SimStore } from '../support/retention/world';

/** Retention over years of simulated backups, judged by a model that shares nothing with the planner but the policy. */
const [HOUR, DAY] = [3_600, 86_400];
const START = Date.parse('2026-01-01T00:00:00Z') / 1_000;
const tiers = (days: number | null) => {
  const seconds = days === null ? null : days * DAY;
  return { local: 0, cloud: seconds === null ? DAY : Math.min(seconds, DAY), archive: seconds };
};

/** The table of the strategy. */
const STRATEGY: RetentionPolicy = {
  databaseFull: tiers(7 * 365),
  databaseIncremental: tiers(365),
  transactionLogs: tiers(93),
  files: tiers(365),
  configuration: tiers(null),
};

const DATABASE: Habits = {
  fullEvery: DAY,
  fullKind: 'databaseFull',
  incrementalEvery: 4 * HOUR,
  pieceSeconds: HOUR,
  hasLog: true,
  gaps: 1 / 5_000,
  promotions: 1 / 100,
  missedBackups: 1 / 50,
};
const WITHOUT_LOG = { ...DATABASE, incrementalEvery: 0, hasLog: false };

test('the schedules of the strategy, over years: nothing promised is lost, nothing expired is left for longer than a day', () => {
  const random = seededRandom('retention over years');
  const days = countOf('STEPS', 60);
  // Fewer days than the strategy's seven years: as much shorter is everything that is kept.
  const scale = Math.min(1, days / (7 * 365 + 90));
  const shorter = ({ local, cloud, archive }: RetentionPolicy['files']) => ({
    local,
    cloud,
    archive: archive === null ? null : Math.max(2 * DAY, Math.round((archive * scale) / DAY) * DAY),
  });
  const policy = Object.fromEntries(
    Object.entries(STRATEGY).map(([kind, each]) => [kind, shorter(each)]),
  ) as unknown as RetentionPolicy;
  const stores = [
    new SimStore('orders-db', DATABASE, random, START),
    new SimStore('events', { ...DATABASE, incrementalEvery: 0 }, random, START),
    new SimStore('assets', { ...WITHOUT_LOG, fullKind: 'files' }, random, START),
    new SimStore('settings', { ...WITHOUT_LOG, fullEvery: 7 * DAY, fullKind: 'configuration' }, random, START),
  ];
  for (let day = 1; day <= days; day += 1) {
    const now = START + day * DAY + 30 * 60;
    for (const store of stores) {
      store.advance(now);
      store.sweep(store.plan(now, policy));
      const instants = [0.999_99, 0.9, random.integer(1_000_000) / 1e6, random.integer(1_000_000) / 1e6];
      // A look at every object takes long: all days count, and what is left stays there until one is looked at.
      const judged =
        day % 5 === 0 || day === days
          ? new Model(store, policy).judge(now, instants, day % 25 === 0 || day === days)
          : null;
      expect({ day, ...(judged ?? { lost: [], left: [] }) }).toEqual({ day, lost: [], left: [] });
    }
  }
  for (const { name, backups, everBackups } of stores) {
    const isForEver = name === 'settings';
    expect({ name, less: backups.size < everBackups.length }).toEqual({ name, less: !isForEver });
  }
});

test('a store that is lost keeps what leads to its last state, and what its log goes on behind', () => {
  const policy = { ...STRATEGY, databaseFull: tiers(30), databaseIncremental: tiers(3), transactionLogs: tiers(2) };
  const habits = { ...DATABASE, fullEvery: 7 * DAY, incrementalEvery: 0, gaps: 0, promotions: 0, missedBackups: 0 };
  const store = new SimStore('orders', habits, seededRandom('a silent store'), START);
  const model = new Model(store, policy);
  store.advance(START + 12 * DAY);
  for (let day = 13; day <= 40; day += 1) {
    const now = START + day * DAY;
    store.sweep(store.plan(now, policy));
    expect({ day, ...model.judge(now, [0.5], true) }).toEqual({ day, lost: [], left: [] });
  }
  // It is written to again: nothing is missing between.
  store.fallSilent(START + 40 * DAY);
  store.advance(START + 40 * DAY + 5 * HOUR);
  const now = START + 40 * DAY + 6 * HOUR;
  store.sweep(store.plan(now, policy));
  expect(model.judge(now, [0.01, 0.05, 0.999], true)).toEqual({ lost: [], left: [] });
});

test.each(seedsOfRounds(3))('any policy, any habits, sweeps that die (seed %i)', (seed) => {
  const random = randomOf(seed);
  const days = (most: number) => tiers(random.integer(8) === 0 ? null : 1 + random.integer(most));
  const policy: RetentionPolicy = {
    databaseFull: days(20),
    databaseIncremental: days(8),
    transactionLogs: days(12),
    files: days(9),
    configuration: days(30),
  };
  const habits: Habits = {
    fullEvery: random.pick([6 * HOUR, DAY, 3 * DAY]),
    fullKind: 'databaseFull',
    incrementalEvery: random.pick([0, HOUR, 4 * HOUR]),
    pieceSeconds: random.pick([600, HOUR]),
    hasLog: random.integer(5) > 0,
    gaps: random.pick([0, 1 / 500, 1 / 50]),
    promotions: random.pick([0, 1 / 10, 1 / 2]),
    missedBackups: random.pick([0, 1 / 20, 1 / 3]),
  };
  const silent = random.pick([0, 0, 10]);
  const store = new SimStore('orders', habits, random, START);
  const model = new Model(store, policy);
  const runs = 40;
  let now = START;
  for (let run = 1; run <= runs; run += 1) {
    now += 6 * HOUR + random.integer(12 * HOUR);
    if (silent > 0 && random.integer(silent) === 0) store.fallSilent((now += random.integer(20) * DAY));
    store.advance(now);
    if (random.integer(6) === 0) hold(store, random.pick([...store.backups.keys()]));
    if (random.integer(6) === 0) store.holds.pop();
    const instants = [0.999_99, ...Array.from({ length: 8 }, () => random.integer(1_000_000) / 1e6)];
    // Every third sweep dies somewhere: what it promised holds all the same, and the next one ends it.
    store.sweep(store.plan(now, policy), random.integer(3) === 0 ? random.integer(10) : 0);
    expect({ run, lost: model.judge(now, instants, false).lost }).toEqual({ run, lost: [] });
    store.sweep(store.plan(now, policy));
    expect({ run, policy, habits, ...model.judge(now, instants, true) }).toEqual({
      run,
      policy,
      habits,
      lost: [],
      left: [],
    });
  }
});

function hold(store: SimStore, backupId: string | undefined): void {
  if (backupId === undefined) return;
  store.holds.push({ store: store.name, backupId, by: 'sam', reason: 'a look', at: '2026-01-01T00:00:00Z' });
}
