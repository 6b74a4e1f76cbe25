import { randomUUID } from 'node:crypto';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { failure } from '../../core/errors';
import { taskQueues, workflowIds } from '../../core/names';
import { fakeBackupWorld, type FakeBackupWorld } from '../support/fake-backup';
import { follow } from '../support/follow';
import { waitUntil } from '../support/servers';
import { shop } from '../support/shop-application';
import { localEnvironment, withWorkers } from '../support/workflow-environment';

let env: TestWorkflowEnvironment;
beforeAll(async () => {
  env = await localEnvironment();
}, 120_000);
afterAll(() => env?.teardown());

const queues = ['primary', 'dr'].flatMap((site) => [
  taskQueues.site(shop.name, site),
  taskQueues.host(shop.name, site, 'h1'),
]);

async function withArchiver(world: FakeBackupWorld, drive: (workflowId: string) => Promise<void>): Promise<void> {
  await withWorkers(env, world.activities, queues, async () => {
    const workflowId = randomUUID();
    const args = [{ application: shop.name, store: 'orders' }];
    const handle = await env.client.workflow.start('archiveLog', { taskQueue: taskQueues.workflows, workflowId, args });
    try {
      await drive(workflowId);
    } finally {
      await handle.terminate();
    }
  });
}

const count = (world: FakeBackupWorld, call: string) => world.calls.filter((each) => each === call).length;

test('a role change moves the archiver to the new site at once, though the old one never answers', async () => {
  const world = fakeBackupWorld();
  world.before['archiveLog'] = follow;
  await withArchiver(world, async (workflowId) => {
    await waitUntil('archiving at primary', async () => count(world, 'archiveLog:primary') === 1, {
      deadlineMs: 20_000,
    });
    Object.assign(world, { activeSite: 'dr', epoch: 1 });
    await env.client.workflow.getHandle(workflowId).signal('moveTo', { epoch: 1 });
    await waitUntil('archiving at dr', async () => count(world, 'archiveLog:dr') === 1, { deadlineMs: 20_000 });
    // An old message must not move it back.
    await env.client.workflow.getHandle(workflowId).signal('moveTo', { epoch: 1 });
    await expect(env.client.workflow.getHandle(workflowId).query('status')).resolves.toMatchObject({
      phase: 'archiving from dr',
    });
  });
});

const GAP = 'WAL from 0/3000000 to 0/5000000 of 1 is gone from the server';

/** A log with a gap, as an archiver meets it: it goes on behind it once that was taken up, and then follows. */
function withGap(world: FakeBackupWorld, found: () => Promise<void> = async () => undefined): (readonly string[])[] {
  const { archiveLog } = world.activities;
  const answered: (readonly string[])[] = [];
  world.activities['archiveLog'] = async (input) => {
    const { answeredGaps = [] } = input;
    answered.push(answeredGaps);
    const outcome = await archiveLog!(input);
    if (!answeredGaps.includes(GAP)) {
      await found();
      return { ...outcome, needsBase: GAP };
    }
    await follow();
    return outcome;
  };
  return answered;
}

test('a gap is raised at once: a new full, people told, and the log goes on behind it', async () => {
  const world = fakeBackupWorld();
  const answered = withGap(world);
  await withArchiver(world, async (workflowId) => {
    await waitUntil('the new full', async () => world.calls.includes('commitManifest'), { deadlineMs: 30_000 });
    await waitUntil('people told', async () => world.calls.includes('notify:orders: the log has a gap'), {
      deadlineMs: 30_000,
    });
    await waitUntil('archiving again', async () => answered.length === 2, { deadlineMs: 30_000 });
    expect(answered).toEqual([[], [GAP]]);
    expect(count(world, 'prepareBackup:orders@primary')).toBe(1);
    const status = await env.client.workflow.getHandle(workflowId).query<{ messages: string[] }>('status');
    expect(status.messages.join()).toContain(`a new full backup is needed: ${GAP}`);
    // Its id is the next test's lock.
    await env.client.workflow.getHandle(workflowIds.backup(shop.name, 'orders')).result();
  });
});

test('a gap that opens while a backup runs: that one began before it, and the new full comes after', async () => {
  const world = fakeBackupWorld();
  const finish = Promise.withResolvers<void>();
  world.before['dumpVolumes'] = () => (count(world, 'dumpVolumes') === 1 ? finish.promise : undefined);
  withGap(world, () => waitUntil('the other backup copying', async () => count(world, 'dumpVolumes') === 1));
  await withArchiver(world, async (archiver) => {
    const running = await env.client.workflow.start('backUpStore', {
      taskQueue: taskQueues.workflows,
      workflowId: workflowIds.backup(shop.name, 'orders'),
      args: [{ application: shop.name, store: 'orders', type: 'full', reason: 'a person' }],
    });
    await waitUntil('a new full wanted', async () => {
      const { messages } = await env.client.workflow.getHandle(archiver).query<{ messages: string[] }>('status');
      return /new full backup is needed/.test(messages.join()) && count(world, 'dumpVolumes') === 1;
    });
    finish.resolve();
    await running.result();
    await waitUntil('another one after it', async () => count(world, 'commitManifest') === 2, { deadlineMs: 40_000 });
    expect(count(world, 'dumpVolumes')).toBe(2);
    await env.client.workflow.getHandle(workflowIds.backup(shop.name, 'orders')).result();
  });
});

test('a server put back to an earlier state: people are told once, no base is taken of it, and it is looked at again', async () => {
  const world = fakeBackupWorld();
  let flushed = 0x50;
  world.before['archiveLog'] = () => {
    // The server writes on, so that each round says another position.
    flushed += 1;
    throw failure('LogGap', `1/1 is archived up to 0/90, the server has only 0/${flushed.toString(16)}`);
  };
  await withArchiver(world, async (workflowId) => {
    const asked = () =>
      env.client.workflow.getHandle(workflowId).query<{ messages: string[]; phase: string }>('status');
    const isStill = async () => (await asked()).phase.startsWith('standing still');
    await waitUntil('the end of the second look', async () => count(world, 'archiveLog:primary') === 2 && isStill(), {
      deadlineMs: 40_000,
    });
    const status = await asked();
    expect(status.messages).toEqual([expect.stringContaining('1/1 is archived up to 0/90')]);
    expect(world.calls.filter((call) => !call.startsWith('archiveLog'))).toEqual([
      'notify:orders: the log cannot be archived',
    ]);
  });
});
