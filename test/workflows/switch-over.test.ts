import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { failure, findFailure } from '../../core/errors';
import { workflowIds } from '../../core/names';
import { planSwitchover } from '../../core/plan-switchover';
import type { PlannedStep, RoleChangePlan } from '../../core/role-change-plan';
import type { FailOverStatus } from '../../core/role-change-runs';
import { type RoleChangeHandle as Handle, waitingFor, withRoleChange } from '../support/driven-role-change';
import { type FakeWorld, healthyWorld } from '../support/fake-failover';
import { follow } from '../support/follow';
import { shop } from '../support/shop-application';
import { localEnvironment } from '../support/workflow-environment';

let env: TestWorkflowEnvironment;
beforeAll(async () => {
  env = await localEnvironment();
}, 120_000);
afterAll(() => env?.teardown());

const SITES = { fromSite: 'primary', toSite: 'dr', epoch: 0 };
const planned = planSwitchover(shop, SITES, null);
const stepsOf = ({ groups }: RoleChangePlan): PlannedStep[] => groups.flatMap(({ steps }) => steps);
const names = (steps: readonly { readonly id: string; readonly title: string }[]) =>
  steps.map(({ id, title }) => [id, title]);

/** The site's fence is there for what PostgreSQL cannot prove. */
function worldWithin(withinSeconds: number, lowerTtlToSeconds: number | null = null): FakeWorld {
  const world = healthyWorld();
  const switchover = { ...shop.failover.switchover, withinSeconds, lowerTtlToSeconds };
  const application = { ...shop, failover: { ...shop.failover, switchover } };
  const describeApplication = world.activities.describeApplication!;
  world.activities.describeApplication = async (input) => ({ ...(await describeApplication(input)), application });
  return world;
}

const withSwitchover = (world: FakeWorld, drive: (handle: Handle) => Promise<void>) =>
  withRoleChange(env, 'switchOver', world, drive);

async function approved(handle: Handle): Promise<void> {
  await waitingFor(handle, /approval/);
  await handle.executeUpdate('approve', { args: [{ by: 'dana' }] });
}

const failureOf = (handle: Handle) =>
  handle.result().then(
    () => null,
    (error: unknown) => findFailure(error),
  );

const UNDONE = [
  'giveBackEpoch:primary',
  'unfenceSite:primary',
  'unfenceStore:sessions',
  'unfenceStore:events',
  'unfenceStore:orders',
  // As many as there were, not as many as the config says; what did not run stays down.
  'startService:primary/order 7',
  'startService:primary/auth 2',
  'awaitAtWork:primary',
];

const undone = (world: FakeWorld) =>
  world.calls.slice(world.calls.indexOf('giveBackEpoch:primary')).filter((call) => !/^(notify|storeReport)/.test(call));

