import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { Application } from '../../core/application';
import { failure } from '../../core/errors';
import type { Hook } from '../../core/hooks';
import { workflowIds } from '../../core/names';
import { planFailover } from '../../core/plan-failover';
import type { FailOverResult, FailOverStatus } from '../../core/role-change-runs';
import type { RunStatus } from '../../core/runs';
import { type RoleChangeHandle as Handle, waitingFor, withRoleChange } from '../support/driven-role-change';
import { fakeFailoverWorld, type FakeWorld } from '../support/fake-failover';
import { follow } from '../support/follow';
import { shop } from '../support/shop-application';
import { localEnvironment } from '../support/workflow-environment';
import { waitUntil } from '../support/servers';

let env: TestWorkflowEnvironment;
beforeAll(async () => {
  env = await localEnvironment();
}, 120_000);
afterAll(() => env?.teardown());

const planned = planFailover(shop, { fromSite: 'primary', toSite: 'dr', epoch: 0 }, null);

const withFailover = (world: FakeWorld, drive: (handle: Handle) => Promise<void>) =>
  withRoleChange(env, 'failOver', world, drive);
const approve = (handle: Handle, by = 'dana') => handle.executeUpdate('approve', { args: [{ by }] });

test('runs the runbook in its order after an approval', async () => {
  const world = fakeFailoverWorld();
  await withFailover(world, async (handle) => {
    const { card } = await waitingFor(handle, /approval/);
    expect(card?.losses.map(({ store, seconds }) => [store, seconds])).toEqual([
      ['orders', 2.5],
      ['events', 2.5],
      ['sessions', 2.5],
    ]);
    const looks = ['probeSite:primary', 'probeSite:primary', 'probeSite:primary', 'probeSite:dr', 'assessLoss'];
    expect(world.calls).toEqual(looks);
    await approve(handle);
    const result = await handle.result();
    expect(result).toMatchObject({ outcome: 'completed', epoch: 1, approvedBy: 'dana' });
    const order = (name: string) => world.calls.findIndex((call) => call.startsWith(name));
    const sequence = [
      'takeEpoch',
      'fenceSite',
      'fenceStore',
      'catchUpStore:orders',
      'chooseServer:orders',
      'promoteStore:orders',
      'startService:auth',
      'startService:order',
      'pointDns',
      'verifyEndpoint',
      'followMembers:orders',
    ];
    // Proven by the site's fence: nothing has to be held, and the names settle in a run of their own.
    expect(result.steps.map(({ id }) => id)).not.toContain('hold:fence');
    const settle = result.steps.find(({ id }) => id === 'settle');
    expect(settle).toMatchObject({ state: 'done', note: 'drctl runs status settle:shop:1' });
    const settling = env.client.workflow.getHandle(workflowIds.settle(shop.name, 1));
    await expect(settling.result()).resolves.toMatchObject({ outcome: 'settled', names: [{ name: 'api.shop.test' }] });
    expect(sequence.map(order)).not.toContain(-1);
    expect(sequence.map(order)).toEqual(sequence.map(order).toSorted((a, b) => a - b));
    expect(result.steps.find(({ id }) => id === 'promote:orders')?.note).toMatch(
      /^promoted at 42: .*has the newest timeline/,
    );
    expect(world.calls.filter((call) => call.startsWith('promoteStore'))).toHaveLength(3);
    // The stores' own fences prove nothing in this world; the site's fence does.
    const notDone = result.steps.filter(({ state }) => state !== 'done').map(({ id, state }) => `${id} ${state}`);
    expect(notDone.toSorted()).toEqual(['events', 'orders', 'sessions'].map((store) => `fence:${store} skipped`));
    // What was planned is what ran, in its order and under its names: the two cannot drift apart.
    const names = (steps: readonly { readonly id: string; readonly title: string }[]) =>
      steps.map(({ id, title }) => [id, title]);
    const always = planned.groups.flatMap(({ steps }) => steps.filter(({ onlyWhere }) => onlyWhere === null));
    expect(names(result.steps)).toEqual(names(always));
    await expect(handle.query('plan')).resolves.toEqual(planned);
    expect(world.reports).toMatchObject([
      {
        verdict: 'achieved',
        outcome: 'completed',
        requestedBy: 'sam',
        decisions: [{ command: 'approve', by: 'dana', note: null }],
        recovery: { approvedAt: expect.any(String), verifiedAt: expect.any(String) },
        loss: { approvedBy: 'dana', stores: [{ actual: { certainty: 'not known', bytes: null } }, {}, {}] },
        stores: [{ results: [{ what: 'promoted', state: 'done' }, { state: 'done' }] }, {}, {}],
        warnings: [],
      },
    ]);
  });
});

