import { randomUUID } from 'node:crypto';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { activityInfo, Context } from '@temporalio/activity';
import { failure } from '../../core/errors';
import { taskQueues, workflowIds } from '../../core/names';
import type { BackUpStoreResult, LaunchBackupsResult, RunStatus } from '../../core/runs';
import { fakeBackupWorld, type FakeBackupWorld } from '../support/fake-backup';
import { waitUntil } from '../support/servers';
import { shop } from '../support/shop-application';
import { localEnvironment, withWorkers } from '../support/workflow-environment';

let env: TestWorkflowEnvironment;
let lostHost: LostHost;
beforeAll(async () => {
  env = await localEnvironment();
  lostHost = await withLostHost();
}, 120_000);
afterAll(async () => {
  await lostHost?.ended;
  await lostHost?.env.teardown();
  await env?.teardown();
}, 120_000);

const site = taskQueues.site(shop.name, 'primary');
const host = (name: string) => taskQueues.host(shop.name, 'primary', name);

async function backUp(
  world: FakeBackupWorld,
  type: 'full' | 'incr' = 'full',
  where = env,
): Promise<BackUpStoreResult & { status: RunStatus }> {
  return withWorkers(where, world.activities, [site, host('h1')], async () => {
    const args = [{ application: shop.name, store: 'orders', type, reason: 'test' }];
    const handle = await where.client.workflow.start('backUpStore', {
      taskQueue: taskQueues.workflows,
      workflowId: randomUUID(),
      args,
    });
    const result = (await handle.result()) as BackUpStoreResult;
    return { ...result, status: await handle.query<RunStatus>('status') };
  });
}

interface LostHost {
  readonly env: TestWorkflowEnvironment;
  readonly world: FakeBackupWorld;
  readonly ended: Promise<PromiseSettledResult<BackUpStoreResult>>;
}

/**
 * Begins the backup whose host is lost. It takes its real minute, that long a host may be silent, and takes it on a server
 * of its own beside the other tests; the time-skipping server does not skip what is scheduled and not started.
 */
async function withLostHost(): Promise<LostHost> {
  const lost = await localEnvironment();
  const world = fakeBackupWorld();
  world.host = 'lost';
  world.before['prepareBackup'] = () => {
    if (world.calls.filter((call) => call.startsWith('prepareBackup')).length > 1) world.host = 'h1';
  };
  const ended = Promise.allSettled([backUp(world, 'full', lost)]).then(([end]) => end);
  return { env: lost, world, ended };
}

/** An upload that waits for more volumes: cancellation reaches it with its beats. */
async function untilCancelled(): Promise<never> {
  const beat = setInterval(() => Context.current().heartbeat(), 500);
  try {
    return await Context.current().cancelled;
  } finally {
    clearInterval(beat);
  }
}

test('a backup exists only after everything was dumped, uploaded, verified and covered by the log', async () => {
  const world = fakeBackupWorld();
  await expect(backUp(world)).resolves.toMatchObject({
    backupId: '20260101T000000Z-full-00000001',
    storedBytes: 1_000,
  });
  expect(world.calls.toSorted()).toEqual(
    [
      'prepareBackup:orders@primary',
      'dumpVolumes',
      'uploadVolumes',
      'verifyArtifacts',
      'waitForLog',
      'commitManifest',
      'sweepAttempts:1',
      'removeSpool',
    ].toSorted(),
  );
  const after = world.calls.slice(3);
  expect(after).toEqual(['verifyArtifacts', 'waitForLog', 'commitManifest', 'sweepAttempts:1', 'removeSpool']);
});

test('dump and upload run at the same time', async () => {
  const world = fakeBackupWorld();
  let dumping = false;
  world.before['uploadVolumes'] = () =>
    waitUntil('the dump to run beside the upload', async () => dumping, { deadlineMs: 20_000 });
  world.before['dumpVolumes'] = async () => {
    dumping = true;
    await waitUntil('the upload to run beside the dump', async () => world.calls.includes('uploadVolumes'), {
      deadlineMs: 20_000,
    });
  };
  await expect(backUp(world)).resolves.toMatchObject({ store: 'orders' });
});

test('a dump that fails for good commits nothing, stops the upload and removes what was left', async () => {
  const world = fakeBackupWorld();
  let uploadStopped = false;
  world.before['uploadVolumes'] = async () => {
    try {
      await untilCancelled();
    } finally {
      uploadStopped = true;
    }
  };
  world.before['dumpVolumes'] = () => {
    throw failure('AccessDenied', 'the role may not replicate');
  };
  await expect(backUp(world)).rejects.toMatchObject({ cause: { cause: { type: 'AccessDenied' } } });
  await waitUntil('the upload to stop', async () => uploadStopped, { deadlineMs: 20_000 });
  expect(world.calls).not.toContain('commitManifest');
  expect(world.calls.slice(-2)).toEqual(['sweepAttempts:null', 'removeSpool']);
});

test('a dump is tried again as a new attempt before it is given up', async () => {
  const world = fakeBackupWorld();
  const attempts: number[] = [];
  world.before['dumpVolumes'] = () => {
    attempts.push(activityInfo().attempt);
    if (attempts.length < 3) throw failure('TargetUnreachable', 'connection refused');
  };
  await backUp(world);
  expect(attempts).toEqual([1, 2, 3]);
});

