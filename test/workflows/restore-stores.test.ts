import { randomUUID } from 'node:crypto';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { failure, findFailure } from '../../core/errors';
import { taskQueues } from '../../core/names';
import type { CheckResult } from '../../core/restore-checks';
import type { RunReport } from '../../core/report/run-report';
import type { RestoreStoresInput, RestoreStoresResult, RunStatus } from '../../core/runs';
import { fakeRestoreActivities } from '../support/fake-restore';
import { shop } from '../support/shop-application';
import { localEnvironment, withWorkers, type FakeActivities } from '../support/workflow-environment';

let env: TestWorkflowEnvironment;
beforeAll(async () => {
  env = await localEnvironment();
}, 120_000);
afterAll(() => env?.teardown());

const QUEUES = [taskQueues.site(shop.name, 'primary'), taskQueues.host(shop.name, 'primary', 'h1')];
const held: CheckResult = { name: 'rows', ok: true, expected: '1', found: '1', problem: null, seconds: 0.1 };
const broken: CheckResult = { ...held, name: 'customers', ok: false, found: '0' };

/** A world whose stores named have checks with these results. */
function world(calls: string[], checks: Readonly<Record<string, readonly CheckResult[]>> = {}): FakeActivities {
  const fakes = fakeRestoreActivities(calls);
  return {
    ...fakes,
    planRestores: async (input) => {
      calls.push(`leave:${input.leave}`);
      return { ...(await fakes.planRestores!(input)), checked: Object.keys(checks) };
    },
    replayLog: async (input) => ({ ...(await fakeReplay(calls)(input)), state: 'paused' }),
    shutDownStore: async (input) => {
      calls.push(`shutdown:${input.store}`);
      return { ...(await fakeReplay([])(input)), state: 'shutdown' };
    },
    checkStore: async ({ store }) => {
      calls.push(`check:${store}`);
      return [...(checks[store] ?? [])];
    },
  };
}

interface End {
  readonly result: RestoreStoresResult | null;
  readonly error: unknown;
  readonly status: RunStatus;
}

async function restore(
  activities: FakeActivities,
  wishes: Pick<RestoreStoresInput, 'leave'>,
  stores = ['orders'],
): Promise<End> {
  const input: RestoreStoresInput = {
    application: shop.name,
    restoreId: 'r1',
    site: 'primary',
    target: { kind: 'latest' },
    stores: stores.map((store) => ({
      store,
      place: { directory: `/restore/${store}`, host: '127.0.0.1', port: 0, osUser: null, overwrite: false },
    })),
    requestedBy: 'sam',
    approved: true,
    ...wishes,
  };
  return withWorkers(env, activities, QUEUES, async () => {
    const handle = await env.client.workflow.start('restoreStores', {
      taskQueue: taskQueues.workflows,
      workflowId: randomUUID(),
      args: [input],
    });
    const end = await handle.result().then(
      (result: RestoreStoresResult) => ({ result, error: null }),
      (error: unknown) => ({ result: null, error }),
    );
    return { ...end, status: await handle.query<RunStatus>('status') };
  });
}

test('opened unless it is to be left at its target; the report says which', async () => {
  const calls: string[] = [];
  const { result } = await restore(world(calls), {});
  expect(calls).toEqual([
    'leave:undefined',
    'plan:orders',
    'rebuild:orders',
    'replay:orders',
    'open:orders',
    'fingerprint:orders',
  ]);
  expect(result?.stores[0]).toMatchObject({ checks: [], restored: { state: 'open' } });
}, 60_000);

test('paused: it is read and checked where the replay ended, and never opened', async () => {
  const calls: string[] = [];
  const { result, status } = await restore(world(calls, { orders: [held] }), { leave: 'paused' });
  expect(calls).toEqual([
    'leave:paused',
    'plan:orders',
    'rebuild:orders',
    'replay:orders',
    'fingerprint:orders',
    'check:orders',
  ]);
  expect(result?.stores[0]).toMatchObject({ restored: { state: 'paused' }, checks: [held] });
  expect(status.steps.at(-1)).toMatchObject({ id: 'verify:orders', note: expect.stringContaining('1 checks hold') });
  expect(status.messages).toEqual(['check of orders holds: rows: 1']);
}, 60_000);

test('shut down: only after everything was read', async () => {
  const calls: string[] = [];
  const { result } = await restore(world(calls), { leave: 'shutdown' });
  expect(calls.slice(-2)).toEqual(['fingerprint:orders', 'shutdown:orders']);
  expect(result?.stores[0]).toMatchObject({ restored: { state: 'shutdown' } });
}, 60_000);