test('files that are missing at the new site, or that nobody can look at, are told and hold nothing up', async () => {
  for (const cannotLook of [false, true]) {
    const world = fakeFailoverWorld();
    world.filesMissing = ['/opt/shop does not exist on dr-1'];
    if (cannotLook)
      world.before['lookAtFiles'] = () => {
        throw failure('ConfigInvalid', 'no such mount');
      };
    await withFailover(world, async (handle) => {
      await waitingFor(handle, /approval/);
      await approve(handle);
      const result = await handle.result();
      expect(result.outcome).toBe('completed');
      const { state, note } = result.steps.find(({ id }) => id === 'files:assets') ?? {};
      expect(`${state}: ${note}`).toMatch(
        cannotLook ? /^skipped: unknown: .*no such mount/ : /^done: \/opt\/shop does not exist on dr-1$/,
      );
      expect(world.reports[0]?.messages.join()).toMatch(
        cannotLook ? /is unknown: .*no such mount/ : /does not exist on dr-1/,
      );
    });
  }
});

test('ends as not necessary while the primary is healthy, and touches nothing', async () => {
  const world = fakeFailoverWorld();
  world.verdict = { alive: true, healthy: true };
  await withFailover(world, async (handle) => {
    await expect(handle.result()).resolves.toMatchObject({ outcome: 'not necessary', epoch: null });
    expect(world.calls.filter((call) => /fence|promote|takeEpoch|pointDns/.test(call))).toEqual([]);
  });
});

test('a primary that recovered while people were deciding is left alone', async () => {
  const world = fakeFailoverWorld();
  await withFailover(world, async (handle) => {
    await waitingFor(handle, /approval/);
    world.verdict = { alive: true, healthy: true };
    await approve(handle);
    await expect(handle.result()).resolves.toMatchObject({ outcome: 'not necessary' });
    expect(world.calls.filter((call) => /fence|promote|takeEpoch/.test(call))).toEqual([]);
  });
});

const noStandby = {
  cause: {
    type: 'TargetUnreachable',
    message: expect.stringMatching(
      /dr cannot take over: orders has no standby.*orders at dr: does not answer/,
    ) as string,
  },
};

test('a standby that does not answer ends the failover before anybody is asked', async () => {
  const world = fakeFailoverWorld();
  world.standbysGone.add('orders');
  await withFailover(world, async (handle) => {
    await expect(handle.result()).rejects.toMatchObject(noStandby);
    const told = ['notify:Failover of shop: failed', 'storeReport'];
    expect(new Set(world.calls)).toEqual(new Set(['probeSite:primary', 'probeSite:dr', ...told]));
    // A run that fails leaves a report as well.
    expect(world.reports).toMatchObject([{ outcome: 'failed', verdict: 'failed', move: { epoch: null } }]);
    expect(world.reports[0]?.because).toMatch(/dr cannot take over: orders has no standby/);
    expect(world.calls.filter((call) => call === 'probeSite:dr')).toHaveLength(9);
  });
});

test.each(['retry', 'abort'] as const)(
  'a standby that vanished while people were deciding is waited for before anything is fenced: %s',
  async (decision) => {
    const world = fakeFailoverWorld();
    await withFailover(world, async (handle) => {
      await waitingFor(handle, /approval/);
      world.standbysGone.add('orders');
      await approve(handle);
      const { waitingFor: words } = await waitingFor(handle, /a standby at dr/);
      expect(words).toMatch(/^a decision \(retry or abort\) .*dr cannot take over: orders has no standby/);
      expect(world.calls.filter((call) => /fence|promote|takeEpoch|startService|pointDns/.test(call))).toEqual([]);
      world.standbysGone.clear();
      await handle.executeUpdate(decision, { args: [{ by: 'dana', reason: 'as decided' }] });
      const { outcome } = await handle.result();
      expect(outcome).toBe(decision === 'retry' ? 'completed' : 'aborted');
    });
  },
);

test('only an approver who did not ask may approve, and only once', async () => {
  const world = fakeFailoverWorld();
  await withFailover(world, async (handle) => {
    await waitingFor(handle, /approval/);
    await approve(handle);
    await expect(approve(handle)).rejects.toMatchObject({
      cause: { message: expect.stringMatching(/already approved by dana/) },
    });
  });
  const second = fakeFailoverWorld();
  await withFailover(second, async (handle) => {
    await waitingFor(handle, /approval/);
    await expect(approve(handle, 'mallory')).rejects.toMatchObject({
      cause: { message: expect.stringMatching(/not an approver/) },
    });
    await expect(approve(handle, ' ')).rejects.toMatchObject({ cause: { message: expect.stringMatching(/by whom/) } });
    await handle.signal('approve', { by: 'mallory' });
    await waitUntil(
      'the refused signal to be noted',
      async () => (await handle.query<FailOverStatus>('status')).messages.some((line) => /not an approver/.test(line)),
      { deadlineMs: 10_000 },
    );
    await handle.signal('approve', { by: 'erin' });
    await expect(handle.result()).resolves.toMatchObject({ outcome: 'completed', approvedBy: 'erin' });
    await expect(approve(handle)).rejects.toThrow(/completed|not found/);
  });
});