describe('an incremental that the server refuses after it was planned', () => {
  const why = 'db:5432 (site primary) cannot continue the chain: WAL summaries are required';
  const refusing = (name: 'dumpVolumes' | 'streamVolumes') => {
    const world = fakeBackupWorld();
    world.mode = name === 'streamVolumes' ? 'stream' : 'spool';
    world.before[name] = () => {
      if (world.calls.filter((call) => call === name).length === 1) throw failure('IncrementalRefused', why);
    };
    return world;
  };

  test('becomes a full in the same run, which says why; what the incremental left is removed first', async () => {
    const world = refusing('dumpVolumes');
    let uploads = 0;
    world.before['uploadVolumes'] = async () => {
      uploads += 1;
      // The first waits for volumes, as the real one does, until the dump's refusal stops it.
      if (uploads === 1) await untilCancelled();
    };
    const { backupId, type, typeReason, status } = await backUp(world, 'incr');
    expect({ backupId, type }).toEqual({ backupId: '20260101T000000Z-full-00000001', type: 'full' });
    expect(typeReason).toBe(`incremental asked, full taken: ${why}`);
    expect(world.calls.filter((call) => !/^(dump|upload)/.test(call))).toEqual([
      'prepareBackup:orders@primary',
      'sweepAttempts:null',
      'removeSpool',
      'prepareBackup:orders@primary',
      'verifyArtifacts',
      'waitForLog',
      'commitManifest',
      'sweepAttempts:1',
      'removeSpool',
    ]);
    expect(status.messages).toEqual([`${why}: a full is taken instead`]);
    expect(status.steps.find(({ id }) => id === 'prepare')?.note).toContain(why);
    expect(status.steps.map(({ state }) => state)).toEqual(status.steps.map(() => 'done'));
  });

  test('and fails with the full, of which nothing stays', async () => {
    const world = refusing('streamVolumes');
    world.before['verifyArtifacts'] = () => Promise.reject(failure('BackupCorrupt', 'bytes differ'));
    await expect(backUp(world, 'incr')).rejects.toMatchObject({
      cause: { cause: { type: 'BackupCorrupt' } },
    });
    expect(world.calls.filter((call) => call === 'streamVolumes')).toHaveLength(2);
    expect(world.swept).toEqual(['20260101T000000Z-incr-00000001', '20260101T000000Z-full-00000001']);
  });

  test('a full that is refused so is no full: the run fails instead of going round', async () => {
    const world = refusing('streamVolumes');
    await expect(backUp(world)).rejects.toMatchObject({ cause: { cause: { type: 'IncrementalRefused' } } });
    expect(world.calls.filter((call) => call.startsWith('prepareBackup'))).toHaveLength(1);
  });
});

test('stream mode is one step', async () => {
  const world = fakeBackupWorld();
  world.mode = 'stream';
  await backUp(world);
  expect(world.calls).toContain('streamVolumes');
  expect(world.calls).not.toContain('dumpVolumes');
});

test('one store that fails does not stop the others, and one that still runs is skipped', async () => {
  const world = fakeBackupWorld();
  const release = Promise.withResolvers<void>();
  world.before['dumpVolumes'] = async () => {
    const { workflowExecution } = activityInfo();
    if (workflowExecution?.workflowId === workflowIds.backup(shop.name, 'sessions')) {
      throw failure('AccessDenied', 'no such user');
    }
    if (workflowExecution?.workflowId === workflowIds.backup(shop.name, 'assets')) await release.promise;
  };
  await withWorkers(env, world.activities, [site, host('h1')], async () => {
    const start = (type: string, workflowId: string, args: object[]) =>
      env.client.workflow.start(type, { taskQueue: taskQueues.workflows, workflowId, args });
    const running = await start('backUpStore', workflowIds.backup(shop.name, 'assets'), [
      { application: shop.name, store: 'assets', type: 'full', reason: 'earlier' },
    ]);
    await waitUntil('the earlier backup to dump', async () => world.calls.includes('dumpVolumes'), {
      deadlineMs: 20_000,
    });
    const launcher = await start('launchBackups', randomUUID(), [
      { application: shop.name, stores: ['orders', 'sessions', 'assets'], type: 'full', reason: 'schedule' },
    ]);
    const result = (await launcher.result()) as LaunchBackupsResult;
    release.resolve();
    await running.result();
    expect(result.backups.map(({ store }) => store)).toEqual(['orders']);
    expect(result.failed).toEqual([{ store: 'sessions', code: 'AccessDenied', message: 'no such user' }]);
    expect(result.skipped).toEqual(['assets']);
  });
});

test('a host that takes no work is replaced: the sequence starts again on another one', async () => {
  const { world, ended } = lostHost;
  expect(await ended).toMatchObject({ status: 'fulfilled', value: { store: 'orders' } });
  expect(world.calls.filter((call) => call.startsWith('prepareBackup'))).toHaveLength(2);
  expect(world.calls).toContain('commitManifest');
}, 150_000);
