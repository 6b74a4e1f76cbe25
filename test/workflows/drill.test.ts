import { randomUUID } from 'node:crypto';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { DRILL_STAGES } from '../../core/drill';
import type { DrillInput, DrillResult, DrillStatus, LaunchDrillResult } from '../../core/drill-runs';
import { failure, findFailure } from '../../core/errors';
import { taskQueues, workflowIds } from '../../core/names';
import { thawPlan } from '../../core/thaw';
import { DRILL_QUEUES, fakeDrillWorld as worldWith, type FakeDrillWorld } from '../support/fake-drill';
import { follow } from '../support/follow';
import { countOf } from '../support/random';
import { shop } from '../support/shop-application';
import { timeSkippingEnvironment, withWorkers, workflowBundle } from '../support/workflow-environment';
import { waitUntil } from '../../lab/servers/process';

let env: TestWorkflowEnvironment;
beforeAll(async () => {
  [env] = await Promise.all([timeSkippingEnvironment(), workflowBundle()]);
}, 120_000);
afterAll(() => env?.teardown());

/** By the clock of the server, which jumps. */
const fakeDrillWorld = () => worldWith(async () => new Date(await env.currentTimeMs()));

type Drill = (input: DrillInput) => Promise<DrillResult>;

const start = (input: Partial<DrillInput> = {}) =>
  env.client.workflow.start<Drill>('drill', {
    taskQueue: taskQueues.workflows,
    workflowId: workflowIds.drill(shop.name),
    args: [{ application: shop.name, requestedBy: 'sam', ...input }],
  });

/** One that failed has an error; its report says the rest. */
async function held(world: FakeDrillWorld, input: Partial<DrillInput> = {}) {
  return withWorkers(env, world.activities, DRILL_QUEUES, async () => (await start(input)).result());
}

const states = ({ stages }: Pick<DrillResult, 'stages'>) =>
  Object.fromEntries(stages.map(({ stage, state }) => [stage, state]));
const all = (state: string) => Object.fromEntries(DRILL_STAGES.map((stage) => [stage, state]));
const after = (world: FakeDrillWorld, one: string, other: string) =>
  expect(world.calls.indexOf(one)).toBeGreaterThan(world.calls.indexOf(other));

test('five stages and the validator, in isolation; nothing is left, and the report says all of it', async () => {
  const world = fakeDrillWorld();
  const result = await held(world, { reason: 'the monthly one' });
  expect(states(result)).toEqual(all('held'));
  expect(result).toMatchObject({ outcome: 'completed', verdict: 'achieved', site: 'dr', remains: [] });
  expect([...world.there]).toEqual([]);
  // The isolation is proven before the first service starts, and the files, which no service asks, go at once.
  after(world, 'startInBubble:auth', 'tryConnections');
  after(world, 'startInBubble:order', 'startInBubble:auth');
  after(world, 'openBubble', 'discardRestore:assets');
  expect(world.calls.filter((call) => /^pointDrillName/.test(call))).toEqual([
    'pointDrillName:before',
    'pointDrillName:values',
  ]);
  expect(world.calls.filter((call) => /^killTarget/.test(call))).toEqual([
    'killTarget:database',
    'killTarget:service',
    'killTarget:standby',
  ]);
  const [report] = world.reports;
  expect(report).toMatchObject({
    ...{ kind: 'drill', verdict: 'achieved', requestReason: 'the monthly one', warnings: [] },
    drill: {
      isolation: { production: [{ connected: false }, { connected: false }] },
      speeds: [{ p95Milliseconds: 40, baselineMilliseconds: 50, verdict: null }],
      recoveries: [{ name: 'database', component: 'the copy of orders' }, {}, { component: 'sessions at dr' }],
    },
  });
  expect(world.news.map(({ severity, title }) => [severity, title])).toEqual([
    ['info', 'Drill of shop begins at dr'],
    ['info', 'Drill of shop: completed'],
  ]);
}, 60_000);

test('production that can be reached stops the application before it starts, and what builds on it is not tried', async () => {
  const world = fakeDrillWorld();
  world.open.add('10.0.1.10:5432');
  const result = await held(world);
  expect(states(result)).toMatchObject({ network: 'held', application: 'failed', performance: 'failed' });
  expect(result.stages.find(({ stage }) => stage === 'application')?.note).toBe(
    'production can be reached from the bubble: 10.0.1.10:5432',
  );
  expect(world.calls.filter((call) => /^(startInBubble|measureSpeed)/.test(call))).toEqual([]);
  expect(result).toMatchObject({ verdict: 'failed', remains: [] });
  expect(world.news.at(-1)).toMatchObject({ severity: 'critical' });
}, 60_000);