test('a rejection and an abort before the fence change nothing', async () => {
  for (const [command, outcome] of [
    ['reject', 'rejected'],
    ['abort', 'aborted'],
  ] as const) {
    const world = fakeFailoverWorld();
    await withFailover(world, async (handle) => {
      await waitingFor(handle, /approval/);
      await expect(handle.executeUpdate(command, { args: [{ by: 'dana' }] })).rejects.toMatchObject({
        cause: { message: expect.stringMatching(/reason/) },
      });
      await handle.executeUpdate(command, { args: [{ by: 'dana', reason: 'power is back' }] });
      await expect(handle.result()).resolves.toMatchObject({ outcome, epoch: null });
      expect(world.calls.filter((call) => /fence|promote|takeEpoch/.test(call))).toEqual([]);
    });
  }
});

test('nothing is promoted without a proven fence; an abort then undoes in reverse', async () => {
  const world = fakeFailoverWorld();
  world.siteFence = 'none';
  world.storeFence = 'weak';
  await withFailover(world, async (handle) => {
    await waitingFor(handle, /approval/);
    await approve(handle);
    const status = await waitingFor(handle, /Fence primary/);
    expect(status.waitingFor).toMatch(/not proven to be fenced for orders, events, sessions/);
    await expect(handle.executeUpdate('skip', { args: [{ by: 'dana', reason: 'hurry' }] })).rejects.toMatchObject({
      cause: { message: expect.stringMatching(/cannot be skipped/) },
    });
    await handle.executeUpdate('abort', { args: [{ by: 'dana', reason: 'cannot prove it' }] });
    await expect(handle.result()).resolves.toMatchObject({ outcome: 'aborted' });
    expect(world.calls.filter((call) => call.startsWith('promoteStore'))).toEqual([]);
    const undone = world.calls.filter((call) => /^unfence|giveBackEpoch/.test(call));
    // The epoch first, so that a fence still under way refuses from then on.
    const { steps } = await handle.query<FailOverStatus>('status');
    // What comes behind the fence was not begun.
    const undoSteps = planned.groups
      .filter(({ phase }) => phase === 'fencing')
      .flatMap((group) => group.steps.flatMap(({ undo }) => undo ?? []));
    expect(new Set(undoSteps)).toEqual(
      new Set(steps.filter(({ id }) => id.startsWith('undo:')).map(({ id, title }) => ({ id, title }))),
    );
    expect(undone).toEqual([
      'giveBackEpoch:primary',
      'unfenceSite:primary',
      'unfenceStore:sessions',
      'unfenceStore:events',
      'unfenceStore:orders',
    ]);
    expect(world.epoch).toMatchObject({ epoch: 2, activeSite: 'primary' });
  });
});

test.each([
  ['skip', 'completed', []],
  ['abort', 'aborted', ['undo:epoch', 'undo:catch-up:orders', 'undo:fence:site']],
] as const)('what only the archive has is waited for until people decide: %s', async (decision, ends, undoneFirst) => {
  const world = fakeFailoverWorld();
  world.before['catchUpStore'] = () => {
    throw failure('CatchUpIncomplete', 'the standby has replayed 0/42 of 0/45');
  };
  await withFailover(world, async (handle) => {
    await waitingFor(handle, /approval/);
    await approve(handle);
    const { waitingFor: words, accepts } = await waitingFor(handle, /only the archive has of orders/);
    expect(words).toMatch(/^a decision \(retry, skip or abort\) .*replayed 0\/42 of 0\/45/);
    expect(accepts).toContain('abort');
    const refused = { cause: { message: expect.stringMatching(/a reason is required/) } };
    await expect(handle.executeUpdate(decision, { args: [{ by: 'dana' }] })).rejects.toMatchObject(refused);
    await handle.executeUpdate(decision, { args: [{ by: 'dana', reason: 'as decided' }] });
    const { outcome, steps } = await handle.result();
    expect(outcome).toBe(ends);
    const undone = steps.filter(({ id }) => id.startsWith('undo:')).map(({ id }) => id);
    expect(undone.slice(0, 3)).toEqual(undoneFirst);
    expect(steps.find(({ id }) => id === 'catch-up:orders')?.note).toMatch(/replayed 0\/42/);
    const calls = world.calls.filter((call) => /^promoteStore|^leaveArchive/.test(call));
    expect(calls).toHaveLength(decision === 'skip' ? 3 : 1);
  });
});

