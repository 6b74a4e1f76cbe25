import type { ActivityDeps } from '../../activities/deps';
import { createReadinessActivities } from '../../activities/readiness';
import type { StoreProbe } from '../../core/engine';
import { failure } from '../../core/errors';
import type { FenceOutlook } from '../../core/fencing';
import { layout } from '../../core/layout';
import {
  check,
  readinessScore,
  type ReadinessCheck,
  type ReadinessState,
  verdictOf,
  whatToTell,
} from '../../core/readiness';
import {
  judgeAnswers,
  judgeApprovers,
  judgeFence,
  judgeHistory,
  judgeLoss,
  judgeMajority,
  judgeObstacles,
  judgeRecord,
  judgeService,
  judgeStandby,
} from '../../core/readiness-judgements';
import type { LossEstimate } from '../../core/replication';
import { readinessLines } from '../../starters/readiness';
import { inActivity } from '../support/in-activity';
import { shop } from '../support/shop-application';

const position = { engine: 'postgresql', lineage: '7361/1', value: '0/3000148' };

const probe = (site: string, more: Partial<StoreProbe> = {}): StoreProbe => ({
  site,
  at: '2026-11-22T13:00:00.000Z',
  reachable: true,
  role: 'replica',
  writable: false,
  identity: '7361',
  serverVersion: '18.6',
  position,
  problems: [],
  ...more,
});

const silent = (site: string) =>
  probe(site, {
    reachable: false,
    role: 'unknown',
    writable: null,
    identity: null,
    position: null,
    problems: ['no answer'],
  });

/** State and what was found. */
const seen = ([state, found]: readonly [ReadinessState, string, ...unknown[]]) => [state, found];

const stateOf = ([state]: readonly [ReadinessState, ...unknown[]]) => state;

test('a standby is one that follows: not a silent one, not one of its own, not one that cannot be asked', () => {
  expect(judgeStandby(false, probe('dr'))).toEqual(['ok', 'it follows', null]);
  expect(seen(judgeStandby(false, silent('dr')))).toEqual(['failing', 'it does not answer (no answer)']);
  expect(stateOf(judgeStandby(false, probe('dr', { role: 'standalone', writable: true })))).toBe('failing');
  expect(stateOf(judgeStandby(false, probe('dr', { writable: true })))).toBe('failing');
  expect(seen(judgeStandby(false, probe('dr', { role: 'unknown', problems: ['the password is wrong'] })))).toEqual([
    'failing',
    'it answers, and nothing of it can be seen (the password is wrong)',
  ]);
  // Members that elect their primary themselves may have one there.
  const leading = probe('dr', { role: 'primary', writable: true });
  expect([true, false].map((elects) => stateOf(judgeStandby(elects, leading)))).toEqual(['ok', 'failing']);
});

test('the history is the same cluster and timeline, and unknown where a side is not seen', () => {
  const primary = probe('primary', { role: 'primary', writable: true });
  expect(stateOf(judgeHistory(primary, probe('dr')))).toBe('ok');
  expect(seen(judgeHistory(primary, probe('dr', { identity: '99' })))).toEqual([
    'failing',
    'dr is of 99, primary of 7361',
  ]);
  const older = probe('dr', { position: { ...position, lineage: '7361/0' } });
  expect(seen(judgeHistory(primary, older))).toEqual(['failing', 'dr is on 7361/0, primary writes 7361/1']);
  expect(seen(judgeHistory(silent('primary'), probe('dr')))).toEqual(['unknown', 'primary: no answer']);
  expect(stateOf(judgeHistory(primary, probe('dr', { position: null })))).toBe('unknown');
});

const loss = (more: Partial<LossEstimate>): LossEstimate => ({
  store: 'orders',
  certainty: 'bound',
  bytes: 0,
  operations: 0,
  seconds: 2.5,
  measuredAt: '2026-11-22T13:05:00.000Z',
  sampleAgeSeconds: 2,
  growth: { bytesPerSecond: null, operationsPerSecond: null },
  basis: 'as the test says',
  ...more,
});