test('runs the runbook in its order after an approval, and proves for every store that nothing was lost', async () => {
  const world = healthyWorld();
  await withSwitchover(world, async (handle) => {
    const { kind, card } = await waitingFor(handle, /approval/);
    expect({ kind, losses: card?.losses, planned: card?.planned }).toEqual({
      kind: 'switchover',
      losses: [],
      planned: { withinSeconds: 120 },
    });
    expect(card?.evidence.join()).toMatch(/orders: dr had everything of orders within 0.1 s/);
    expect(world.calls.toSorted()).toEqual(['measureCatchUp', 'probeSite:dr', 'probeSite:primary']);
    await approved(handle);
    const result = await handle.result();
    expect(result).toMatchObject({
      outcome: 'completed',
      epoch: 1,
      approvedBy: 'dana',
      fromSite: 'primary',
      toSite: 'dr',
    });
    expect(result.switchover?.handOvers.map(({ store }) => store)).toEqual(['orders', 'events', 'sessions']);
    expect(result.switchover?.following.map(({ store, follows }) => [store, follows])).toEqual([
      ['orders', false],
      ['events', true],
      ['sessions', true],
    ]);
    expect(result.switchover?.outageSeconds).toBeGreaterThan(0);
    // What was planned is what ran, in its order and under its names; `cart` did not run, so that it was not stopped.
    expect(names(result.steps)).toEqual(names(stepsOf(planned).filter(({ id }) => id !== 'stop:cart')));
    expect(stepsOf(planned).find(({ id }) => id === 'stop:cart')?.onlyWhere).toBe('it runs there');
    await expect(handle.query('plan')).resolves.toEqual(planned);
    const first = (name: string) => world.calls.findIndex((call) => call.startsWith(name));
    const order = [
      'takeEpoch:dr',
      'stopService',
      'handOverStore',
      // Only the store that could not prove it: the others stay up and follow.
      'fenceSite:primary/orders',
      'promoteStore',
      'startService',
      'pointDns',
      'verifyEndpoint',
      'followNewPrimary',
      'archiveLog:dr',
    ].map(first);
    expect(order).not.toContain(-1);
    expect(order).toEqual(order.toSorted((a, b) => a - b));
    expect(world.calls.filter((call) => call.startsWith('stopService')).toSorted()).toEqual([
      'stopService:auth',
      'stopService:order',
    ]);
    expect(world.calls.filter((call) => /^(unfence|giveBack|awaitAtWork)/.test(call))).toEqual([]);
    expect((await handle.query<FailOverStatus>('status')).messages.join()).toMatch(
      /orders has no standby at primary yet/,
    );
  });
});

test('a server that its host shuts down cleanly is confirmed to its last record, and started again as the standby', async () => {
  const world = healthyWorld();
  world.shutsDown = true;
  await withSwitchover(world, async (handle) => {
    await approved(handle);
    const { switchover } = await handle.result();
    const orders = switchover?.handOvers.find(({ store }) => store === 'orders');
    expect([orders?.final.value, orders?.reached.value]).toEqual(['43', '44']);
    expect(switchover?.following.map(({ follows }) => follows)).toEqual([true, true, true]);
    const order = [
      'fenceSite:primary/orders',
      'confirmEnd:orders',
      // Another standby may be behind what the token was read from.
      'chooseServer:orders with 44',
      'promoteStore:orders',
      'followNewPrimary:orders',
      'followMembers:orders',
    ];
    const found = order.map((call) => world.calls.findIndex((each) => each.startsWith(call)));
    expect(found).not.toContain(-1);
    expect(found).toEqual(found.toSorted((a, b) => a - b));
    expect(world.calls.filter((call) => call.startsWith('confirmEnd'))).toEqual(['confirmEnd:orders']);
  });
});

test.each([
  ['the active site is not well', (world: FakeWorld) => void (world.verdict = { alive: true, healthy: false })],
  ['a standby does not answer', (world: FakeWorld) => void world.standbysGone.add('events')],
  [
    'the size of a service cannot be seen',
    (world: FakeWorld) => void (world.servedBefore = { ...world.servedBefore, unseenServices: ['cart'] }),
  ],
  [
    'a standby is behind',
    (world: FakeWorld) =>
      void (world.before['measureCatchUp'] = () => {
        throw failure('SwitchoverRefused', 'orders at dr cannot take over');
      }),
  ],
])('refuses and changes nothing where %s', async (_, trouble) => {
  const world = healthyWorld();
  trouble(world);
  await withSwitchover(world, async (handle) => {
    expect(await failureOf(handle)).toMatchObject({ code: 'SwitchoverRefused' });
    expect(world.calls.filter((call) => !/^(probeSite|measureCatchUp|notify|storeReport)/.test(call))).toEqual([]);
    expect(world.epoch).toBeNull();
  });
});