test('a drill waits for no archive: that the newest cannot be had at once is what it is to find', async () => {
  const world = fakeDrillWorld();
  const { planRestores } = world.activities;
  const many = { objects: 40, sizeBytes: 2 ** 30 };
  const look = { byClass: { GLACIER: many }, readable: { objects: 0, sizeBytes: 0 }, asked: many, readableUntil: null };
  world.activities.planRestores = async (input) => {
    const planned = await planRestores!(input);
    if (input.stores[0] !== 'orders') return planned;
    const thaw = thawPlan(look, { tier: 'bulk', days: 7 });
    return { ...planned, plans: planned.plans.map((plan) => ({ ...plan, thaw })) };
  };
  const result = await held(world);
  expect(states(result)).toMatchObject({ integrity: 'held', recovery: 'failed' });
  expect(result.warnings[0]).toMatch(/^Partial recovery: orders: orders cannot be read at once: 40 objects/);
  expect(world.calls).not.toContain('rebuildStore:orders');
  expect([...world.there]).toEqual([]);
}, 60_000);

test('a store that does not come back fails its stage; the others are tried, and the copies go', async () => {
  const world = fakeDrillWorld();
  const { rebuildStore } = world.activities;
  world.activities.rebuildStore = async (input) => {
    const elsewhere = await rebuildStore!(input);
    if (input.store === 'events') throw failure('BackupCorrupt', 'vol-00001 differs');
    return elsewhere;
  };
  const result = await held(world);
  expect(states(result)).toMatchObject({
    integrity: 'held',
    recovery: 'failed',
    network: 'held',
    application: 'failed',
  });
  expect(result.warnings[0]).toBe('Partial recovery: events: vol-00001 differs');
  expect(world.calls.filter((call) => /^openStore/.test(call)).slice(0, 3)).toEqual(
    ['orders', 'sessions', 'assets'].map((store) => `openStore:${store}`),
  );
  expect([...world.there]).toEqual([]);
  expect(world.reports[0]?.stores[1]).toMatchObject({ store: 'events', results: [{ state: 'failed' }, {}] });
}, 60_000);

test('too slow, or not back in time: told with the numbers', async () => {
  const world = fakeDrillWorld();
  world.p95Milliseconds = 120;
  world.dead.add('standby');
  const result = await held(world);
  expect(states(result)).toMatchObject({ application: 'held', performance: 'failed', validator: 'failed' });
  expect(result.warnings.join('\n')).toMatch(/p95 is 120 ms, more than 2 times the 50 ms of earlier drills/);
  expect(result.warnings.join('\n')).toMatch(/standby \(sessions at dr\): not healthy again: not reachable/);
  expect(result.recoveries.map(({ seconds }) => seconds === null)).toEqual([false, false, true]);
}, 60_000);

test('what cannot be taken away is named, and the rest goes all the same; a public record that changed is told', async () => {
  const world = fakeDrillWorld();
  world.before['withdrawDrillName'] = () => {
    world.production = ['api.shop.test A: 10.9.9.9'];
    throw failure('AccessDenied', 'the zone refuses to remove it');
  };
  const result = await held(world);
  expect(result).toMatchObject({ verdict: 'attention', remains: ['name'] });
  expect(result.warnings).toEqual([
    'the isolated name could not be removed: the zone refuses to remove it',
    'public records changed while the drill ran: api.shop.test A: 10.9.9.9',
    'left behind: name',
  ]);
  expect(world.news.at(-1)).toMatchObject({
    severity: 'warning',
    lines: expect.arrayContaining(['left behind: name']),
  });
}, 60_000);

test('without a bubble and a name the drill is held as far as it goes, and says what it did not rehearse', async () => {
  const world = fakeDrillWorld();
  const { describeApplication } = world.activities;
  world.activities.describeApplication = async (input) => {
    const found = await describeApplication!(input);
    const drill = { ...shop.drill, name: null, bubble: null, targets: [], tellPeople: false };
    return { ...found, application: { ...shop, drill } };
  };
  const result = await held(world, { without: ['integrity'] });
  const out = 'left out';
  expect(states(result)).toEqual({ ...all(out), recovery: 'held' });
  expect(result).toMatchObject({
    verdict: 'attention',
    because: expect.stringMatching(/1 of 1 stages held; not rehearsed/),
  });
  // Nobody is told of each drill; one that somebody has to look at is another matter.
  expect(world.news.map(({ title }) => title)).toEqual(['Drill of shop: completed']);
}, 60_000);