test('a loss that is not known is no small loss', () => {
  expect(judgeLoss(loss({}), 900)).toEqual(['ok', 'at most 2.5 s now, objective 15m 0s', null]);
  expect(stateOf(judgeLoss(loss({ seconds: 901 }), 900))).toBe('failing');
  expect(stateOf(judgeLoss(loss({ sampleAgeSeconds: 61, seconds: 61 }), 900))).toBe('warning');
  expect(stateOf(judgeLoss(loss({ seconds: null }), 900))).toBe('warning');
  expect(seen(judgeLoss(loss({ certainty: 'unknown', seconds: null }), 900))).toEqual(['unknown', 'as the test says']);
});

test('a name is ready when the zone has the record and every authoritative server answers it', () => {
  const [target] = shop.dns;
  if (!target) throw new Error('the shop has a name');
  const record = { name: target.name, type: target.type, ttlSeconds: 60, values: ['10.0.1.100'] };
  expect(stateOf(judgeRecord(target, 'primary', record))).toBe('ok');
  expect(stateOf(judgeRecord(target, 'primary', null))).toBe('warning');
  expect(seen(judgeRecord(target, 'primary', { ...record, values: ['10.0.9.9'] }))).toEqual([
    'warning',
    'the zone has 10.0.9.9, the config 10.0.1.100 for primary',
  ]);
  expect(seen(judgeRecord(target, 'primary', { ...record, ttlSeconds: 3_600 }))).toEqual([
    'warning',
    'its TTL is 1h 0m, the config says 1m 0s',
  ]);
  const answer = (server: string, values: string[], problem: string | null = null) => ({
    server,
    values,
    ttlSeconds: 60,
    problem,
  });
  const right = answer('ns1', ['10.0.1.100']);
  expect(stateOf(judgeAnswers(target, 'primary', [right, right]))).toBe('ok');
  expect(stateOf(judgeAnswers(target, 'primary', []))).toBe('failing');
  expect(seen(judgeAnswers(target, 'primary', [right, answer('ns2', [], 'no answer within 2 s')]))).toEqual([
    'failing',
    'ns2: no answer within 2 s',
  ]);
  expect(seen(judgeAnswers(target, 'primary', [right, answer('ns2', ['10.0.9.9'])]))).toEqual([
    'warning',
    'ns2 answers 10.0.9.9',
  ]);
});

test('approvers, services, promotions and fences', () => {
  expect(stateOf(judgeObstacles([], 5, 5))).toBe('ok');
  expect(seen(judgeObstacles(['drctl may not promote'], 6, 5))).toEqual([
    'failing',
    'drctl may not promote; it holds epoch 6, a failover would be 5',
  ]);
  expect(stateOf(judgeMajority(null))).toBe('ok');
  expect(judgeMajority('1 of 3 votes answer')).toEqual([
    'warning',
    '1 of 3 votes answer',
    expect.stringMatching(/attests a forced reconfiguration .* also what a majority had acknowledged/),
  ]);
  const approvers = (names: string[], requesterMayApprove = false) =>
    judgeApprovers({ ...shop.failover, approvers: names, requesterMayApprove });
  expect(stateOf(approvers(['dana', 'erin']))).toBe('ok');
  expect(approvers(['dana', 'dana'])[2]).toBe('nobody could approve while dana is away, or when dana asks for it');
  expect(stateOf(approvers(['dana'], true))).toBe('warning');
  expect(stateOf(approvers([]))).toBe('warning');
  const service = { site: 'dr', service: 'auth', settled: true };
  expect(stateOf(judgeService({ ...service, desiredReplicas: 0, readyReplicas: 0 }, 3))).toBe('ok');
  expect(stateOf(judgeService({ ...service, desiredReplicas: 3, readyReplicas: 1 }, 3))).toBe('warning');
  expect(judgeFence('agent', 'dr', null)).toEqual(['ok', 'the agent answers', null]);
  expect(seen(judgeFence('agent', 'dr', 3))).toEqual(['failing', 'dr itself is fenced since epoch 3']);
});