test('where the server that was caught up is gone, the one in its place gets the same before it is promoted', async () => {
  const world = fakeFailoverWorld();
  world.caughtUpFirst = '10.0.2.8:5432';
  await withFailover(world, async (handle) => {
    await waitingFor(handle, /approval/);
    await approve(handle);
    const { outcome, steps } = await handle.result();
    expect(outcome).toBe('completed');
    const ofOrders = world.calls.filter((call) => /^(catchUpStore|chooseServer|promoteStore):orders/.test(call));
    expect(ofOrders.map((call) => call.split(':')[0])).toEqual([
      'catchUpStore',
      'chooseServer',
      'catchUpStore',
      'promoteStore',
    ]);
    expect(steps.find(({ id }) => id === 'catch-up-instead:orders')).toMatchObject({
      state: 'done',
      title: expect.stringContaining('to 10.0.2.7:5432, which is promoted in place of the one that had it'),
      note: 'replayed from 42 to 45',
    });
  });
});

const hook = (name: string, more: Partial<Hook>): Hook => ({
  ...{
    name,
    roleChanges: ['failover', 'switchover'],
    moment: 'before',
    point: 'promotion',
    at: 'new',
    does: 'command',
  },
  ...{ withinSeconds: 5, attempts: 1, onFailure: 'stop', undoes: false },
  ...more,
});
const hooked: Application = {
  ...shop,
  hooks: [
    hook('drain', { point: 'fence', at: 'old', undoes: true, onFailure: 'continue' }),
    hook('not-now', { roleChanges: ['switchover'] }),
    hook('snapshot', { undoes: true }),
    hook('tell-partner', { moment: 'after', point: 'promotion', does: 'webhook' }),
    hook('warm-up', { moment: 'after', point: 'services', onFailure: 'continue', attempts: 2 }),
  ],
};
const withHooksOf = (world: FakeWorld) => {
  world.activities.describeApplication = async () => ({ application: hooked, activeSite: 'primary', epoch: 0 });
};

test('hooks run where the plan has them; of those that fail, people decide or are told', async () => {
  const world = fakeFailoverWorld();
  withHooksOf(world);
  const fails = new Set(['drain', 'tell-partner', 'warm-up']);
  let warmUps = 0;
  world.activities.callHook = async ({ hook: name, action }) => {
    world.calls.push(`${action} ${name}`);
    if (name === 'warm-up') warmUps += 1;
    if (fails.has(name)) throw failure('HookFailed', `hook ${name}: exit 1: no route`);
    return `${name} is done`;
  };
  const plan = planFailover(hooked, { fromSite: 'primary', toSite: 'dr', epoch: 0 }, null);
  await withFailover(world, async (handle) => {
    await waitingFor(handle, /approval/);
    await approve(handle);
    expect((await waitingFor(handle, /Run hook tell-partner at dr/)).waitingFor).toMatch(
      /a decision \(retry or skip\).*no route/,
    );
    fails.delete('tell-partner');
    await handle.executeUpdate('retry', { args: [{ by: 'dana' }] });
    const { outcome, steps } = await handle.result();
    expect(outcome).toBe('completed');
    const ids = (all: readonly { readonly id: string }[]) => all.map(({ id }) => id);
    const always = plan.groups.flatMap((group) => group.steps.filter(({ onlyWhere }) => onlyWhere === null));
    expect(ids(steps).filter((id) => id !== 'notify:waiting')).toEqual(ids(always));
    const order = [
      'run drain',
      'fenceSite',
      'catchUpStore',
      'run snapshot',
      'promoteStore',
      'run tell-partner',
      'startService',
      'run warm-up',
      'pointDns',
    ];
    const found = order.map((each) => world.calls.findIndex((call) => call.startsWith(each)));
    expect(found).toEqual(found.toSorted((a, b) => a - b));
    expect(found).not.toContain(-1);
    expect(world.calls).not.toContain('run not-now');
    expect(warmUps).toBe(2);
    const notes = steps.filter(({ id }) => id.startsWith('hook:')).map(({ id, state, note }) => [id, state, note]);
    expect(notes).toEqual([
      ['hook:drain', 'failed', 'hook drain: exit 1: no route'],
      ['hook:snapshot', 'done', 'snapshot is done'],
      ['hook:tell-partner', 'done', 'tell-partner is done'],
      ['hook:warm-up', 'failed', 'hook warm-up: exit 1: no route'],
    ]);
    expect(world.reports[0]?.messages).toEqual([
      'Run hook drain at primary failed: hook drain: exit 1: no route',
      'Run hook warm-up at dr failed: hook warm-up: exit 1: no route',
    ]);
  });
});

