import { randomUUID } from 'node:crypto';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { failure } from '../../core/errors';
import { taskQueues } from '../../core/names';
import { readProofId } from '../../core/proofs';
import type { RunStatus } from '../../core/runs';
import type { VerifyStoresInput, VerifyStoresResult } from '../../core/verify-runs';
import { verifyResultLines } from '../../starters/verify';
import { damageOf, fakeVerifyWorld, type FakeVerifyWorld, VOLUME } from '../support/fake-verify';
import { follow } from '../support/follow';
import { shop } from '../support/shop-application';
import { timeSkippingEnvironment, withWorkers } from '../support/workflow-environment';

let env: TestWorkflowEnvironment;
beforeAll(async () => {
  env = await timeSkippingEnvironment();
}, 120_000);
afterAll(() => env?.teardown());

const QUEUES = [taskQueues.site(shop.name, 'dr'), taskQueues.host(shop.name, 'primary', 'h1')];
const BACKUP = '20260101T000000Z-full-00000001';

type Verify = (input: VerifyStoresInput) => Promise<VerifyStoresResult>;

const start = (input: Partial<VerifyStoresInput>) =>
  env.client.workflow.start<Verify>('verifyStores', {
    taskQueue: taskQueues.workflows,
    workflowId: randomUUID(),
    args: [{ application: shop.name, stores: ['orders'], kind: 'full', requestedBy: 'sam', tell: true, ...input }],
  });

async function verify(world: FakeVerifyWorld, input: Partial<VerifyStoresInput>) {
  return withWorkers(env, world.activities, QUEUES, async () => {
    const handle = await start(input);
    return { result: await handle.result(), status: await handle.query<RunStatus>('status') };
  });
}

test('a full verification reads a backup that its seed chose, and keeps a proof that says which', async () => {
  const world = fakeVerifyWorld();
  const { result, status } = await verify(world, { stores: ['orders', 'events'], seed: 42 });
  expect(world.calls).toEqual(
    ['orders', 'events'].flatMap((store) => [`look:${store}`, `choose:${store}:42`, `read:${store}:${BACKUP}`]),
  );
  expect(world.proofs).toMatchObject([
    { store: 'orders', kind: 'full', result: 'proven', seed: 42, backups: [BACKUP], looked: { readBytes: 1_000 } },
    { store: 'events', kind: 'full', result: 'proven', seed: 42 },
  ]);
  const [proof] = world.proofs;
  expect(readProofId('orders', proof!.proofId)).toMatchObject({ kind: 'full', result: 'proven', at: proof!.at });
  expect(result).toMatchObject({
    seed: 42,
    stores: [{ proofId: proof!.proofId, problem: null }, { result: 'proven' }],
  });
  expect(status).toMatchObject({ kind: 'verify', phase: 'proven' });
  expect(world.told).toEqual([]);
}, 60_000);

test('what an earlier proof found damaged fails each one after it, until it is read again and is sound', async () => {
  const world = fakeVerifyWorld();
  for (const store of ['orders', 'events']) {
    world.seen.set(store, [{ ...damageOf(store), foundBy: 'an earlier one' }]);
    world.carried.set(store, [VOLUME]);
  }
  world.sound.set('events', [VOLUME]);
  await verify(world, { stores: ['orders', 'events'] });
  expect(world.proofs).toMatchObject([
    { store: 'orders', result: 'failed', findings: [{ key: VOLUME, foundBy: 'an earlier one' }] },
    { store: 'events', result: 'proven', findings: [] },
  ]);
}, 60_000);

test('a quick one reads nothing, all of them are read when asked for, and one is read by its name', async () => {
  const world = fakeVerifyWorld();
  await verify(world, { kind: 'quick' });
  await verify(world, { backup: 'all' });
  await verify(world, { backup: { backupId: BACKUP } });
  expect(world.calls).toEqual([
    ...['look:orders', 'look:orders', 'read:orders:all'],
    ...['look:orders', `choose:orders:${BACKUP}`, `read:orders:${BACKUP}`],
  ]);
  expect(world.proofs.map(({ kind, seed }) => [kind, seed])).toEqual([
    ['quick', null],
    ['full', null],
    ['full', null],
  ]);
}, 60_000);

test('damage is told by its name with what it takes away, once, and hides no other store', async () => {
  const world = fakeVerifyWorld();
  world.seen.set('orders', [damageOf('orders'), { ...damageOf('orders', 'catalog/old'), severity: 'notice' }]);
  world.read.set('events', [damageOf('events', 'data/log/events/1/x.zst')]);
  const { result, status } = await verify(world, { stores: ['orders', 'events', 'sessions'] });
  expect(result.stores.map(({ store, result: each }) => [store, each])).toEqual([
    ['orders', 'failed'],
    ['events', 'failed'],
    ['sessions', 'proven'],
  ]);
  expect(world.told).toEqual([
    {
      title: 'Verification (full) failed: orders, events',
      lines: [
        `orders: ${VOLUME}: it is not there; ${BACKUP} cannot be restored`,
        `events: data/log/events/1/x.zst: it is not there; ${BACKUP} cannot be restored`,
        expect.stringContaining('drctl proofs show'),
      ],
    },
  ]);
  expect(world.proofs[0]).toMatchObject({ result: 'failed', findings: [{ key: VOLUME }, { severity: 'notice' }] });
  expect(status.phase).toBe('completed with failures');
}, 60_000);

