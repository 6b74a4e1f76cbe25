import { randomUUID } from 'node:crypto';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { CopyStoresInput, CopyStoresResult } from '../../core/copy-runs';
import { taskQueues, workflowIds } from '../../core/names';
import type { BackUpStoreResult, RunStatus } from '../../core/runs';
import { resultLines } from '../../starters/copies';
import { fakeBackupWorld } from '../support/fake-backup';
import { fakeCopyWorld } from '../support/fake-copies';
import { shop } from '../support/shop-application';
import { type FakeActivities, localEnvironment, withWorkers } from '../support/workflow-environment';

let env: TestWorkflowEnvironment;
beforeAll(async () => {
  env = await localEnvironment();
}, 120_000);
afterAll(() => env?.teardown());

const input: CopyStoresInput = {
  application: shop.name,
  copies: ['orders', 'events', 'assets'].map((store) => ({ store, copy: 'offsite' })),
  requestedBy: 'sam',
  wholeListing: false,
};

const copyAll = (activities: FakeActivities, changes: Partial<CopyStoresInput> = {}) =>
  withWorkers(env, activities, [], async () => {
    const options = { workflowId: randomUUID(), taskQueue: taskQueues.workflows, args: [{ ...input, ...changes }] };
    return (await env.client.workflow.execute('copyStores', options)) as CopyStoresResult;
  });

test('every copy is made; one that fails leaves the others alone, what is damaged is told', async () => {
  const calls: string[] = [];
  const world = fakeCopyWorld(calls, { broken: ['events'], damaged: ['assets'] });
  const result = await copyAll(world, { wholeListing: true });
  expect(calls.toSorted()).toEqual([
    'assets to offsite, whole',
    'events to offsite, whole',
    'orders to offsite, whole',
  ]);
  expect(result.copied.map(({ store }) => store).toSorted()).toEqual(['assets', 'orders']);
  expect(result.failed).toEqual([
    { store: 'events', copy: 'offsite', code: 'AccessDenied', message: 'offsite refuses events' },
  ]);
  const lines = resultLines(result);
  expect(lines).toContain('assets: NOT COPIED to offsite: its SHA-256 differs');
  expect(lines).toContain('events: the copy to offsite FAILED, offsite refuses events');
}, 60_000);

test('a copy that is being made is not begun twice', async () => {
  const calls: string[] = [];
  const [began, free] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const { copyToRepository } = fakeCopyWorld(calls);
  const world: FakeActivities = {
    async copyToRepository(request) {
      began.resolve();
      await free.promise;
      return copyToRepository!(request);
    },
  };
  await withWorkers(env, world, [], async () => {
    const args = [{ ...input, copies: [{ store: 'orders', copy: 'offsite' }] }];
    const start = () =>
      env.client.workflow.start('copyStores', { workflowId: randomUUID(), taskQueue: taskQueues.workflows, args });
    try {
      const first = await start();
      await began.promise;
      const second = (await (await start()).result()) as CopyStoresResult;
      expect(second.skipped).toEqual([{ store: 'orders', copy: 'offsite' }]);
      free.resolve();
      expect(((await first.result()) as CopyStoresResult).copied).toHaveLength(1);
    } finally {
      free.resolve();
    }
  });
}, 60_000);

test('a backup begins its copies and does not wait for them', async () => {
  const calls: string[] = [];
  const world = fakeBackupWorld();
  const describe = world.activities.describeApplication!;
  const stores = shop.stores.map((store) => ({ ...store, copies: ['offsite'] }));
  const activities: FakeActivities = {
    ...world.activities,
    ...fakeCopyWorld(calls),
    async describeApplication(asked) {
      const described = await describe(asked);
      return { ...described, application: { ...described.application, stores } };
    },
  };
  const queues = [taskQueues.site(shop.name, 'primary'), taskQueues.host(shop.name, 'primary', 'h1')];
  await withWorkers(env, activities, queues, async () => {
    const handle = await env.client.workflow.start('backUpStore', {
      ...{ taskQueue: taskQueues.workflows, workflowId: randomUUID() },
      args: [{ application: shop.name, store: 'orders', type: 'full', reason: 'test' }],
    });
    expect(((await handle.result()) as BackUpStoreResult).warnings).toEqual([]);
    const { steps } = await handle.query<RunStatus>('status');
    expect(steps.at(-1)).toMatchObject({ id: 'copy:offsite', state: 'done', note: 'begun' });
    await env.client.workflow.getHandle(workflowIds.copy(shop.name, 'offsite', 'orders')).result();
    expect(calls).toEqual(['orders to offsite']);
  });
}, 60_000);