test('an abort takes back the hooks that were called, newest first', async () => {
  const world = fakeFailoverWorld();
  withHooksOf(world);
  world.before['callHook'] = () => {
    if (!world.calls.includes('catchUpStore:orders')) return;
    if (!world.calls.includes('giveBackEpoch:primary')) throw failure('ToolMissing', 'snapshot is not there');
  };
  await withFailover(world, async (handle) => {
    await waitingFor(handle, /approval/);
    await approve(handle);
    await waitingFor(handle, /Run hook snapshot at dr/);
    await handle.executeUpdate('abort', { args: [{ by: 'dana', reason: 'power is back' }] });
    await expect(handle.result()).resolves.toMatchObject({ outcome: 'aborted' });
    expect(world.calls.filter((call) => /^callHook|^leaveArchive|^unfenceSite/.test(call))).toEqual([
      'callHook:drain run (failover primary to dr)',
      'callHook:snapshot undo (failover primary to dr)',
      'leaveArchive:orders',
      'unfenceSite:primary',
      'callHook:drain undo (failover primary to dr)',
    ]);
  });
});

/** A failover whose fence is never proven, of a site where something still served, aborted by dana. */
async function abortedWhileFencing(world: FakeWorld): Promise<FailOverResult> {
  const ended = Promise.withResolvers<FailOverResult>();
  world.servedBefore = {
    writableStores: ['orders'],
    services: [
      { service: 'auth', readyReplicas: 2, desiredReplicas: 3 },
      { service: 'order', readyReplicas: 0, desiredReplicas: 1 },
    ],
    unseenServices: [],
  };
  world.activities.fenceSite = async () => {
    throw failure('FencingUnconfirmed', 'one process is still there');
  };
  await withFailover(world, async (handle) => {
    await waitingFor(handle, /approval/);
    await approve(handle);
    await waitingFor(handle, /Fence primary/);
    await handle.executeUpdate('abort', { args: [{ by: 'dana', reason: 'power is back' }] });
    ended.resolve(await handle.result());
  });
  return ended.promise;
}

test('an undo brings back what served before the fence, and names what belongs to somebody else', async () => {
  const world = fakeFailoverWorld();
  const result = await abortedWhileFencing(world);
  expect(result).toMatchObject({
    outcome: 'aborted',
    afterUndo: ['sessions belongs to systemd, which has to start it'],
  });
  const stopped = world.calls.filter((call) => call.startsWith('stopService'));
  expect(stopped.toSorted()).toEqual(['stopService:auth', 'stopService:order']);
  const noted = result.steps.filter(({ id }) => /^(undo:)?stop:/.test(id)).map(({ id, note }) => `${id} ${note}`);
  expect(noted).toEqual([
    'stop:auth 3 replicas are gone',
    'stop:order its one replica is gone',
    'stop:cart it had no replicas',
    'undo:stop:auth 3 replicas',
    'undo:stop:order 1 replicas',
    'undo:stop:cart it was not stopped',
  ]);
  const step = result.steps.find(({ id }) => id === 'undo:at-work');
  expect(step).toMatchObject({ state: 'done', note: 'orders, auth × 2 serve again' });
  expect(world.calls.slice(world.calls.indexOf('unfenceSite:primary'))).toEqual([
    'unfenceSite:primary',
    'unfenceStore:sessions',
    'unfenceStore:events',
    'unfenceStore:orders',
    'resizeService:primary/auth 3',
    'resizeService:primary/order 1',
    'awaitAtWork:primary',
    'notify:Failover of shop: aborted',
    'storeReport',
  ]);
});

test('services of the old site that cannot be stopped are told of as unknown, and hold nothing up', async () => {
  const world = fakeFailoverWorld();
  const running = { readyReplicas: 2, desiredReplicas: 2 };
  world.servedBefore = {
    writableStores: [],
    services: ['auth', 'order'].map((service) => ({ service, ...running })),
    unseenServices: ['cart'],
  };
  const { stopService } = world.activities;
  world.activities.stopService = async (input) => {
    return input.service === 'order' ? follow() : stopService!(input); // it never answers
  };
  await withFailover(world, async (handle) => {
    await waitingFor(handle, /approval/);
    await approve(handle);
    const { outcome, steps } = await handle.result();
    expect(outcome).toBe('completed');
    expect(steps.filter(({ id }) => id.startsWith('stop:')).map(({ state, note }) => `${state}: ${note}`)).toEqual([
      'done: 2 replicas are gone',
      'skipped: unknown: no answer in time',
      'skipped: unknown: it could not be looked at',
    ]);
    expect(world.reports[0]?.messages.toSorted()).toEqual([
      'whether cart still runs at primary is unknown: it could not be looked at',
      'whether order still runs at primary is unknown: no answer in time',
    ]);
    // Before anything is promoted, and after the strongest fence.
    const order = ['fenceSite', 'stopService:auth', 'promoteStore', 'startService:auth'];
    const found = order.map((name) => world.calls.findIndex((call) => call.startsWith(name)));
    expect(found).toEqual(found.toSorted((a, b) => a - b));
  });
});

