import { randomUUID } from 'node:crypto';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { failure, findFailure } from '../../core/errors';
import type { FailureCode } from '../../core/failure-classes';
import { taskQueues } from '../../core/names';
import type { BackUpStoreResult, RestoreStoresInput, RestoreStoresResult, RunStatus } from '../../core/runs';
import { fakeBackupWorld } from '../support/fake-backup';
import { fakeRestoreActivities } from '../support/fake-restore';
import { shop } from '../support/shop-application';
import { timeSkippingEnvironment, withWorkers } from '../support/workflow-environment';

let env: TestWorkflowEnvironment;
beforeAll(async () => {
  env = await timeSkippingEnvironment();
}, 120_000);
afterAll(() => env?.teardown());

const place = { directory: '/restore/orders', host: '127.0.0.1', port: 0, osUser: null, overwrite: false };
const input: RestoreStoresInput = {
  application: shop.name,
  restoreId: 'r1',
  site: 'primary',
  target: { kind: 'latest' },
  stores: [{ store: 'orders', place }],
  requestedBy: 'sam',
  approved: true,
};

/** Restores while `step` fails with `code` for so many tries. */
async function restoreWith(step: 'rebuildStore' | 'replayLog', code: FailureCode, failures: number) {
  const calls: string[] = [];
  const fakes = fakeRestoreActivities(calls);
  let tries = 0;
  const failing = async <T>(work: () => Promise<T>): Promise<T> => {
    if (++tries <= failures) throw failure(code, `${step} failed`);
    return work();
  };
  const activities = {
    ...fakes,
    ...(step === 'rebuildStore'
      ? {
          rebuildStore: (store: Parameters<NonNullable<typeof fakes.rebuildStore>>[0]) =>
            failing(() => fakes.rebuildStore!(store)),
        }
      : {
          replayLog: (store: Parameters<NonNullable<typeof fakes.replayLog>>[0]) =>
            failing(() => fakes.replayLog!(store)),
        }),
  };
  const queues = [taskQueues.site(shop.name, 'primary'), taskQueues.host(shop.name, 'primary', 'h1')];
  return withWorkers(env, activities, queues, async () => {
    const handle = await env.client.workflow.start<(input: RestoreStoresInput) => Promise<RestoreStoresResult>>(
      'restoreStores',
      { taskQueue: taskQueues.workflows, workflowId: randomUUID(), args: [input] },
    );
    const error = await handle.result().then(
      () => null,
      (reason: unknown) => reason,
    );
    // The server's clock runs on after the end.
    const { startTime, closeTime } = await handle.describe();
    const hours = ((closeTime?.getTime() ?? NaN) - startTime.getTime()) / 3_600_000;
    return { calls, tries, error, hours, status: await handle.query<RunStatus>('status') };
  });
}

test.each(['rebuildStore', 'replayLog'] as const)(
  'a repository that is away for an hour costs %s an hour',
  async (step) => {
    const { calls, error, hours, status } = await restoreWith(step, 'RepositoryUnavailable', 70);
    expect(error).toBeNull();
    expect(hours).toBeGreaterThan(0.9);
    expect(calls).toEqual(['plan:orders', 'rebuild:orders', 'replay:orders', 'open:orders', 'fingerprint:orders']);
    expect(status.messages).toEqual([expect.stringContaining('is tried again for a day')]);
  },
  120_000,
);

test('one that stays away is told after a day', async () => {
  const { error, hours } = await restoreWith('rebuildStore', 'RepositoryUnavailable', Infinity);
  expect(findFailure(error)?.code).toBe('RepositoryUnavailable');
  expect(hours).toBeGreaterThan(24);
  expect(hours).toBeLessThan(25);
}, 120_000);

test('what is wrong with the place itself is told after five tries', async () => {
  const { tries, error, hours } = await restoreWith('replayLog', 'TargetUnreachable', Infinity);
  expect(findFailure(error)?.code).toBe('TargetUnreachable');
  expect(tries).toBe(5);
  expect(hours).toBeLessThan(0.1);
}, 120_000);

test.each(['verifyArtifacts', 'waitForLog', 'commitManifest'])(
  'a finished dump outlives a repository that is away for hours before %s',
  async (step) => {
    const world = fakeBackupWorld();
    let failures = 0;
    world.before[step] = () => {
      failures += 1;
      if (failures <= 250) throw failure('RepositoryUnavailable', 'S3 is away');
    };
    const queues = [taskQueues.site(shop.name, 'primary'), taskQueues.host(shop.name, 'primary', 'h1')];
    await withWorkers(env, world.activities, queues, async () => {
      const handle = await env.client.workflow.start('backUpStore', {
        taskQueue: taskQueues.workflows,
        workflowId: randomUUID(),
        args: [{ application: shop.name, store: 'orders', type: 'full', reason: 'test' }],
      });
      await expect(handle.result()).resolves.toMatchObject({ store: 'orders' } satisfies Partial<BackUpStoreResult>);
    });
    expect(world.calls.filter((call) => call === 'dumpVolumes')).toHaveLength(1);
  },
  120_000,
);