test.each(['paused', 'shutdown'] as const)(
  'a server that opened by itself is not called %s',
  async (leave) => {
    const calls: string[] = [];
    const replayLog: FakeActivities['replayLog'] = async (input) => ({
      ...(await fakeReplay(calls)(input)),
      state: 'open',
      notes: ['It could not wait.'],
    });
    const { error, status } = await restore({ ...world([]), replayLog }, { leave });
    expect(findFailure(error)).toMatchObject({
      code: 'RoleMismatch',
      message: expect.stringMatching(new RegExp(`orders cannot be left ${leave}: the copy at .* opened by itself`)),
      details: { data: expect.stringContaining('It could not wait.') },
    });
    expect(status.steps.at(-1)).toMatchObject({ id: 'replay:orders', state: 'failed' });
    expect((await restore({ ...world([]), replayLog }, {})).result?.stores[0]).toMatchObject({
      restored: { state: 'open' },
    });
  },
  60_000,
);

test('a check that does not hold fails the verify step, names it, and leaves copy and other stores as they are', async () => {
  const calls: string[] = [];
  const fakes = world(calls, { orders: [held, broken] });
  const { error, status } = await restore(fakes, { leave: 'shutdown' }, ['orders', 'events']);
  expect(findFailure(error)).toMatchObject({
    code: 'CheckFailed',
    message: expect.stringContaining('customers: expected 1, found 0'),
    details: { context: { rows: 'ok', customers: 'customers: expected 1, found 0' } },
  });
  expect(status.steps.find(({ id }) => id === 'verify:orders')).toMatchObject({ state: 'failed' });
  expect(status.messages).toContain('check of orders FAILED: customers: expected 1, found 0');
  expect(calls).toContain('fingerprint:events');
  expect(calls).not.toContain('discard:orders');
  expect(calls).toContain('shutdown:events');
  expect(calls).not.toContain('shutdown:orders');
}, 60_000);

test('a store that fails does not keep the others from their end', async () => {
  const calls: string[] = [];
  const fakes = world(calls);
  const rebuildStore: FakeActivities['rebuildStore'] = async (input) => {
    if (input.store === 'orders') throw failure('BackupCorrupt', 'vol-00001 differs');
    return fakes.rebuildStore!(input);
  };
  const { error } = await restore({ ...fakes, rebuildStore }, {}, ['orders', 'events']);
  expect(findFailure(error)?.code).toBe('BackupCorrupt');
  expect(calls).toContain('fingerprint:events');
}, 60_000);

test('every end of a restore leaves a report', async () => {
  const reports: RunReport[] = [];
  const { storeReport } = fakeRestoreActivities([], reports);
  await restore({ ...world([]), storeReport: storeReport! }, {}, ['orders', 'events']);
  await restore({ ...world([], { orders: [broken] }), storeReport: storeReport! }, { leave: 'paused' });
  expect(reports).toMatchObject([
    {
      kind: 'restore',
      outcome: 'completed',
      verdict: 'achieved',
      decisions: [{ command: 'approve', by: 'sam', note: 'together with the request' }],
      loss: null,
      stores: [
        { store: 'orders', engine: 'fake', results: [{ state: 'done', note: '127.0.0.1:5433' }, { state: 'done' }] },
        { store: 'events', results: [{ state: 'done' }, { state: 'done' }] },
      ],
    },
    {
      outcome: 'failed',
      verdict: 'failed',
      because: expect.stringContaining('customers: expected 1, found 0'),
      stores: [{ results: [{ state: 'done' }, { state: 'failed' }] }],
    },
  ]);
}, 60_000);

test('a report that cannot be stored changes no outcome, and is said', async () => {
  const storeReport = async () => {
    throw failure('AccessDenied', 'the repository refuses its credentials');
  };
  const { result, status } = await restore({ ...world([]), storeReport }, {});
  expect(result?.stores).toHaveLength(1);
  expect(status.messages).toEqual([expect.stringMatching(/report could not be stored: the repository refuses/)]);
}, 60_000);

test('what was read from a copy is said by the run, in its result and in its report', async () => {
  const reports: RunReport[] = [];
  const fakes = fakeRestoreActivities([], reports);
  const met = { key: 'data/full/orders/vol', repository: 'cloud', problem: 'it is not there', readFrom: 'offsite' };
  const rebuildStore: FakeActivities['rebuildStore'] = async () => [met];
  const replayLog: FakeActivities['replayLog'] = async (input) => ({
    ...(await fakes.replayLog!(input)),
    elsewhere: [{ ...met, key: 'data/log/orders/1' }],
  });
  const { result } = await restore({ ...fakes, rebuildStore, replayLog }, {}, ['orders']);
  expect(result?.stores[0]?.elsewhere?.map(({ key }) => key)).toEqual([met.key, 'data/log/orders/1']);
  expect(JSON.stringify(reports)).toContain(
    'orders: data/full/orders/vol in cloud: it is not there; read from offsite',
  );
}, 60_000);

function fakeReplay(calls: string[]) {
  return fakeRestoreActivities(calls).replayLog!;
}
