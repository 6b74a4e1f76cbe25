import { toLifecycle, toThaw } from '../../config/lifecycle';
import { loadConfig } from '../../config/load';
import { toRetention } from '../../config/retention';
import { type AgingStore, dangersOf } from '../../core/lifecycle/dangers';
import { harmOf } from '../../core/lifecycle/foreign-rules';
import { isOurs, type LifecycleRule, type LifecycleSettings, ruleId, sameRule } from '../../core/lifecycle/rules';
import { rulesOf, wantedLifecycle } from '../../core/lifecycle/wanted';
import type { RetentionPolicy } from '../../core/retention/policy';
import {
  expectedSeconds,
  type FrozenLook,
  isThawed,
  thawNote,
  thawPlan,
  thawProgress,
  tierFor,
  untilNextLook,
} from '../../core/thaw';

const config = loadConfig('config/examples/ultramarket.yaml');
const { policy } = toRetention(config);
const strategy = toLifecycle(config) as LifecycleSettings;
const [DAY, GIB] = [86_400, 2 ** 30];

const kindOf = (settings: LifecycleSettings, kind: string, of: RetentionPolicy = policy) =>
  wantedLifecycle(settings, of, 'STANDARD').kinds.find((each) => each.kind === kind);

describe('the rules', () => {
  test('the strategy: each kind of data by what retention keeps of it and promises at once', () => {
    const { kinds, problems } = wantedLifecycle(strategy, policy, 'STANDARD');
    expect(problems).toEqual([]);
    const moves = kinds.map(({ kind, moves: all, expireDays }) => [
      kind,
      all.map(({ days, storageClass }) => `${storageClass} ${days}`).join(', '),
      expireDays,
    ]);
    expect(moves).toEqual([
      // A month behind retention, which keeps them for 2555 days.
      ['full', 'STANDARD_IA 30, GLACIER 90, DEEP_ARCHIVE 365', 2_585],
      // Deleted after a year: half a year of DEEP_ARCHIVE would be paid for nothing.
      ['incr', 'STANDARD_IA 30, GLACIER 90', 2_555],
      ['files', 'STANDARD_IA 30, GLACIER 90', 2_555],
      // Readable at once for a year, kept for ever.
      ['config', 'STANDARD_IA 30, DEEP_ARCHIVE 365', null],
    ]);
    expect(kinds.find(({ kind }) => kind === 'config')?.notes).toEqual([
      'not to GLACIER: it moves on to DEEP_ARCHIVE too soon after `cloud` is over',
      'never expires: retention keeps it, or what needs it, for ever',
    ]);
  });

  test('only the data of backups is in them: catalogue, keys, log and proofs stay where they can be read', () => {
    const rules = rulesOf(
      'shop/',
      wantedLifecycle(strategy, policy, 'STANDARD'),
      { orphansAfterSeconds: 3 * DAY },
      false,
    );
    expect(rules.map(({ id, prefix }) => [id, prefix])).toEqual([
      ['drctl:shop/full', 'shop/data/full/'],
      ['drctl:shop/incr', 'shop/data/incr/'],
      ['drctl:shop/files', 'shop/data/files/'],
      ['drctl:shop/config', 'shop/data/config/'],
      ['drctl:shop/uploads', 'shop/'],
    ]);
    expect(rules.at(-1)).toMatchObject({ moves: [], expires: null, abortUploadsDays: 7 });
    expect(rules[0]?.largerThanBytes).toBeNull();
    const small = rulesOf('shop/', wantedLifecycle(strategy, policy, 'STANDARD'), { orphansAfterSeconds: DAY }, true);
    expect(small[0]?.largerThanBytes).toBe(131_072);
  });

  const move = (afterDays: number, storageClass: LifecycleSettings['transitions'][number]['storageClass']) => ({
    afterDays,
    storageClass,
  });
  test.each<[string, LifecycleSettings, RegExp]>([
    [
      'an expiry before the end of what retention keeps',
      { transitions: [], expireAfterDays: 365 },
      /delete data\/full\/ after 365 days, and retention.databaseFull keeps them for 2555/,
    ],
    [
      'infrequent access before S3 takes it',
      { transitions: [move(7, 'STANDARD_IA')], expireAfterDays: null },
      /STANDARD_IA after 7 days: S3 moves nothing there before 30/,
    ],
    [
      'on to the archive before 30 days of infrequent access',
      { transitions: [move(30, 'STANDARD_IA'), move(45, 'GLACIER')], expireAfterDays: null },
      /GLACIER after 45 days: of STANDARD_IA 30 days are paid for, so that 60 is the least/,
    ],
    [
      'out of a class before its minimum is over',
      { transitions: [move(90, 'GLACIER'), move(120, 'DEEP_ARCHIVE')], expireAfterDays: null },
      /DEEP_ARCHIVE after 120 days: of GLACIER 90 days are paid for, so that 180 is the least/,
    ],
    [
      'back up',
      { transitions: [move(30, 'GLACIER'), move(90, 'GLACIER_IR')], expireAfterDays: null },
      /GLACIER_IR comes after GLACIER/,
    ],
    [
      'a move of what has expired',
      { transitions: [move(3_000, 'GLACIER')], expireAfterDays: 2_600 },
      /when everything has expired/,
    ],
  ])('%s is a problem', (_, settings, said) => {
    expect(wantedLifecycle(settings, policy, 'STANDARD').problems.join('\n')).toMatch(said);
  });

  test('an expiry that tears a full away from what builds on it is a problem', () => {
    const short: RetentionPolicy = { ...policy, databaseFull: { local: 0, cloud: 30 * DAY, archive: 30 * DAY } };
    const { problems } = wantedLifecycle(
      { transitions: [], expireAfterDays: 366 },
      { ...short, files: short.databaseFull },
      'STANDARD',
    );
    expect(problems).toEqual([]);
    const torn = wantedLifecycle({ transitions: [], expireAfterDays: 100 }, short, 'STANDARD').problems;
    expect(torn[0]).toMatch(
      /data\/full\/ after 100 days, and what builds on them.* is kept for 365: a chain would be torn/,
    );
  });

  test('what begins in a class does not move to it, and born frozen is a problem', () => {
    const infrequent = wantedLifecycle(strategy, policy, 'STANDARD_IA');
    expect(infrequent.kinds[0]).toMatchObject({
      moves: [{ storageClass: 'GLACIER' }, { storageClass: 'DEEP_ARCHIVE' }],
    });
    expect(infrequent.problems).toEqual([]);
    expect(wantedLifecycle(strategy, policy, 'GLACIER').problems.join()).toMatch(
      /every backup would have to be asked back/,
    );
  });

  test('what is promised at once for ever never moves to an archive class', () => {
    const forever = { ...policy, files: { local: 0, cloud: null, archive: null } };
    expect(kindOf(strategy, 'files', forever)).toMatchObject({
      moves: [{ storageClass: 'STANDARD_IA' }],
      expireDays: null,
    });
  });

  test('rules are known by their ids, whatever else shares the bucket', () => {
    expect(isOurs('shop/', { id: ruleId('shop/', 'full') })).toBe(true);
    for (const id of [ruleId('shop/eu/', 'full'), ruleId('shop-2/', 'full'), 'UltraMarketBackupLifecycle', ''])
      expect({ id, ours: isOurs('shop/', { id }) }).toEqual({ id, ours: false });
    const [rule] = rulesOf('shop/', wantedLifecycle(strategy, policy, 'STANDARD'), { orphansAfterSeconds: DAY }, false);
    expect(sameRule(rule!, { ...rule!, moves: rule!.moves.toReversed() })).toBe(true);
    expect(sameRule(rule!, { ...rule!, isEnabled: false })).toBe(false);
  });
});