const checks = (...states: ReadinessState[]): ReadinessCheck[] =>
  states.map((state, index) => check(`c${index}`, `check ${index}`, [state, 'seen', state === 'ok' ? null : 'bad']));

test('100 is said only where everything holds, and what is not seen is not ready', () => {
  const judged = (...states: ReadinessState[]) => [readinessScore(checks(...states)), verdictOf(checks(...states))];
  expect(judged('ok', 'ok')).toEqual([100, 'ready']);
  expect(judged(...Array<ReadinessState>(200).fill('ok'), 'warning')).toEqual([99, 'ready']);
  expect(judged('ok', 'failing')).toEqual([50, 'not ready']);
  expect(judged('ok', 'unknown')).toEqual([50, 'not ready']);
  expect(judged()).toEqual([0, 'not ready']);
});

test('people hear of another alarm at once, of the same one on another day, and of its end', () => {
  const [morning, evening, tomorrow] = ['2026-11-22T08:00:00Z', '2026-11-22T20:00:00Z', '2026-11-23T08:00:00Z'];
  const told = { ids: ['c0'], at: morning };
  expect(whatToTell(checks('ok', 'warning'), null, morning)).toBeNull();
  expect(whatToTell(checks('failing'), null, morning)).toBe('alarm');
  expect(whatToTell(checks('failing'), told, evening)).toBeNull();
  expect(whatToTell(checks('failing', 'unknown'), told, evening)).toBe('alarm');
  expect(whatToTell(checks('failing'), told, tomorrow)).toBe('alarm');
  expect(whatToTell(checks('ok'), told, evening)).toBe('relief');
});

test('a person sees the worst first, each with what it would mean', () => {
  const result = { application: 'shop', fromSite: 'primary', toSite: 'dr', at: '2026-11-22T13:00:00Z' };
  const four = checks('ok', 'warning', 'unknown', 'failing');
  expect(readinessLines({ ...result, verdict: 'not ready', score: 37, checks: four })).toEqual([
    'dr is NOT READY to take over: 37 of 100 (1 would fail, 1 cannot be seen, 1 to mend, 1 hold)',
    ...['  ✘ check 3: seen', '      on the day: bad', '  ? check 2: seen', '      on the day: bad'],
    ...['  ! check 1: seen', '      on the day: bad', '  ✔ check 0: seen'],
  ]);
});

const outlook = (more: Partial<FenceOutlook> = {}): FenceOutlook => ({
  ...{ strength: 'weak', how: 'read-only', lacking: [], handOverLacks: [] },
  ...more,
});

/** The shop as a worker has it open; each part can be replaced by one that fails. */
function readinessOf(parts: Record<string, unknown>, planned = false) {
  const objects = new Map<string, Buffer>();
  const control = {
    name: 'offsite',
    location: '/offsite',
    put: async (key: string, body: Buffer) => void objects.set(key, body),
    read: async (key: string) => objects.get(key) ?? Promise.reject(failure('NotFound', `no ${key}`)),
  };
  const engine = (store: string) => ({
    probe: async (site: string) => (site === 'dr' ? probe(site) : probe(site, { role: 'primary', writable: true })),
    positions: { compare: () => 0 },
    replication:
      store === 'assets'
        ? null
        : {
            electsItself: false,
            state: async () => null,
            obstacles: async () => [],
            epoch: async () => 1,
            fenceOutlook: async () => outlook(),
          },
  });
  const open = {
    application: shop,
    engine,
    control,
    epochs: { current: async () => ({ epoch: 1 }) },
    catalog: () => ({ list: async () => [{}] }),
    services: {
      rehearse: async (site: string, service: string) => ({ site, service, desiredReplicas: 0, readyReplicas: 0 }),
    },
    zone: { record: async () => ({ ttlSeconds: 60, values: ['10.0.1.100'] }), rehearse: async () => undefined },
    probe: { authoritative: async () => [{ server: 'ns1', values: ['10.0.1.100'], ttlSeconds: 60, problem: null }] },
    siteFence: { kind: 'agent', check: async () => ({ fencedByEpoch: null }) },
    notifiers: [{ name: 'pager' }],
    ...parts,
  };
  const activities = createReadinessActivities({ open: () => open } as unknown as ActivityDeps);
  const input = { application: 'shop', fromSite: 'primary', toSite: 'dr', ...(planned ? { planned } : {}) };
  const run = (name: 'checkStandbys' | 'checkTraffic' | 'checkControl') => inActivity(() => activities[name](input));
  const notHolding = async (name: Parameters<typeof run>[0]) =>
    (await run(name)).filter(({ state }) => state !== 'ok').map(({ id, state, found }) => [id, state, found]);
  return { run, notHolding, objects, engine, control };
}

