import { randomUUID } from 'node:crypto';
import { Context } from '@temporalio/activity';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { failure } from '../../core/errors';
import type { Hook } from '../../core/hooks';
import { taskQueues } from '../../core/names';
import type { Application } from '../../core/application';
import { check, type ReadinessResult } from '../../core/readiness';
import type { CheckReadinessInput, RunStatus } from '../../core/runs';
import { fakeReadinessWorld, type FakeReadinessWorld } from '../support/fake-readiness';
import { shop } from '../support/shop-application';
import { timeSkippingEnvironment, withWorkers } from '../support/workflow-environment';

let env: TestWorkflowEnvironment;
beforeAll(async () => {
  env = await timeSkippingEnvironment();
}, 120_000);
afterAll(() => env?.teardown());

type Check = (input: CheckReadinessInput) => Promise<ReadinessResult>;

type Look = (
  more?: Partial<CheckReadinessInput>,
) => Promise<{ readonly result: ReadinessResult; readonly status: RunStatus }>;

const AT_DR = [taskQueues.site(shop.name, 'dr')];

/** Lets a test look again and again in one world; `queues` are those that somebody works for. */
async function withWorld(
  world: FakeReadinessWorld,
  queues: readonly string[],
  test: (look: Look) => Promise<void>,
): Promise<void> {
  await withWorkers(env, world.activities, queues, () =>
    test(async (more = {}) => {
      const handle = await env.client.workflow.start<Check>('checkReadiness', {
        taskQueue: taskQueues.workflows,
        workflowId: randomUUID(),
        args: [{ application: shop.name, requestedBy: 'schedule readiness', tell: true, ...more }],
      });
      return { result: await handle.result(), status: await handle.query<RunStatus>('status') };
    }),
  );
}

test('what holds is ready with full marks: nobody is told, and the result is kept', async () => {
  const world = fakeReadinessWorld();
  await withWorld(world, AT_DR, async (look) => {
    const { result, status } = await look();
    expect(result).toMatchObject({ fromSite: 'primary', toSite: 'dr', verdict: 'ready', score: 100 });
    expect(result.checks.map(({ id }) => id)).toEqual([
      ...['worker', 'standby:orders', 'loss:orders', 'service:auth', 'dns:api.shop.test'],
      ...['approvers', 'fence', 'control-repository'],
    ]);
    expect(world.told).toEqual([]);
    expect(world.kept).toEqual({ result, told: { ids: [], at: null } });
    expect(status).toMatchObject({ kind: 'readiness', phase: 'ready, 100 of 100' });
  });
});

test('people hear of what would fail when it begins, once a day while it lasts, and when it is over', async () => {
  const world = fakeReadinessWorld();
  const alarm = 'critical: A failover of shop to dr would not succeed today';
  await withWorld(world, AT_DR, async (look) => {
    world.states.set('fence', 'warning');
    await look();
    expect(world.told).toEqual([]);

    world.states.set('standby:orders', 'failing');
    const { result } = await look();
    expect(result).toMatchObject({ verdict: 'not ready', score: 81 });
    expect(world.told).toEqual([alarm]);
    const toldAt = world.kept?.told.at;

    // Looked at again within the day: by the schedule, and by a person, who sees it and takes it from nobody.
    await look();
    await look({ tell: false });
    expect(world.told).toEqual([alarm]);
    expect(world.kept?.told).toEqual({ ids: ['standby:orders'], at: toldAt });

    world.states.set('service:auth', 'unknown');
    await look();
    expect(world.told).toEqual([alarm, alarm]);
    await env.sleep('24 hours');
    await look();
    expect(world.told).toEqual([alarm, alarm, alarm]);

    world.states.clear();
    await look({ tell: false });
    await look();
    await look();
    expect(world.told.slice(3)).toEqual(['info: shop could fail over to dr again']);
  });
});

test('news that could not be sent are sent with the next look', async () => {
  const world = fakeReadinessWorld();
  world.states.set('fence', 'failing');
  const { notify } = world.activities;
  world.activities.notify = async () => {
    throw failure('NotificationFailed', 'the channel is down');
  };
  await withWorld(world, AT_DR, async (look) => {
    const { result, status } = await look();
    expect(result.verdict).toBe('not ready');
    expect(status.messages).toEqual(['Tell people failed: the channel is down']);
    expect(world.kept?.told).toEqual({ ids: [], at: null });
  });
  if (notify) world.activities.notify = notify;
  await withWorld(world, AT_DR, async (look) => {
    await look();
    expect(world.told).toHaveLength(1);
  });
});

test('a look that fails is a finding of its own, and hides nothing that the others saw', async () => {
  const world = fakeReadinessWorld();
  world.activities.checkTraffic = async () => {
    throw failure('ConfigInvalid', 'the kubeconfig names no context');
  };
  await withWorld(world, AT_DR, async (look) => {
    const { result } = await look();
    expect(result.verdict).toBe('not ready');
    expect(result.checks.filter(({ state }) => state !== 'ok')).toMatchObject([
      { id: 'traffic', state: 'unknown', found: 'the kubeconfig names no context' },
    ]);
    expect(result.checks).toHaveLength(7);
  });
});