test('a site that became ill while people thought is found out before anything is changed', async () => {
  const world = healthyWorld();
  await withSwitchover(world, async (handle) => {
    await waitingFor(handle, /approval/);
    world.standbysGone.add('sessions');
    await handle.executeUpdate('approve', { args: [{ by: 'dana' }] });
    expect(await failureOf(handle)).toMatchObject({ code: 'SwitchoverRefused' });
    expect(world.calls.filter((call) => /epoch|stop|handOver|fence/i.test(call))).toEqual([]);
  });
});

test('rejected, it ends without a change', async () => {
  const world = healthyWorld();
  await withSwitchover(world, async (handle) => {
    await waitingFor(handle, /approval/);
    await handle.executeUpdate('reject', { args: [{ by: 'dana', reason: 'not on a Friday' }] });
    await expect(handle.result()).resolves.toMatchObject({ outcome: 'rejected', epoch: null });
    expect(world.calls.filter((call) => /epoch|stop|handOver|fence/i.test(call))).toEqual([]);
  });
});

test('an abort before the promotion takes everything back, with as many services as there were', async () => {
  const world = healthyWorld();
  world.siteFence = 'none';
  await withSwitchover(world, async (handle) => {
    await approved(handle);
    const status = await waitingFor(handle, /not proven to be fenced for orders/);
    expect(status.accepts).toEqual(['retry', 'attest', 'abort', 'pause']);
    await handle.executeUpdate('abort', { args: [{ by: 'dana', reason: 'enough' }] });
    await expect(handle.result()).resolves.toMatchObject({ outcome: 'aborted' });
    expect(world.epoch).toMatchObject({ activeSite: 'primary', epoch: 2 });
    expect(undone(world)).toEqual(UNDONE);
    expect(world.calls.filter((call) => call.startsWith('promoteStore'))).toEqual([]);
    const { steps } = await handle.query<FailOverStatus>('status');
    const undoOf = stepsOf(planned).flatMap(({ undo }) => (undo && undo.id !== 'undo:service:cart' ? [undo.id] : []));
    expect(steps.flatMap(({ id }) => (id.startsWith('undo:') ? [id] : [])).toSorted()).toEqual(undoOf.toSorted());
  });
});

test('without a fence of the site a named person may vouch for the store that cannot prove it', async () => {
  const world = healthyWorld();
  world.siteFence = 'none';
  await withSwitchover(world, async (handle) => {
    await approved(handle);
    await waitingFor(handle, /not proven to be fenced for orders/);
    await handle.executeUpdate('attest', { args: [{ by: 'erin', reason: 'its port is closed' }] });
    const result = await handle.result();
    expect(result.outcome).toBe('completed');
    expect(result.evidence).toContainEqual(expect.objectContaining({ strength: 'attested', by: 'erin' }));
  });
});