test('each store, service, name and repository is looked at, and the control repository is written to', async () => {
  const world = readinessOf({});
  const ids = async (name: Parameters<typeof world.run>[0]) => (await world.run(name)).map(({ id }) => id);
  const stores = ['orders', 'events', 'sessions'];
  expect(await ids('checkStandbys')).toEqual([
    ...stores.flatMap((store) =>
      ['standby', 'history', 'promotion', 'loss', 'setup', 'store-fence', 'hand-over'].map((id) => `${id}:${store}`),
    ),
    'files:assets',
  ]);
  expect(await ids('checkTraffic')).toEqual([
    ...['auth', 'order', 'cart'].map((name) => `service:${name}`),
    'old-services',
    ...['dns:api.shop.test', 'name-servers:api.shop.test'],
  ]);
  expect(await ids('checkControl')).toEqual([
    ...['approvers', 'channels', 'fence', 'control-repository'],
    ...[...stores, 'assets'].map((store) => `backups:${store}`),
  ]);
  expect([...world.objects.keys()]).toEqual([layout.writeCheck('dr')]);
  // Nobody has sampled the replication in this world.
  expect(await world.notHolding('checkStandbys')).toEqual(
    stores.map((store) => [`loss:${store}`, 'unknown', 'the primary was never sampled']),
  );
  expect([await world.notHolding('checkTraffic'), await world.notHolding('checkControl')]).toEqual([[], []]);
});

test('a store whose members elect by themselves is asked for its majority without the other site', async () => {
  const { engine } = readinessOf({});
  const electing = (store: string) => {
    const plain = engine(store);
    const mustForce = async (site: string, lostSite: string) => `${site} without ${lostSite}: 1 of 3 votes`;
    return store === 'events' ? { ...plain, replication: { ...plain.replication, mustForce } } : plain;
  };
  const world = readinessOf({ engine: electing });
  const found = (await world.notHolding('checkStandbys')).filter(([id]) => String(id).startsWith('majority:'));
  expect(found).toEqual([['majority:events', 'warning', 'dr without primary: 1 of 3 votes']]);
});

test('what throws is what was found, and the others are seen all the same', async () => {
  const refused = async () => Promise.reject(failure('AccessDenied', 'the token is wrong'));
  const world = readinessOf({ services: { rehearse: refused }, siteFence: { kind: 'agent', check: refused } });
  const services = ['auth', 'order', 'cart'];
  expect(await world.notHolding('checkTraffic')).toEqual([
    ...services.map((name) => [`service:${name}`, 'failing', 'the token is wrong']),
    ['old-services', 'warning', services.map((name) => `${name}: the token is wrong`).join('; ')],
  ]);
  expect(await world.notHolding('checkControl')).toEqual([['fence', 'failing', 'the token is wrong']]);

  const { control, engine } = readinessOf({});
  const closed = readinessOf({ control: { ...control, put: refused } });
  expect(await closed.notHolding('checkControl')).toEqual([['control-repository', 'failing', 'the token is wrong']]);

  const broken = readinessOf({
    engine: (store: string) =>
      store === 'orders'
        ? { ...engine(store), probe: async (site: string) => (site === 'dr' ? silent(site) : probe(site)) }
        : engine(store),
  });
  const found = (await broken.notHolding('checkStandbys')).filter(([id]) => String(id).endsWith(':orders'));
  expect(found).toEqual([
    ['standby:orders', 'failing', 'it does not answer (no answer)'],
    ['history:orders', 'unknown', 'dr: no answer'],
    ['loss:orders', 'unknown', 'the primary was never sampled'],
  ]);
});

