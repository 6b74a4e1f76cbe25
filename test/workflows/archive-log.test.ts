import { randomUUID } from 'node:crypto';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { Context } from '@temporalio/activity';
import { failure } from '../../core/errors';
import { taskQueues, workflowIds } from '../../core/names';
import { fakeBackupWorld, type FakeBackupWorld } from '../support/fake-backup';
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

/** Follows until it is cancelled, as the real one does for ten minutes. */
async function follow(): Promise<void> {
  const beat = setInterval(() => Context.current().heartbeat(), 300);
  try {
    await Context.current().cancelled;
  } finally {
    clearInterval(beat);
  }
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

test('an archiver that went on behind a gap has it raised at once: a new full, people told, archiving goes on', async () => {
  const world = fakeBackupWorld();
  const { archiveLog } = world.activities;
  let gaps = 0;
  world.activities['archiveLog'] = async (input) => {
    const outcome = await archiveLog!(input);
    gaps += 1;
    if (gaps > 2) await follow();
    return { ...outcome, needsBase: gaps === 1 ? 'WAL from 0/3000000 to 0/5000000 is gone' : null };
  };
  await withArchiver(world, async () => {
    await waitUntil('the new full', async () => world.calls.includes('commitManifest'), { deadlineMs: 30_000 });
    await waitUntil('people told', async () => world.calls.includes('notify:orders: the log has a gap'), {
      deadlineMs: 30_000,
    });
    await waitUntil('archiving again', async () => count(world, 'archiveLog:primary') === 3, { deadlineMs: 30_000 });
    expect(count(world, 'prepareBackup:orders@primary')).toBe(1);
    // Its id is the next test's lock.
    await env.client.workflow.getHandle(workflowIds.backup(shop.name, 'orders')).result();
  });
});

test('a gap that opens while a backup runs: that one began before it, and the new full comes after', async () => {
  const world = fakeBackupWorld();
  const finish = Promise.withResolvers<void>();
  world.before['dumpVolumes'] = () => (count(world, 'dumpVolumes') === 1 ? finish.promise : undefined);
  let gap = true;
  world.before['archiveLog'] = async () => {
    if (!gap) return follow();
    gap = false;
    await waitUntil('the other backup copying', async () => count(world, 'dumpVolumes') === 1);
    throw failure('LogGap', 'segment 000000010000000000000003 is gone from the server');
  };
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
  });
});

test('a gap in the log is answered by a new full backup, and archiving goes on', async () => {
  const world = fakeBackupWorld();
  let gap = true;
  world.before['archiveLog'] = async () => {
    if (!gap) return follow();
    gap = false;
    throw failure('LogGap', 'segment 000000010000000000000003 is gone from the server');
  };
  await withArchiver(world, async (workflowId) => {
    await waitUntil('the new full backup', async () => world.calls.includes('commitManifest'), { deadlineMs: 30_000 });
    await waitUntil('archiving again', async () => count(world, 'archiveLog:primary') === 2, { deadlineMs: 30_000 });
    const status = await env.client.workflow.getHandle(workflowId).query<{ messages: string[] }>('status');
    expect(status.messages.join()).toMatch(/new full backup is needed: segment 0*10*3 is gone/);
  });
});