test('past its limit it takes everything back, a store that hangs in its hand-over included', async () => {
  const world = worldWithin(2);
  const handOverStore = world.activities.handOverStore!;
  world.activities.handOverStore = async (input) => (input.store === 'events' ? follow() : handOverStore(input));
  world.before['unfenceSite'] = () => {
    throw new Error('nothing was fenced at its host');
  };
  await withSwitchover(world, async (handle) => {
    await approved(handle);
    expect(await failureOf(handle)).toMatchObject({
      code: 'SwitchoverTimedOut',
      message: expect.stringMatching(/after 2 s, in the middle of "End the writes of events/) as string,
    });
    expect(undone(world)).toEqual(UNDONE.filter((call) => !call.startsWith('unfenceSite')));
    const status = await handle.query<FailOverStatus>('status');
    expect(status).toMatchObject({ outcome: 'rolled back', waitingFor: null, accepts: [] });
    expect(world.calls.filter((call) => call.startsWith('promoteStore'))).toEqual([]);
  });
});

test('past its limit it does not wait for the person whom it asks', async () => {
  const world = worldWithin(2);
  world.before['handOverStore'] = () => {
    throw failure('AccessDenied', 'pg_checkpoint is missing');
  };
  await withSwitchover(world, async (handle) => {
    await approved(handle);
    await waitingFor(handle, /pg_checkpoint is missing/);
    expect(await failureOf(handle)).toMatchObject({ code: 'SwitchoverTimedOut' });
    expect(undone(world)).toEqual(UNDONE.filter((call) => !call.startsWith('unfenceSite')));
    expect(await handle.query<FailOverStatus>('status')).toMatchObject({ waitingFor: null, accepts: [] });
  });
});

test('nothing is unfenced where a store at the other side is seen to take writes', async () => {
  const world = healthyWorld();
  world.siteFence = 'none';
  await withSwitchover(world, async (handle) => {
    await approved(handle);
    await waitingFor(handle, /not proven to be fenced for orders/);
    world.promoted.add('orders');
    await handle.executeUpdate('abort', { args: [{ by: 'dana', reason: 'enough' }] });
    await expect(handle.result()).resolves.toMatchObject({
      outcome: 'undo incomplete',
      reason: expect.stringMatching(/orders at dr may have been promoted.*primary stays fenced/) as string,
    });
    expect(world.calls.filter((call) => /^unfence/.test(call))).toEqual([]);
  });
});

test('after the promotion there is no abort: a step that fails waits for a decision, and a standby may be left for later', async () => {
  const world = healthyWorld();
  world.before['followNewPrimary'] = () => {
    throw failure('AccessDenied', 'REPLICAOF is not allowed');
  };
  await withSwitchover(world, async (handle) => {
    await approved(handle);
    const status = await waitingFor(handle, /Make sessions at primary the standby/);
    expect(status.accepts).toEqual(['retry', 'skip', 'pause']);
    for (const store of ['orders', 'events', 'sessions'])
      await handle.executeUpdate('skip', { args: [{ by: 'dana', reason: 'later', step: `follow:${store}` }] });
    await expect(handle.result()).resolves.toMatchObject({ outcome: 'completed', switchover: { following: [] } });
  });
});

test('TTLs are lowered before people are asked and come back when the names have settled, or when nothing was moved', async () => {
  const moved = worldWithin(120, 5);
  await withSwitchover(moved, async (handle) => {
    const { card } = await waitingFor(handle, /approval/);
    expect(card?.evidence.join()).toContain('api.shop.test: TTL 5 s; caches may hold the old one of 60 s until');
    expect(moved.calls).toContain('lowerTtl:api.shop.test 5 of epoch 0');
    await approved(handle);
    await expect(handle.result()).resolves.toMatchObject({ outcome: 'completed' });
    await env.client.workflow.getHandle(workflowIds.settle(shop.name, 1)).result();
    expect(moved.calls.filter((call) => call.startsWith('restoreTtl'))).toEqual([
      'restoreTtl:api.shop.test of epoch 1',
    ]);
  });

  const rejected = worldWithin(120, 5);
  await withSwitchover(rejected, async (handle) => {
    await waitingFor(handle, /approval/);
    await handle.executeUpdate('reject', { args: [{ by: 'dana', reason: 'not today' }] });
    await expect(handle.result()).resolves.toMatchObject({ outcome: 'rejected' });
    expect(rejected.calls).toContain('restoreTtl:api.shop.test of epoch 0');
  });

  const aborted = worldWithin(120, 5);
  aborted.before['fenceSite'] = () => {
    throw failure('AccessDenied', 'no fence today');
  };
  aborted.before['lowerTtl'] = () => {
    throw failure('RoleMismatch', 'the zone says something else');
  };
  await withSwitchover(aborted, async (handle) => {
    const { card } = await waitingFor(handle, /approval/);
    expect(card?.evidence.join()).toContain('the TTL was not lowered: the zone says something else');
    await approved(handle);
    await waitingFor(handle, /decision/);
    await handle.executeUpdate('abort', { args: [{ by: 'dana', reason: 'not today' }] });
    await expect(handle.result()).resolves.toMatchObject({ outcome: 'aborted' });
    expect(aborted.calls).toContain('restoreTtl:api.shop.test of epoch 2');
  });
});