test('a site whose worker does no work is not ready: that is said once, and kept by another site', async () => {
  const world = fakeReadinessWorld();
  const { describeApplication } = world.activities;
  world.activities.describeApplication = async (input) => {
    if (Context.current().info.taskQueue === AT_DR[0]) throw failure('AccessDenied', 'its key is of last year');
    return describeApplication!(input);
  };
  await withWorld(world, AT_DR, async (look) => {
    const { result } = await look();
    const worker = { id: 'worker', state: 'failing', found: 'its key is of last year' };
    expect(result).toMatchObject({ verdict: 'not ready', score: 0, checks: [worker] });
    expect(world.told).toEqual(['critical: A failover of shop to dr would not succeed today']);
    expect(world.kept?.told.ids).toEqual(['worker']);
  });
});

test('without the epochs the look fails, and people hear that a failover could not begin', async () => {
  const world = fakeReadinessWorld();
  const closed = { cause: { cause: { message: 'the bucket is closed to us' } } };
  world.activities.describeApplication = async () => {
    throw failure('AccessDenied', 'the bucket is closed to us');
  };
  await withWorld(world, AT_DR, async (look) => {
    await expect(look()).rejects.toMatchObject(closed);
    expect(world.told).toEqual(['critical: A failover of shop could not begin today']);
    await expect(look({ tell: false })).rejects.toMatchObject(closed);
    expect(world.told).toHaveLength(1);
  });
});

test('a look at the site that is active already is refused', async () => {
  await withWorld(fakeReadinessWorld(), AT_DR, async (look) => {
    await expect(look({ toSite: 'primary' })).rejects.toMatchObject({
      cause: { type: 'RoleMismatch', message: expect.stringMatching(/primary is the active site/) as string },
    });
  });
});

test('before a planned move both sites have to be well and the standbys close behind; that look is not kept', async () => {
  const world = fakeReadinessWorld();
  const planned = { planned: true, toSite: 'dr', tell: false };
  await withWorld(world, AT_DR, async (look) => {
    const { result } = await look(planned);
    expect(result).toMatchObject({ verdict: 'ready', score: 100 });
    expect(result.checks.slice(-2)).toMatchObject([
      { id: 'active-site', state: 'ok' },
      { id: 'catch-up', state: 'ok', found: 'orders within 0.2 s' },
    ]);
    expect(world.kept).toBeNull();
  });
  const { probeSite } = world.activities;
  world.activities.probeSite = async (input) => ({
    ...(await probeSite!(input)),
    healthy: false,
    findings: ['orders at primary: does not answer'],
  });
  world.activities.measureCatchUp = async () => {
    throw failure('SwitchoverRefused', 'orders at dr cannot take over: it does not answer');
  };
  await withWorld(world, AT_DR, async (look) => {
    const { result } = await look(planned);
    expect(result.verdict).toBe('not ready');
    expect(result.checks.slice(-2)).toMatchObject([
      { id: 'active-site', state: 'failing', found: 'orders at primary: does not answer' },
      { id: 'catch-up', state: 'failing', found: 'orders at dr cannot take over: it does not answer' },
    ]);
  });
});

test('hooks of the old site are looked at by its own worker; where that cannot, it warns, unless the move is planned', async () => {
  const world = fakeReadinessWorld();
  const hook: Hook = {
    ...{ name: 'drain', roleChanges: ['failover'], moment: 'before', point: 'fence', at: 'old', does: 'command' },
    ...{ withinSeconds: 5, attempts: 1, onFailure: 'stop', undoes: false },
  };
  const application: Application = { ...shop, hooks: [hook] };
  const atPrimary = taskQueues.site(shop.name, 'primary');
  world.activities.describeApplication = async () => ({ application, activeSite: 'primary', epoch: 0 });
  world.activities.checkOldHooks = async () => [
    check('hook:drain', `Hook drain at ${Context.current().info.taskQueue}`, ['ok', 'its programs are here', null]),
  ];
  const ofHooks = ({ checks }: ReadinessResult) => checks.filter(({ id }) => id.startsWith('hook'));
  await withWorld(world, [...AT_DR, atPrimary], async (look) => {
    expect(ofHooks((await look()).result)).toMatchObject([
      { id: 'hook:drain', state: 'ok', title: `Hook drain at ${atPrimary}` },
    ]);
    world.activities.checkOldHooks = async () => {
      throw failure('UsageInvalid', 'an older worker knows nothing of it');
    };
  });
  await withWorld(world, [...AT_DR, atPrimary], async (look) => {
    expect(ofHooks((await look()).result)).toMatchObject([
      { id: 'hooks', state: 'warning', onTheDay: 'no worker at primary would run its hooks' },
    ]);
    const { result } = await look({ planned: true, toSite: 'dr', tell: false });
    expect(ofHooks(result)).toMatchObject([{ id: 'hooks', state: 'failing' }]);
    expect(result.verdict).toBe('not ready');
  });
});