test('an undo after which something does not serve again is incomplete, and says what', async () => {
  const world = fakeFailoverWorld();
  world.activities.awaitAtWork = async () => {
    throw failure('UsageInvalid', 'primary does not serve as before: orders');
  };
  await expect(abortedWhileFencing(world)).resolves.toMatchObject({
    outcome: 'undo incomplete',
    reason: expect.stringMatching(/See that primary serves .*: primary does not serve as before: orders/),
  });
});

test.each([
  ['hangs', 'none', 'has come back'],
  ['answers and cannot be proven to refuse writes', 'weak', 'still answers'],
] as const)(
  'a named person may attest that the site is dead; where it only %s, it is refused',
  async (_, fence, news) => {
    const world = fakeFailoverWorld();
    world.siteFence = 'none';
    world.storeFence = fence;
    world.activities.holdFence = async ({ stores, site, epoch }) => {
      if (!stores.includes('orders')) return follow();
      const how = 'a write was refused';
      return [{ strength: 'weak', site, stores: ['orders'], epoch, at: '2026-01-01T00:00:00.000Z', how, by: 'fake' }];
    };
    await withFailover(world, async (handle) => {
      await waitingFor(handle, /approval/);
      await approve(handle);
      await waitingFor(handle, /Fence primary/);
      await handle.executeUpdate('attest', { args: [{ by: 'erin', reason: 'I pulled the power cord' }] });
      const result = await handle.result();
      expect(result.outcome).toBe('completed');
      expect(result.evidence).toContainEqual(
        expect.objectContaining({ strength: 'attested', by: 'erin', stores: ['orders', 'events', 'sessions'] }),
      );
      const ids = result.steps.map(({ id }) => id).filter((id) => id !== 'notify:waiting');
      expect(ids).toEqual(planned.groups.flatMap(({ steps }) => steps.map(({ id }) => id)));
      expect(result.steps).toContainEqual(
        expect.objectContaining({
          title: planned.groups.flatMap(({ steps }) => steps).find(({ id }) => id === 'hold:fence')?.title,
          note: 'for orders, events, sessions: drctl runs status fence:shop:1',
        }),
      );
      const waiting = env.client.workflow.getHandle(workflowIds.holdFence(shop.name, 1));
      const states = async () =>
        (await waiting.query<RunStatus>('status')).steps.map(({ id, state }) => `${id} ${state}`);
      await waitUntil('orders being refused', async () => (await states()).includes('orders done'));
      expect(await states()).toEqual(['orders done', 'events waiting', 'sessions waiting']);
      await waitUntil('people being told', async () =>
        world.calls.some((call) => call.startsWith(`notify:The old primary of orders at primary ${news}`)),
      );
      expect((await waiting.describe()).status.name).toBe('RUNNING');
    });
  },
);

test('after the promotion there is no abort, and a step that fails for good waits for a decision', async () => {
  const world = fakeFailoverWorld();
  world.before['startService'] = () => {
    throw failure('AccessDenied', 'scaling is forbidden');
  };
  await withFailover(world, async (handle) => {
    await waitingFor(handle, /approval/);
    await approve(handle);
    await waitingFor(handle, /Start auth/);
    await expect(handle.executeUpdate('abort', { args: [{ by: 'dana', reason: 'stop' }] })).rejects.toMatchObject({
      cause: { message: expect.stringMatching(/only the way forward/) },
    });
    delete world.before['startService'];
    await handle.executeUpdate('retry', { args: [{ by: 'dana' }] });
    await expect(handle.result()).resolves.toMatchObject({ outcome: 'completed' });
    expect(world.calls.filter((call) => call.startsWith('unfence'))).toEqual([]);
  });
});

test('a promotion whose answer was lost is repeated, not doubled', async () => {
  const world = fakeFailoverWorld();
  let lost = 0;
  const promote = world.activities.promoteStore;
  world.activities.promoteStore = async (input) => {
    const result = await promote!(input);
    if (input.store === 'orders' && lost++ === 0) throw new Error('the connection was cut after the promotion');
    return result;
  };
  await withFailover(world, async (handle) => {
    await waitingFor(handle, /approval/);
    await approve(handle);
    const result = await handle.result();
    expect(result.outcome).toBe('completed');
    expect(result.steps.find((step) => step.id === 'promote:orders')?.note).toMatch(/already/);
  });
});