const foreign = (changes: Partial<LifecycleRule>): LifecycleRule => ({
  ...{ id: 'theirs', isEnabled: true, prefix: '', largerThanBytes: null, isByTag: false, moves: [], expires: null },
  ...{ abortUploadsDays: null, others: [], ...changes },
});

test.each<[string, Partial<LifecycleRule>, RegExp | null]>([
  ['expiry of the whole bucket', { expires: { days: 2_555 } }, /the whole bucket\) deletes after 2555 days/],
  ['expiry within our data, sooner', { prefix: 'shop/data/full/orders/', expires: { days: 30 } }, /deletes after 30/],
  ['expiry of our data, later than ours', { prefix: 'shop/data/full/', expires: { days: 4_000 } }, null],
  [
    'an archive class for manifests',
    { prefix: 'shop/', moves: [{ days: 90, storageClass: 'GLACIER' }] },
    /moves to GLACIER/,
  ],
  ['infrequent access for all', { moves: [{ days: 60, storageClass: 'STANDARD_IA' }] }, null],
  ['something else', { prefix: 'logs/', expires: { days: 1 } }, null],
  ['another application', { prefix: 'shop-2/', expires: { days: 1 } }, null],
  ['objects with a tag', { isByTag: true, expires: { days: 1 } }, null],
  ['one that is off', { isEnabled: false, expires: { days: 1 } }, null],
  ['old versions', { others: ['NoncurrentVersionExpiration'] }, null],
  ['uploads given up at once', { abortUploadsDays: 1 }, /aborts uploads after 1 days/],
])("somebody else's rule: %s", (_, changes, said) => {
  const { kinds } = wantedLifecycle(strategy, policy, 'STANDARD');
  expect(harmOf(foreign(changes), 'shop/', kinds).join('\n')).toMatch(said ?? /^$/);
});

