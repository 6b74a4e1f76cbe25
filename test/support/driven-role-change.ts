import { randomUUID } from 'node:crypto';
import type { WorkflowHandle } from '@temporalio/client';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { taskQueues, workflowIds } from '../../core/names';
import type { FailOverInput, FailOverResult, FailOverStatus } from '../../core/role-change-runs';
import type { FakeWorld } from './fake-failover';
import { waitUntil } from './servers';
import { shop } from './shop-application';
import { withWorkers } from './workflow-environment';

export type RoleChangeHandle = WorkflowHandle<(input: FailOverInput) => Promise<FailOverResult>>;

const QUEUES = [taskQueues.site(shop.name, 'dr'), taskQueues.site(shop.name, 'primary')];

/** Starts a role change in a pretended world and lets the test drive it; what it started for longer is ended afterwards. */
export async function withRoleChange(
  env: TestWorkflowEnvironment,
  workflow: 'failOver' | 'switchOver',
  world: FakeWorld,
  drive: (handle: RoleChangeHandle) => Promise<void>,
): Promise<void> {
  await withWorkers(env, world.activities, QUEUES, async () => {
    const handle: RoleChangeHandle = await env.client.workflow.start(workflow, {
      taskQueue: taskQueues.workflows,
      workflowId: `${workflowIds.roleChange(shop.name)}:${randomUUID()}`,
      args: [{ application: shop.name, toSite: 'dr', requestedBy: 'sam', reason: 'as the test says' }],
    });
    try {
      await drive(handle);
    } finally {
      const started = [
        ...shop.stores.map(({ name }) => workflowIds.archive(shop.name, name)),
        workflowIds.watch(shop.name),
        ...[1, 2].flatMap((epoch) => [workflowIds.settle(shop.name, epoch), workflowIds.holdFence(shop.name, epoch)]),
      ];
      for (const id of [handle.workflowId, ...started])
        await env.client.workflow
          .getHandle(id)
          .terminate()
          .catch(() => {}); // most of them were never started, or have ended
    }
  });
}

/** Until the run waits for people to do what is meant; answers its status then. */
export async function waitingFor(handle: RoleChangeHandle, what: RegExp): Promise<FailOverStatus> {
  let status = await handle.query<FailOverStatus>('status');
  await waitUntil(
    `the role change to wait for ${what}`,
    async () => what.test((status = await handle.query<FailOverStatus>('status')).waitingFor ?? ''),
    { deadlineMs: 30_000 },
  );
  return status;
}