test('an abort that comes while the last fence is at work is honoured: nothing is promoted', async () => {
  const world = fakeFailoverWorld();
  const reached = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  const fenceStore = world.activities.fenceStore;
  world.activities.fenceStore = async (input) => {
    reached.resolve();
    await release.promise;
    return fenceStore!(input);
  };
  await withFailover(world, async (handle) => {
    await waitingFor(handle, /approval/);
    await approve(handle);
    await reached.promise;
    await handle.executeUpdate('abort', { args: [{ by: 'dana', reason: 'power is back' }] });
    release.resolve();
    await expect(handle.result()).resolves.toMatchObject({ outcome: 'aborted' });
    expect(world.calls.filter((call) => call.startsWith('promoteStore'))).toEqual([]);
    expect(world.epoch).toMatchObject({ activeSite: 'primary' });
  });
});

test('nobody vouches for a dead site before the failover is approved, and not without being an approver', async () => {
  const world = fakeFailoverWorld();
  world.siteFence = 'none';
  await withFailover(world, async (handle) => {
    await waitingFor(handle, /approval/);
    const attest = (by: string) => handle.executeUpdate('attest', { args: [{ by, reason: 'it is dark' }] });
    await expect(attest('erin')).rejects.toMatchObject({ cause: { message: expect.stringMatching(/not approved/) } });
    await approve(handle);
    await waitingFor(handle, /Fence primary/);
    await expect(attest('mallory')).rejects.toMatchObject({
      cause: { message: expect.stringMatching(/not an approver/) },
    });
    await handle.executeUpdate('abort', { args: [{ by: 'dana', reason: 'enough' }] });
    await expect(handle.result()).resolves.toMatchObject({ outcome: 'aborted' });
  });
});

test('an approval of a card that has become too good is not taken: people see the new one and decide again', async () => {
  const world = fakeFailoverWorld();
  await withFailover(world, async (handle) => {
    const { card } = await waitingFor(handle, /approval/);
    expect(card).toMatchObject({ number: 1, worse: [], problem: null });
    // More than what was shown and a minute of growth: a primary that was cut off, not dead, went on writing.
    world.lossSeconds = 70;
    await expect(approve(handle)).rejects.toMatchObject({
      cause: { type: 'ApprovalOutdated', message: expect.stringMatching(/orders: at most 70 s now, at most 3 s were/) },
    });
    const status = await waitingFor(handle, /approval/);
    expect(status.approvedBy).toBeNull();
    expect(status.card).toMatchObject({ number: 2, worse: [expect.stringMatching(/^orders: at most 70 s/), /./, /./] });
    expect(status.messages.join()).toMatch(/the approval by dana was not taken, the loss became worse/);
    expect(world.calls.filter((call) => /fence|promote|takeEpoch/.test(call))).toEqual([]);
    // Somebody who still looks at the first card approves what is not there any more.
    await expect(handle.executeUpdate('approve', { args: [{ by: 'erin', card: 1 }] })).rejects.toMatchObject({
      cause: { type: 'ApprovalOutdated' },
    });
    await expect(handle.executeUpdate('approve', { args: [{ by: 'erin', card: 99 }] })).rejects.toMatchObject({
      cause: { message: expect.stringMatching(/card 99 is not shown any more/) },
    });
    await handle.executeUpdate('approve', { args: [{ by: 'erin', card: 3 }] });
    const result = await handle.result();
    expect(result).toMatchObject({ outcome: 'completed', approvedBy: 'erin' });
    expect(result.losses.map(({ seconds }) => seconds)).toEqual([70, 70, 70]);
    expect(world.reports[0]?.decisions).toMatchObject([
      { command: 'approve', by: 'dana', note: expect.stringMatching(/^not taken: orders: at most 70 s now/) },
      { command: 'approve', by: 'erin', note: expect.stringMatching(/^not taken/) },
      { command: 'approve', by: 'erin', note: null },
    ]);
  });
});

test('a loss that cannot be measured any more is asked about once, and may then be approved', async () => {
  const world = fakeFailoverWorld();
  await withFailover(world, async (handle) => {
    await waitingFor(handle, /approval/);
    world.before['assessLoss'] = () => {
      throw failure('AccessDenied', 'the samples cannot be read');
    };
    await expect(approve(handle)).rejects.toMatchObject({
      cause: { type: 'ApprovalOutdated', message: expect.stringMatching(/samples cannot be read/) },
    });
    const { card } = await waitingFor(handle, /approval/);
    expect(card).toMatchObject({ problem: 'the samples cannot be read' });
    // An S3 that is away must not hold up people for ever: they know it now.
    await approve(handle);
    await expect(handle.result()).resolves.toMatchObject({ outcome: 'completed', lossesAtApproval: [] });
  });
});