/** Where a drill can be stopped: the activity that it is in, or has just begun to make something by. */
const MOMENTS = [
  ...['readStore', 'rebuildStore', 'openStore', 'pointDrillName', 'openBubble', 'tryConnections', 'startInBubble'],
  ...['requestInDrill', 'measureSpeed', 'killTarget', 'awaitTarget'],
];
const WAYS = ['aborted', 'cancelled'] as const;
/** Every day one way each, and both by `npm run test:deep -- kills`. */
const STOPS = MOMENTS.flatMap((moment, index) =>
  (countOf('KILLS', 1) > 1 ? WAYS : [WAYS[index % 2]!]).map((how) => [moment, how] as const),
);

test.each(STOPS)(
  'stopped in %s (%s): nothing of it is left, and its report says so',
  async (moment, how) => {
    const world = fakeDrillWorld();
    const stage = stopIn(world, moment);
    await withWorkers(env, world.activities, DRILL_QUEUES, async () => {
      const handle = await start();
      await stage;
      await (how === 'cancelled'
        ? handle.cancel()
        : handle.signal('abort', { by: 'dana', reason: 'the disk is needed' }));
      const ended = await handle.result().then(
        ({ outcome, verdict }) => ({ outcome, verdict }),
        (error: Error) => ({
          outcome: /cancel/i.test(error.message) ? 'cancelled' : error.message,
          verdict: 'unchanged',
        }),
      );
      expect(ended).toEqual({ outcome: how, verdict: 'unchanged' });
      expect((await handle.query<DrillStatus>('status')).outcome).toBe(how);
    });
    expect([...world.there]).toEqual([]);
    expect(world.reports).toMatchObject([{ outcome: how, verdict: 'unchanged', drill: { remains: [] } }]);
    expect(world.reports[0]?.drill?.stages).toHaveLength(DRILL_STAGES.length);
  },
  60_000,
);

/** Makes the first activity of the name wait for its cancellation; resolves when it has begun. */
function stopIn(world: FakeDrillWorld, moment: string): Promise<void> {
  return new Promise((resolve) => {
    world.before[moment] = async () => {
      delete world.before[moment];
      resolve();
      await follow();
    };
  });
}

test('a role change that begins ends the drill, and does not wait for it', async () => {
  const world = fakeDrillWorld();
  const stage = stopIn(world, 'measureSpeed');
  await withWorkers(env, world.activities, DRILL_QUEUES, async () => {
    const handle = await start();
    await stage;
    const roleChange = await env.client.workflow.start('failOver', {
      taskQueue: taskQueues.workflows,
      workflowId: workflowIds.roleChange(shop.name),
      args: [{ application: shop.name, toSite: 'primary', requestedBy: 'sam', reason: 'the site is gone' }],
    });
    const result = await handle.result();
    expect(result).toMatchObject({ outcome: 'aborted', because: 'aborted by role-change:shop: a failover has begun' });
    await roleChange.terminate();
  });
  expect([...world.there]).toEqual([]);
}, 60_000);

test('beside a role change none begins: nothing is made, and people hear of it', async () => {
  const world = fakeDrillWorld();
  world.before['requireNoRoleChange'] = () => {
    throw failure('LockHeld', 'a role change of shop is under way');
  };
  const error = await held(world).catch((caught: unknown) => caught);
  expect(findFailure(error)?.code).toBe('LockHeld');
  expect(world.calls).toEqual(['requireNoRoleChange']);
  expect(world.news).toMatchObject([{ title: 'Drill of shop could not begin', severity: 'warning' }]);
}, 60_000);

test('a schedule holds it under its own id, and skips while one runs', async () => {
  const world = fakeDrillWorld();
  const stage = stopIn(world, 'measureSpeed');
  const launch = () =>
    env.client.workflow.start<(input: DrillInput) => Promise<LaunchDrillResult>>('launchDrill', {
      taskQueue: taskQueues.workflows,
      workflowId: randomUUID(),
      args: [{ application: shop.name, requestedBy: 'schedule drill' }],
    });
  await withWorkers(env, world.activities, DRILL_QUEUES, async () => {
    const first = await launch();
    await stage;
    expect(await (await launch()).result()).toEqual({ drill: null });
    const child = env.client.workflow.getHandle(workflowIds.drill(shop.name));
    await waitUntil('the drill running', async () => (await child.describe()).status.name === 'RUNNING');
    await first.cancel();
    await expect(first.result()).rejects.toThrow(/cancel/i);
  });
  expect([...world.there]).toEqual([]);
}, 60_000);