describe('backups that are there', () => {
  const NOW = Date.parse('2026-11-22T12:00:00Z');
  const { kinds } = wantedLifecycle(strategy, policy, 'STANDARD');
  const idOf = (ageDays: number, type: 'full' | 'incr') => {
    const at = new Date(NOW - ageDays * DAY * 1_000).toISOString();
    return `${at.slice(0, 10).replaceAll('-', '')}T020000Z-${type}-0000000${type === 'full' ? 'a' : 'b'}`;
  };
  const backup = (ageDays: number, type: 'full' | 'incr' = 'full', parent: string | null = null) => ({
    ...{ backupId: idOf(ageDays, type), kind: type, parent },
    committedAt: NOW - ageDays * DAY * 1_000,
  });
  type Reason = AgingStore['plan']['backups'][number]['keptFor'][number];
  const storeOf = (backups: AgingStore['backups'], keptFor: Reason = { why: 'age', until: null }): AgingStore => ({
    ...{ store: 'orders', backups, newestMaxAgeSeconds: 25 * 3_600 },
    plan: {
      newest: backups.at(-1)?.backupId ?? null,
      backups: backups.map(({ backupId }) => ({ backupId, storedBytes: 1, keptFor: [keptFor], deletableSince: null })),
    },
  });
  const dangers = (store: AgingStore, of = kinds) => dangersOf(store, of, policy, { now: NOW, rtoSeconds: 4 * 3_600 });

  test('those of the strategy are in no danger', () => {
    const chain = [backup(2_500), backup(400), backup(6), backup(1)];
    expect(dangers(storeOf([...chain, backup(0.9, 'incr', chain[3]!.backupId)]))).toEqual([]);
  });

  test('a hold that S3 knows nothing of', () => {
    const held = storeOf([backup(2_580), backup(1)], { why: 'hold', by: 'sam', reason: 'audit' });
    expect(dangers(held)).toEqual([
      expect.stringMatching(/-full-0000000a of orders would be deleted on 2026-11-2\d, and it is on hold/),
    ]);
  });

  test('the newest of a store that nobody has backed up for three months would freeze', () => {
    expect(dangers(storeOf([backup(89.5)]))).toEqual([
      expect.stringMatching(
        /moves to GLACIER on .*may be the newest of its store then.*wait up to 5h 0m for it \(RTO 4h 0m\)/,
      ),
    ]);
  });

  test('a full that an increment needs at once, however old the full is', () => {
    const full = backup(95);
    const child = backup(2, 'incr', full.backupId);
    const [danger] = dangers(storeOf([full, child, backup(1)]));
    expect(danger).toMatch(
      new RegExp(
        `${full.backupId} of orders moves to GLACIER on .*, and ${child.backupId}, which builds on it, is promised`,
      ),
    );
  });

  test('a full that goes before the increment on it', () => {
    const full = backup(360);
    const child = backup(2, 'incr', full.backupId);
    const short = kinds.map((each) => (each.kind === 'full' ? { ...each, moves: [], expireDays: 400 } : each));
    expect(dangers(storeOf([full, child, backup(1)]), short).join('\n')).toMatch(
      /-full-0000000a of orders would be deleted on/,
    );
  });
});

describe('asking back', () => {
  const look = (readable: number, asked: number): FrozenLook => ({
    byClass: { GLACIER: { objects: 40, sizeBytes: 100 * GIB } },
    readable: { objects: readable, sizeBytes: (readable / 40) * 100 * GIB },
    asked: { objects: asked, sizeBytes: 0 },
    readableUntil: readable > 0 ? '2026-11-30T00:00:00.000Z' : null,
  });

  test('a person is told how long and for what price beforehand', () => {
    const plan = thawPlan(look(0, 0), toThaw(config));
    expect(plan).toMatchObject({ tier: 'standard', days: 7, expectedSeconds: 5 * 3_600 });
    expect(thawNote(plan)).toBe(
      '40 objects (100.0 GiB) lie in GLACIER and are asked back first (standard): that takes up to 5h 0m and costs about $1.54 (list price of us-east-1); the copies stay for 7 days',
    );
    // What was asked for already is paid.
    expect(thawPlan(look(10, 30), toThaw(config)).costDollars).toBe(0);
    expect(thawNote(thawPlan(look(40, 0), toThaw(config)))).toMatch(
      /copies of all of them can be read until 2026-11-30/,
    );
  });

  test('what is there, and how long it takes', () => {
    expect(isThawed(null)).toBe(true);
    expect(isThawed(look(39, 1))).toBe(false);
    expect(isThawed(look(40, 0))).toBe(true);
    expect(thawProgress(look(10, 30))).toBe('10 of 40 objects can be read (25.0 GiB of 100.0 GiB)');
    expect(tierFor('DEEP_ARCHIVE', 'expedited')).toBe('standard');
    expect(expectedSeconds(['GLACIER', 'DEEP_ARCHIVE'], 'bulk')).toBe(48 * 3_600);
    const looks = Array.from({ length: 60 }, (_, n) => untilNextLook(n));
    expect(looks.slice(0, 3)).toEqual([60, 120, 240]);
    expect(Math.max(...looks)).toBe(3_600);
    expect(looks.reduce((sum, each) => sum + each, 0)).toBeGreaterThan(48 * 3_600);
  });
});
