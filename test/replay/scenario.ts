import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { FailOverStatus } from '../../core/role-change-runs';
import type { RunStatus } from '../../core/runs';
import { waitUntil } from '../support/servers';
import type { FakeActivities } from '../support/workflow-environment';

/** One course of one workflow whose history is kept: the workflow must be able to replay it for ever. */
export interface Scenario {
  readonly name: string;
  readonly type: string;
  readonly input: object;
  readonly activities: FakeActivities;
  /** Brings the run to the point where its history is worth keeping: to its end, unless it lives for ever. */
  drive(env: TestWorkflowEnvironment, workflowId: string): Promise<void>;
}

export const toTheEnd: Scenario['drive'] = async (env, workflowId) =>
  void (await env.client.workflow.getHandle(workflowId).result());
export const toFailure: Scenario['drive'] = (env, workflowId) =>
  env.client.workflow
    .getHandle(workflowId)
    .result()
    .then(
      () => Promise.reject(new Error(`${workflowId} was to fail`)),
      () => {},
    );

export const toRefusal = (update: Promise<unknown>) =>
  update.then(
    () => Promise.reject(new Error('the update was to be refused')),
    () => {},
  );

export const status = <S extends RunStatus>(env: TestWorkflowEnvironment, workflowId: string) =>
  env.client.workflow.getHandle(workflowId).query<S>('status');

export const decided =
  (...commands: readonly (readonly [wait: RegExp, name: string, payload: object])[]): Scenario['drive'] =>
  async (env, workflowId) => {
    for (const [wait, name, payload] of commands) {
      const waits = async () => wait.test((await status<FailOverStatus>(env, workflowId)).waitingFor ?? '');
      await waitUntil(`${workflowId} to wait for ${wait}`, waits, { deadlineMs: 30_000 });
      await env.client.workflow.getHandle(workflowId).executeUpdate(name, { args: [payload] });
    }
    await toTheEnd(env, workflowId);
  };

/** One round at primary, then moved to dr, where it goes on. */
export const moved =
  (world: { activeSite?: string; epoch?: unknown }, calls: readonly string[], call: string): Scenario['drive'] =>
  async (env, workflowId) => {
    await waitUntil(`${call} at primary`, async () => calls.includes(`${call}:primary`), { deadlineMs: 30_000 });
    Object.assign(world, { activeSite: 'dr', epoch: 1 });
    await env.client.workflow.getHandle(workflowId).signal('moveTo', { epoch: 1 });
    await waitUntil(`${call} at dr`, async () => calls.includes(`${call}:dr`), { deadlineMs: 30_000 });
  };