test('growth that the card names needs no second approval; the report has what was shown and what was measured', async () => {
  const world = fakeFailoverWorld();
  await withFailover(world, async (handle) => {
    await waitingFor(handle, /approval/);
    world.lossSeconds = 9;
    await approve(handle);
    const result = await handle.result();
    expect(result.outcome).toBe('completed');
    expect(result.losses.map(({ seconds }) => seconds)).toEqual([2.5, 2.5, 2.5]);
    expect(result.lossesAtApproval.map(({ seconds }) => seconds)).toEqual([9, 9, 9]);
  });
});

test('an approval sent as a signal that is not taken is noted, and fails nothing', async () => {
  const world = fakeFailoverWorld();
  await withFailover(world, async (handle) => {
    await waitingFor(handle, /approval/);
    world.lossSeconds = 4_000;
    await handle.signal('approve', { by: 'dana' });
    const noted = async () =>
      (await handle.query<FailOverStatus>('status')).messages.some((line) => /OVER the objective of 900 s/.test(line));
    await waitUntil('the approval to be passed over', noted, { deadlineMs: 10_000 });
    await approve(handle);
    await expect(handle.result()).resolves.toMatchObject({ outcome: 'completed' });
  });
});

test('the status lists the commands that would be taken, and no others', async () => {
  const world = fakeFailoverWorld();
  Object.assign(world, { siteFence: 'none' });
  let broken = true;
  world.before['startService'] = () => {
    if (broken) throw failure('AccessDenied', 'scaling is forbidden');
  };
  await withFailover(world, async (handle) => {
    expect((await waitingFor(handle, /approval/)).accepts).toEqual(['approve', 'reject', 'abort', 'pause']);
    await handle.executeUpdate('pause', { args: [{ by: 'dana' }] });
    expect((await handle.query<FailOverStatus>('status')).accepts).toEqual(['approve', 'reject', 'abort', 'resume']);
    await handle.executeUpdate('resume', { args: [{ by: 'dana' }] });
    await approve(handle);
    const unfenced = await waitingFor(handle, /Fence primary/);
    expect(unfenced.accepts).toEqual(['retry', 'attest', 'abort', 'pause']);
    expect(unfenced.waitingFor).toMatch(/^a decision \(retry, attest or abort\) on/);
    await handle.executeUpdate('attest', { args: [{ by: 'erin', reason: 'I pulled the power cord' }] });
    const stuck = await waitingFor(handle, /Start auth/);
    expect(stuck.accepts).toEqual(['retry', 'skip', 'pause']);
    expect(stuck.waitingFor).toMatch(/^a decision \(retry or skip\) on/);
    broken = false;
    await handle.executeUpdate('retry', { args: [{ by: 'dana' }] });
    await handle.result();
    expect((await handle.query<FailOverStatus>('status')).accepts).toEqual([]);
  });
});

test('of two steps that wait for people, a decision is about the one that is named', async () => {
  const world = fakeFailoverWorld();
  let broken = true;
  world.before['startService'] = () => {
    if (broken && !world.calls.includes('startService:auth')) return;
    if (broken) throw failure('AccessDenied', 'quota');
  };
  await withFailover(world, async (handle) => {
    await waitingFor(handle, /approval/);
    await approve(handle);
    // Both services of the second group fail.
    await waitingFor(handle, /Start order.*Start cart|Start cart.*Start order/);
    const skip = (step?: string) =>
      handle.executeUpdate('skip', { args: [{ by: 'dana', reason: 'later', ...(step ? { step } : {}) }] });
    await expect(skip()).rejects.toMatchObject({ cause: { message: expect.stringMatching(/say which step/) } });
    await expect(skip('promote:orders')).rejects.toMatchObject({
      cause: { message: expect.stringMatching(/waits for no decision/) },
    });
    await skip('service:cart');
    // People may still be being told of the one that was decided.
    await waitingFor(handle, /^(?!.*cart).*Start order/);
    broken = false;
    await handle.executeUpdate('retry', { args: [{ by: 'dana' }] });
    const result = await handle.result();
    const stateOf = (id: string) => result.steps.find((step) => step.id === id)?.state;
    expect([stateOf('service:cart'), stateOf('service:order')]).toEqual(['skipped', 'done']);
  });
});

test('cancelling after the pivot does not leave a promoted store without its services', async () => {
  const world = fakeFailoverWorld();
  await withFailover(world, async (handle) => {
    await waitingFor(handle, /approval/);
    world.before['promoteStore'] = () => {
      delete world.before['promoteStore'];
      void handle.cancel();
    };
    await approve(handle);
    await expect(handle.result()).resolves.toMatchObject({ outcome: 'completed' });
    expect(world.calls).toContain('startService:order');
  });
});
