import type { LossEstimate } from '../../core/replication';
import { boundOf } from '../support/consistency/bound';
import { violations } from '../support/consistency/checker';
import type { Operation, Read, RoleChangeFacts, StoreFacts, Transfer, Write } from '../support/consistency/history';

/**
 * The checker of test/e2e/consistency.test.ts: a history of a failover that kept every promise, and what happens when one
 * thing of it is otherwise. Times in milliseconds: the old primary is fenced at 1,000, the new one acknowledges from 1,500 on.
 */
const STORE = 'orders-db';
const [OLD, NEW] = ['primary', 'dr'];

type Common = Partial<Pick<Operation, 'client' | 'site' | 'outcome' | 'endedAtMs'>> & { logBytes?: number };

const at = (invokedAtMs: number, common: Common) => ({
  client: 'a',
  store: STORE,
  invokedAtMs,
  endedAtMs: invokedAtMs + 10,
  outcome: 'ok' as const,
  site: invokedAtMs < 1_250 ? OLD : NEW,
  ...common,
});
const write = (invokedAtMs: number, value: number, common: Common = {}): Write => ({
  ...at(invokedAtMs, common),
  kind: 'write',
  register: 'a',
  value,
});
const read = (invokedAtMs: number, value: number, common: Common = {}): Read => ({
  ...at(invokedAtMs, { client: 'b', ...common }),
  kind: 'read',
  register: 'a',
  value,
});
const transfer = (invokedAtMs: number, id: string, amount: number, common: Common = {}): Transfer => ({
  ...at(invokedAtMs, common),
  ...{ kind: 'transfer', id, from: 0, to: 1, amount },
});
const balances = (invokedAtMs: number, ...all: number[]): Operation => ({
  ...at(invokedAtMs, {}),
  kind: 'balances',
  balances: all,
});

/** Value 4 and transfer t2 were acknowledged and are lost, 5 is of unknown fate and is not there, 6 is. */
function goodHistory(): Operation[] {
  return [
    read(10, 0),
    write(100, 1),
    transfer(120, 't1', 5),
    read(200, 1),
    balances(210, 5, 15),
    write(300, 2),
    write(400, 3, { outcome: 'fail' }),
    write(900, 4, { logBytes: 1_300 }),
    transfer(920, 't2', 1, { logBytes: 1_400 }),
    read(950, 4),
    write(980, 5, { outcome: 'unknown', endedAtMs: 2_980 }),
    write(1_100, 6, { outcome: 'fail' }),
    read(1_490, 2),
    write(1_500, 7),
    read(1_520, 7),
    transfer(1_540, 't3', 2),
    transfer(1_560, 't4', 2, { outcome: 'fail' }),
    balances(1_580, 3, 17),
    write(1_700, 8, { outcome: 'unknown', endedAtMs: 3_700 }),
    write(1_800, 9, { endedAtMs: 1_820 }),
    read(1_900, 8),
  ];
}

const store: StoreFacts = {
  accounts: [10, 10],
  electsItself: false,
  bound: { operations: 2, seconds: 0.02, bytes: 400 },
  takenOverAtBytes: 1_000,
  survivors: {
    balances: [3, 17],
    transfers: [
      { id: 't1', from: 0, to: 1, amount: 5 },
      { id: 't3', from: 0, to: 1, amount: 2 },
    ],
    writes: { a: [1, 2, 7, 9, 8] },
  },
};
const facts: RoleChangeFacts = {
  fromSite: 'primary',
  toSite: 'dr',
  promoted: true,
  fencedAtMs: 1_000,
  stores: { [STORE]: store },
};

const withStore = (changed: Partial<StoreFacts>): RoleChangeFacts => ({
  ...facts,
  stores: { [STORE]: { ...store, ...changed } },
});
const withSurvivors = (changed: Partial<StoreFacts['survivors']>) =>
  withStore({ survivors: { ...store.survivors, ...changed } });
const rulesOf = (history: readonly Operation[], of = facts) => violations(history, of).map(({ rule }) => rule);

test('a history that keeps every promise has no violation', () => {
  expect(violations(goodHistory(), facts)).toEqual([]);
});

test.each<[string, Operation[], string[]]>([
  [
    'the old primary acknowledges a write that was sent after the new one had acknowledged one',
    [write(1_600, 10, { site: OLD })],
    ['two primaries', 'write after the fence', 'loss', 'loss'],
  ],
  [
    'it does so before it is fenced, because the new one was promoted too early',
    [transfer(800, 't0', 1, { site: NEW }), write(850, 2.5, { site: OLD })],
    ['two primaries', 'two primaries', 'two primaries', 'loss', 'loss', 'loss'],
  ],
  [
    'the old primary acknowledges a write after its fence',
    [write(1_200, 3.5, { site: OLD })],
    ['write after the fence', 'loss', 'loss'],
  ],
  ['money is made', [balances(1_590, 4, 17)], ['total']],
  ['money is overdrawn', [balances(1_590, -1, 21)], ['total']],
  ['an account is missing', [balances(1_590, 20)], ['total']],
  ['a value that nobody wrote', [read(1_590, 77)], ['value from nowhere']],
  ['a value before it was written', [read(1_400, 7, { site: NEW })], ['value from nowhere', 'stale read']],
  ['a value whose write was refused', [read(1_490, 3)], ['effect of a failure']],
  ['the new primary forgets what it acknowledged', [read(1_600, 2)], ['stale read']],
  ['the old primary forgets what it acknowledged', [read(350, 1)], ['stale read']],
  ['a read is behind an earlier one', [read(1_410, 1), read(1_400, 2, { endedAtMs: 1_405 })], ['stale read']],
  ['the old primary still answers reads', [read(1_600, 4, { site: OLD })], ['stale read']],
])('%s', (_, operations, rules) => {
  expect(rulesOf([...goodHistory(), ...operations]).toSorted()).toEqual(rules.toSorted());
});

