import { randomUUID } from 'node:crypto';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { taskQueues } from '../../core/names';
import type { BackUpStoreResult } from '../../core/runs';
import { fakeBackupWorld, type FakeBackupWorld } from '../support/fake-backup';
import { shop } from '../support/shop-application';
import { localEnvironment, withWorkers } from '../support/workflow-environment';

let env: TestWorkflowEnvironment;
beforeAll(async () => {
  env = await localEnvironment();
}, 120_000);
afterAll(() => env?.teardown());

const site = taskQueues.site(shop.name, 'primary');
const host = (name: string) => taskQueues.host(shop.name, 'primary', name);

async function backUp(
  world: FakeBackupWorld,
  queues: readonly string[] = [site, host('h1')],
): Promise<BackUpStoreResult> {
  return withWorkers(env, world.activities, queues, async () => {
    const args = [{ application: shop.name, store: 'orders', type: 'full', reason: 'test' }];
    const handle = await env.client.workflow.start('backUpStore', {
      taskQueue: taskQueues.workflows,
      workflowId: randomUUID(),
      args,
    });
    return (await handle.result()) as BackUpStoreResult;
  });
}

// The time-skipping server does not skip while an activity waits for a worker, so this one takes its real minute.
test('a host that takes no work is replaced: the sequence starts again on another one', async () => {
  const world = fakeBackupWorld();
  world.host = 'lost';
  world.before['prepareBackup'] = () => {
    if (world.calls.filter((call) => call.startsWith('prepareBackup')).length > 1) world.host = 'h1';
  };
  await expect(backUp(world)).resolves.toMatchObject({ store: 'orders' });
  expect(world.calls.filter((call) => call.startsWith('prepareBackup'))).toHaveLength(2);
  expect(world.calls).toContain('commitManifest');
}, 150_000);
