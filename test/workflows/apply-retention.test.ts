import { randomUUID } from 'node:crypto';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { taskQueues, workflowIds } from '../../core/names';
import type { ApplyRetentionInput, ApplyRetentionResult } from '../../core/retention/runs';
import type { RunStatus } from '../../core/runs';
import { type FakeRetention, fakeRetentionWorld } from '../support/fake-retention';
import { waitUntil } from '../support/servers';
import { shop } from '../support/shop-application';
import { localEnvironment, timeSkippingEnvironment, withWorkers } from '../support/workflow-environment';

let env: TestWorkflowEnvironment;
let real: TestWorkflowEnvironment;
beforeAll(async () => {
  [env, real] = await Promise.all([timeSkippingEnvironment(), localEnvironment()]);
}, 120_000);
afterAll(() => Promise.all([env?.teardown(), real?.teardown()]));

const input = { application: shop.name, stores: ['orders', 'events'], requestedBy: 'sam' };

async function start(
  on: TestWorkflowEnvironment,
  { activities }: FakeRetention,
  changes: Partial<ApplyRetentionInput>,
) {
  const options = { workflowId: randomUUID(), taskQueue: taskQueues.workflows, args: [{ ...input, ...changes }] };
  return withWorkers(on, activities, [], () =>
    on.client.workflow.execute('applyRetention', options),
  ) as Promise<ApplyRetentionResult>;
}

test('what was marked is deleted after the grace; a store that is refused leaves the others alone, and people hear of it', async () => {
  const world = fakeRetentionWorld({ refused: ['events'], graceSeconds: 3_600, now: () => env.currentTimeMs() });
  const before = await env.currentTimeMs();
  const result = await start(env, world, { isOnlyOne: true });
  expect(await env.currentTimeMs()).toBeGreaterThanOrEqual(before + 3_600_000);
  expect(world.calls).toEqual(['mark:orders', 'mark:events', 'sweep:orders']);
  expect(result.swept.map(({ store, backups }) => [store, backups.objects])).toEqual([['orders', 10]]);
  expect(result.failed).toEqual([
    { store: 'events', code: 'DeletionRefused', message: 'retention of events would delete 10 of 12' },
  ]);
  expect(world.told).toEqual(['retention failed for events']);
}, 60_000);

test('aborted during the grace, nothing is deleted and no mark stays; a second run meanwhile is not started', async () => {
  const world = fakeRetentionWorld({ refused: [], graceSeconds: 3_600 });
  const workflowId = workflowIds.retention(shop.name);
  await withWorkers(real, world.activities, [], async () => {
    const handle = await real.client.workflow.start('applyRetention', {
      ...{ workflowId, taskQueue: taskQueues.workflows },
      args: [{ ...input, isOnlyOne: true }],
    });
    const waits = async () => (await handle.query<RunStatus>('status')).waitingFor?.includes('grace') ?? false;
    await waitUntil('the grace', waits, { deadlineMs: 30_000 });
    const scheduled = { workflowId: `${shop.name}-retention-now`, taskQueue: taskQueues.workflows, args: [input] };
    const second = (await real.client.workflow.execute('applyRetention', scheduled)) as ApplyRetentionResult;
    expect(second).toMatchObject({ skipped: true, swept: [] });
    await handle.executeUpdate('abort', { args: [{ by: 'kim', reason: 'audit' }] });
    const result = (await handle.result()) as ApplyRetentionResult;
    expect(result).toMatchObject({ aborted: 'kim: audit', swept: [], failed: [] });
    expect(world.calls.filter((call) => call.startsWith('sweep'))).toEqual([]);
    expect(world.calls.filter((call) => call.startsWith('unmark'))).toEqual(['unmark:orders', 'unmark:events']);
    expect((await handle.query<RunStatus>('status')).messages).toContain('orders: an old one is damaged');
  });
}, 60_000);
