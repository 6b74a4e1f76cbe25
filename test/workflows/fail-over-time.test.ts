import { randomUUID } from 'node:crypto';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { taskQueues } from '../../core/names';
import type { FailOverResult, FailOverStatus } from '../../core/runs';
import { fakeFailoverWorld } from '../support/fake-failover';
import { shop } from '../support/shop-application';
import { timeSkippingEnvironment, withWorkers } from '../support/workflow-environment';

let env: TestWorkflowEnvironment;
beforeAll(async () => {
  env = await timeSkippingEnvironment();
}, 120_000);
afterAll(() => env?.teardown());

test('a day without an answer escalates again and again and never approves', async () => {
  const world = fakeFailoverWorld();
  await withWorkers(env, world.activities, [taskQueues.site(shop.name, 'dr')], async () => {
    const handle = await env.client.workflow.start<() => Promise<FailOverResult>>('failOver', {
      taskQueue: taskQueues.workflows,
      workflowId: randomUUID(),
      args: [{ application: shop.name, toSite: 'dr', requestedBy: 'sam', reason: 'drill of patience' }] as never,
    });
    await env.sleep('24 hours');
    const status = await handle.query<FailOverStatus>('status');
    expect(status).toMatchObject({ phase: 'waiting for approval', approvedBy: null, outcome: null });
    const escalations = world.calls.filter((call) => /^notify:.*waits for approval/.test(call)).length;
    // Every ten minutes for a day, less what the probes took.
    expect(escalations).toBeGreaterThanOrEqual(142);
    expect(escalations).toBeLessThanOrEqual(144);
    expect(world.calls.filter((call) => /fence|promote|takeEpoch/.test(call))).toEqual([]);
    await handle.signal('reject', { by: 'dana', reason: 'nobody came' });
    await expect(handle.result()).resolves.toMatchObject({ outcome: 'rejected' });
  });
}, 120_000);