test('a restore test restores at the other site, reads, compares, is timed, and leaves nothing', async () => {
  const world = fakeVerifyWorld();
  world.earlier = { proofId: 'earlier', differences: [] };
  // Its pretended state is old; only stores with a log have an RPO that backups alone have to keep.
  const { result } = await verify(world, { kind: 'restore', stores: ['sessions'] });
  expect(world.calls).toEqual(
    ['look', 'plan', 'rebuild', 'replay', 'open', 'fingerprint', 'compare', 'discard'].map(
      (call) => `${call}:sessions`,
    ),
  );
  expect(result.stores[0]).toMatchObject({
    result: 'proven',
    restore: { chain: [BACKUP], rtoSeconds: 14_400, rpoSeconds: 900, comparedWith: 'earlier' },
  });
  const late = await verify(fakeVerifyWorld(), { kind: 'restore', to: { kind: 'latest' } });
  expect(late.result.stores[0]).toMatchObject({
    result: 'failed',
    problem: expect.stringMatching(/newest state that could be restored was \d+ s old; the objective \(RPO\) is 900 s/),
  });
  const other = fakeVerifyWorld();
  other.earlier = { proofId: 'earlier', differences: ['orders: 1 × aa, it was 2 × bb'] };
  const differs = await verify(other, { kind: 'restore', backup: { backupId: BACKUP } });
  expect(differs.result.stores[0]).toMatchObject({
    result: 'failed',
    restore: { lossSeconds: null },
    problem: expect.stringContaining('not what earlier restored of the same state: orders: 1 × aa, it was 2 × bb'),
  });
}, 60_000);

test('without a target chance chooses the instant, which the proof holds with what the copy shows of the time', async () => {
  const world = fakeVerifyWorld();
  const { result } = await verify(world, { kind: 'restore', seed: 42 });
  expect(world.calls.slice(0, 3)).toEqual(['look:orders', 'choose instant:orders', 'plan:orders']);
  expect(world.calls).toContain('heartbeat:orders');
  const time = '2026-01-01T00:00:00.000Z';
  expect(world.proofs).toMatchObject([
    {
      ...{ result: 'proven', seed: 42 },
      restore: {
        instant: { time, seed: 42, from: [{ to: time }] },
        heartbeat: { at: '2025-12-31T23:59:59.500Z', noted: '2025-12-31T23:59:58.500Z' },
        // Of the newest state that could have been chosen.
        lossSeconds: 0,
      },
    },
  ]);
  expect(verifyResultLines(result).join('\n')).toMatch(
    /chosen {4}2026-01-01\S+, by chance \(seed 42\)[^]*heartbeat 2025/,
  );
  for (const [heartbeat, problem] of [
    [{ at: '2026-01-01T00:00:00.001Z', noted: null }, 'was written after'],
    [{ at: '2025-12-31T23:59:58.000Z', noted: '2025-12-31T23:59:58.500Z' }, 'was archived before'],
  ] as const) {
    const wrong = fakeVerifyWorld();
    wrong.activities.readHeartbeat = async () => heartbeat;
    const { result: found } = await verify(wrong, { kind: 'restore' });
    expect(found.stores).toMatchObject([{ result: 'failed', problem: expect.stringContaining(problem) as string }]);
    expect(wrong.calls.at(-1)).toBe('discard:orders');
  }
}, 60_000);

test('a restore that is refused names the object, is kept as failed, and leaves nothing', async () => {
  const world = fakeVerifyWorld();
  world.activities.rebuildStore = async () => {
    throw failure('BackupCorrupt', `${VOLUME} differs from its manifest`, { context: { key: VOLUME } });
  };
  const { result } = await verify(world, { kind: 'restore' });
  expect(result.stores[0]).toMatchObject({
    result: 'failed',
    problem: `${VOLUME} differs from its manifest`,
    findings: [{ key: VOLUME, consequence: 'the restore that needs it was refused' }],
  });
  expect(world.calls.at(-1)).toBe('discard:orders');
  expect(world.proofs).toMatchObject([{ kind: 'restore', result: 'failed', restore: null }]);
  expect(world.told).toHaveLength(1);
}, 60_000);

test('a restore test that is cancelled removes what it restored, and says that it reads no more', async () => {
  const world = fakeVerifyWorld();
  const reached = Promise.withResolvers<void>();
  world.activities.rebuildStore = async () => {
    reached.resolve();
    await follow();
    return [];
  };
  await withWorkers(env, world.activities, QUEUES, async () => {
    const handle = await start({ kind: 'restore' });
    await reached.promise;
    await handle.cancel();
    await expect(handle.result()).rejects.toThrow(/cancelled/i);
  });
  expect(world.calls.slice(-2)).toEqual(['discard:orders', 'end:orders']);
}, 60_000);

test('a proof that cannot be stored is no proof, and is said', async () => {
  const world = fakeVerifyWorld();
  world.activities.keepProof = async () => {
    throw failure('AccessDenied', 'the repository refuses its credentials');
  };
  const { result } = await verify(world, { kind: 'quick' });
  expect(result.stores[0]).toMatchObject({
    result: 'failed',
    proofId: null,
    problem: 'the proof could not be stored: the repository refuses its credentials',
  });
}, 60_000);