test('what the old primary and its services let be done to them is found beforehand; only a switchover fails by it', async () => {
  const { engine, run } = readinessOf({});
  expect((await run('checkStandbys')).find(({ id }) => id === 'store-fence:orders')?.found).toMatch(
    /the agent is what/,
  );
  const denied = outlook({ lacking: ['GRANT pg_signal_backend'], handOverLacks: ['GRANT pg_checkpoint'] });
  const parts = (fenceOutlook: () => Promise<unknown>) => ({
    engine: (store: string) => {
      const plain = engine(store);
      return store === 'orders' ? { ...plain, replication: { ...plain.replication, fenceOutlook } } : plain;
    },
    services: {
      rehearse: async (site: string, service: string) =>
        site === 'primary' && service === 'cart'
          ? Promise.reject(failure('AccessDenied', 'may not scale it'))
          : { site, service, desiredReplicas: 0, readyReplicas: 0 },
    },
  });
  const about = async (world: ReturnType<typeof readinessOf>) =>
    [...(await world.notHolding('checkStandbys')), ...(await world.notHolding('checkTraffic'))].filter(
      ([id]) => !String(id).startsWith('loss:'),
    );
  const lacking = parts(async () => denied);
  const found = (state: ReadinessState) => [
    ['store-fence:orders', 'warning', 'weak: GRANT pg_signal_backend'],
    ['hand-over:orders', state, 'GRANT pg_checkpoint'],
    ['old-services', state, 'cart: may not scale it'],
  ];
  expect(await about(readinessOf(lacking))).toEqual(found('warning'));
  expect(await about(readinessOf(lacking, true))).toEqual(found('failing'));
  const silentOne = parts(async () => Promise.reject(failure('TargetUnreachable', 'no answer')));
  const [fence, ...others] = await about(readinessOf({ ...silentOne, siteFence: null }));
  expect([fence, others.map(([id]) => id)]).toEqual([
    ['store-fence:orders', 'warning', 'no answer'],
    ['store-fence:events', 'store-fence:sessions', 'old-services'],
  ]);
});

test('files that are missing where the services would start are told, and a store that the config does not have there is not', async () => {
  const { engine } = readinessOf({});
  const filesAt = (answer: () => Promise<StoreProbe>) =>
    readinessOf({
      engine: (store: string) => (store === 'assets' ? { ...engine(store), probe: answer } : engine(store)),
    });
  const about = async (world: ReturnType<typeof readinessOf>) =>
    (await world.run('checkStandbys'))
      .filter(({ id }) => id === 'files:assets')
      .map(({ state, found }) => [state, found]);
  const problems = ['/opt/shop does not exist on dr-1'];
  expect(await about(filesAt(async () => probe('dr', { reachable: false, problems })))).toEqual([
    ['warning', problems[0]],
  ]);
  expect(await about(filesAt(async () => Promise.reject(failure('NotFound', 'it has no site dr'))))).toEqual([]);
  expect(await about(filesAt(async () => Promise.reject(new Error('broken'))))).toEqual([['unknown', 'broken']]);
});

test('a config without a fence, services or a name says what that means', async () => {
  const bare = readinessOf({
    application: { ...shop, dns: [] },
    services: null,
    zone: null,
    siteFence: null,
    notifiers: [],
  });
  expect(await bare.run('checkTraffic')).toEqual([]);
  expect((await bare.notHolding('checkControl')).map(([id, state]) => [id, state])).toEqual([
    ['channels', 'warning'],
    ['fence', 'warning'],
  ]);
});