test.each<[string, RoleChangeFacts, string[]]>([
  ['more operations are lost than were priced', withStore({ bound: { ...store.bound, operations: 1 } }), ['loss']],
  ['more seconds are lost than were priced', withStore({ bound: { ...store.bound, seconds: 0.019 } }), ['loss']],
  ['more bytes are lost than were priced', withStore({ bound: { ...store.bound, bytes: 399 } }), ['loss']],
  ['nothing was priced', withStore({ bound: { operations: 0, seconds: 0, bytes: 0 } }), ['loss', 'loss', 'loss']],
  ['a loss where a majority acknowledges', withStore({ electsItself: true }), ['loss', 'loss', 'stale read']],
  ['a loss where nothing was promoted', { ...facts, promoted: false }, ['loss', 'loss']],
  ['the new primary loses what it acknowledged', withSurvivors({ writes: { a: [1, 2, 9, 8] } }), ['loss']],
  [
    'an older write is lost, a newer one is not',
    withSurvivors({ writes: { a: [2, 7, 9, 8] } }),
    ['loss', 'loss', 'hole'],
  ],
  ['a refused write survived', withSurvivors({ writes: { a: [1, 2, 3, 7, 9, 8] } }), ['effect of a failure']],
  ['a value from nowhere survived', withSurvivors({ writes: { a: [1, 2, 77, 7, 9, 8] } }), ['value from nowhere']],
  ['a write was done twice', withSurvivors({ writes: { a: [1, 2, 2, 7, 9, 8] } }), ['written twice']],
  ['acknowledged writes changed places', withSurvivors({ writes: { a: [2, 1, 7, 9, 8] } }), ['order']],
  ['the balances are not those of the transfers', withSurvivors({ balances: [4, 16] }), ['total']],
  [
    'a transfer was carried out with another amount',
    withSurvivors({
      balances: [2, 18],
      transfers: [
        { id: 't1', from: 0, to: 1, amount: 6 },
        { id: 't3', from: 0, to: 1, amount: 2 },
      ],
    }),
    ['value from nowhere'],
  ],
  [
    'a refused transfer was carried out',
    withSurvivors({
      balances: [1, 19],
      transfers: [...store.survivors.transfers, { id: 't4', from: 0, to: 1, amount: 2 }],
    }),
    ['effect of a failure'],
  ],
])('%s', (_, changed, rules) => {
  expect(rulesOf(goodHistory(), changed).toSorted()).toEqual(rules.toSorted());
});

test('what is not known bounds nothing, and an election may give the lead back', () => {
  const unknown = { operations: null, seconds: null, bytes: null };
  expect(rulesOf(goodHistory(), withStore({ bound: unknown }))).toEqual([]);
  const elected = withStore({
    electsItself: true,
    survivors: {
      ...store.survivors,
      writes: { a: [1, 2] },
      balances: [5, 15],
      transfers: store.survivors.transfers.slice(0, 1),
    },
  });
  const backAndForth = [write(100, 1), transfer(120, 't1', 5), write(300, 2, { site: NEW }), read(900, 2)];
  expect(violations(backAndForth, { ...elected, fencedAtMs: null })).toEqual([]);
  expect(rulesOf([...backAndForth, read(950, 1)], elected)).toEqual(['stale read']);
});

test('a violation names the operation, its client, its site and its times', () => {
  const [found] = violations([...goodHistory(), read(1_600, 2)], facts);
  expect(found).toEqual({
    rule: 'stale read',
    store: STORE,
    what: expect.stringMatching(
      /^read a = 2 by b at dr, 00:00:01\.600 to 00:00:01\.610: ok, after write a = 7 by a at dr/,
    ) as string,
  });
});

test('a bound counts as the card showed it, and grows for as long as the old primary went on writing', () => {
  const loss: LossEstimate = {
    ...{ store: STORE, certainty: 'bound', bytes: 1_000, operations: 20, seconds: 3, sampleAgeSeconds: 2, basis: '' },
    growth: { bytesPerSecond: 100, operationsPerSecond: null },
    measuredAt: new Date(60_000).toISOString(),
  };
  expect(boundOf(loss, 50_000)).toEqual({ bytes: 1_000, operations: 20, seconds: 3 });
  expect(boundOf(loss, 64_000)).toEqual({ bytes: 1_400, operations: null, seconds: 7 });
  const unknown = { bytes: null, operations: null, seconds: null };
  expect(boundOf({ ...loss, certainty: 'unknown' }, 50_000)).toEqual(unknown);
  expect(boundOf(undefined, 50_000)).toEqual(unknown);
});
