import { randomUUID } from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { OpenApplication } from '../../activities/deps';
import { createReportActivities } from '../../activities/report';
import { createRestoreActivities } from '../../activities/restore';
import { createThawActivities, type Thaw } from '../../activities/thaw';
import { createProofs } from '../../adapters/catalog/proofs';
import { createReading } from '../../adapters/fallback/reading';
import { createColdStorage } from '../../adapters/repository/cold-storage';
import { createRetentionStore } from '../../adapters/retention/retention-store';
import type { Engine } from '../../core/engine';
import { failure, findFailure } from '../../core/errors';
import { taskQueues } from '../../core/names';
import type { Repository } from '../../core/repository';
import type { RestoreStoresInput, RestoreStoresResult, RunStatus } from '../../core/runs';
import { type FrozenLook, thawPlan } from '../../core/thaw';
import { engineOf, testContext } from '../support/engine-harness';
import { fakeRestoreActivities } from '../support/fake-restore';
import { startMotoS3 } from '../support/moto-s3';
import { makeRandomTree } from '../support/random-tree';
import { seededNumbers } from '../support/random';
import { shop } from '../support/shop-application';
import { storedStore } from '../support/stored-store';
import { type FakeActivities, timeSkippingEnvironment, withWorkers } from '../support/workflow-environment';

/** Days of waiting for an archive class, on a clock that jumps over them. */
let env: TestWorkflowEnvironment;
beforeAll(async () => {
  env = await timeSkippingEnvironment();
}, 120_000);
afterAll(() => env?.teardown());

const QUEUES = [taskQueues.site(shop.name, 'primary'), taskQueues.host(shop.name, 'primary', 'h1')];
const [HOUR, OBJECTS] = [3_600_000, 40];
const frozen = (readable: number): FrozenLook => ({
  byClass: { DEEP_ARCHIVE: { objects: OBJECTS, sizeBytes: OBJECTS * 2 ** 27 } },
  readable: { objects: readable, sizeBytes: readable * 2 ** 27 },
  asked: { objects: OBJECTS - readable, sizeBytes: 0 },
  readableUntil: readable > 0 ? '2036-01-08T00:00:00.000Z' : null,
});

interface World {
  readonly calls: string[];
  readonly asked: { readonly atHours: number; readonly thaw: Thaw }[];
  readonly activities: FakeActivities;
}

/** An archive whose objects come back one after the other, the last after so many hours; Infinity: never. */
function archive(hours: number, isFrozen = true): World {
  const [calls, asked]: [string[], World['asked'][number][]] = [[], []];
  const fakes = fakeRestoreActivities(calls);
  let firstAt: number | null = null;
  const activities: FakeActivities = {
    ...fakes,
    planRestores: async (input) => {
      const planned = await fakes.planRestores!(input);
      const thaw = thawPlan(frozen(0), { tier: input.thawTier ?? 'bulk', days: 7 });
      return isFrozen ? { ...planned, plans: planned.plans.map((plan) => ({ ...plan, thaw })) } : planned;
    },
    askBack: async (thaw) => {
      const now = await env.currentTimeMs();
      firstAt ??= now;
      asked.push({ atHours: (now - firstAt) / HOUR, thaw });
      return frozen(Math.min(OBJECTS, Math.floor((OBJECTS * (now - firstAt)) / (hours * HOUR))));
    },
  };
  return { calls, asked, activities };
}

async function restore(
  { activities }: World,
  look: (ask: () => Promise<RunStatus>) => Promise<void> = async () => {},
  wishes: Partial<RestoreStoresInput> = {},
) {
  const place = { directory: '/restore', host: '127.0.0.1', port: 0, osUser: null, overwrite: false };
  const input: RestoreStoresInput = {
    ...{ application: shop.name, restoreId: 'r1', site: 'primary', target: { kind: 'latest' }, requestedBy: 'sam' },
    ...{ stores: [{ store: 'orders', place }], approved: true, ...wishes },
  };
  return withWorkers(env, activities, QUEUES, async () => {
    const handle = await env.client.workflow.start('restoreStores', {
      ...{ taskQueue: taskQueues.workflows, workflowId: randomUUID(), args: [input] },
    });
    const ask = () => handle.query<RunStatus>('status');
    await look(ask);
    const end = await handle.result().then(
      (result: RestoreStoresResult) => ({ result, error: null }),
      (error: unknown) => ({ result: null, error }),
    );
    const { events } = await handle.fetchHistory();
    return { ...end, status: await ask(), events: events?.length ?? 0 };
  });
}

test('two days of waiting: asked first, looked at ever more rarely, then restored; its progress can be seen', async () => {
  const world = archive(47);
  const seen: RunStatus[] = [];
  const { result, status, events } = await restore(world, async (ask) => {
    await env.sleep('24 hours');
    seen.push(await ask());
  });
  expect(seen[0]?.steps.find(({ id }) => id === 'thaw:orders')).toMatchObject({
    state: 'running',
    note: expect.stringMatching(/^(19|20|21) of 40 objects can be read .*; all of it by 20.*Z; next look in 1h 0m$/),
  });
  expect(world.calls).toEqual(['plan:orders', 'rebuild:orders', 'replay:orders', 'open:orders', 'fingerprint:orders']);
  expect(result?.stores).toHaveLength(1);
  expect(status.steps.find(({ id }) => id === 'thaw:orders')).toMatchObject({
    state: 'done',
    note: expect.stringContaining('40 of 40 objects can be read'),
  });
  expect(world.asked.at(-1)!.atHours).toBeGreaterThanOrEqual(47);
  expect(world.asked.at(-1)!.atHours).toBeLessThan(48.1);
  // Every look renews the word that the chain is in use: it counts for 36 hours.
  const gaps = world.asked.slice(1).map(({ atHours }, index) => atHours - world.asked[index]!.atHours);
  expect(Math.max(...gaps)).toBeLessThan(1.1);
  expect(gaps[0]).toBeLessThan(0.1);
  expect(world.asked.length).toBeLessThan(60);
  expect(events).toBeLessThan(1_000);
  expect(world.asked[0]!.thaw).toMatchObject({
    ...{ chain: ['20260101T000000Z-full-00000001'], log: null, settings: { tier: 'bulk', days: 7 } },
  });
}, 120_000);

test('a tree that lies in GLACIER comes back whole: planned, asked back, waited for, read', async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-archive-'));
  const s3 = await startMotoS3();
  try {
    const roots = [path.join(folder, 'tree')];
    fs.mkdirSync(roots[0]!);
    makeRandomTree(roots[0]!, seededNumbers(7), 20);
    const engine = await engineOf('files', 'assets', { sites: { primary: { roots } } });
    const repository = s3.repository(await s3.bucket(), 'GLACIER');
    const manifest = await storedStore(engine, repository, folder).back('full');
    // Two looks at each object: one before it is asked for, and those of the waiting.
    await s3.comesBackAfter(3);
    const deps = { site: 'primary', hostId: 'h1', open: () => openOver(engine, repository, folder) };
    const asked: FrozenLook[] = [];
    const thaws = createThawActivities(deps);
    const activities = {
      ...createRestoreActivities(deps),
      ...createReportActivities(deps),
      askBack: async (thaw: Thaw) => {
        const look = await thaws.askBack(thaw);
        if (look) asked.push(look);
        return look;
      },
    } as FakeActivities;
    const place = { directory: path.join(folder, 'restored'), host: '', port: 0, osUser: null, overwrite: false };
    const { result, error, status } = await restore({ calls: [], asked: [], activities }, undefined, {
      stores: [{ store: 'assets', place }],
    });
    expect(error).toBeNull();
    const of = { site: 'primary' };
    const { items } = await engine.fingerprint(of, testContext());
    expect(result?.stores[0]?.fingerprint.items.map(({ digest }) => digest)).toEqual(items.map(({ digest }) => digest));
    const { length: objects } = manifest.artifacts;
    expect(asked[0]).toMatchObject({ byClass: { GLACIER: { objects } }, asked: { objects }, readable: { objects: 0 } });
    expect(asked.at(-1)).toMatchObject({ readable: { objects } });
    expect(result?.stores[0]?.plan.notes.join()).toMatch(/lie in GLACIER and are asked back first \(bulk\)/);
    expect(status.steps.map(({ id }) => id)).toEqual([
      'plan',
      'thaw:assets',
      'rebuild:assets',
      'replay:assets',
      'open:assets',
      'verify:assets',
    ]);
  } finally {
    await s3.stop();
    fs.rmSync(folder, { recursive: true, force: true });
  }
}, 120_000);

/** The application as activities see it: one store, in a repository whose artifacts begin in an archive class. */
function openOver(engine: Engine, repository: Repository, folder: string): OpenApplication {
  const { catalog, transfer } = storedStore(engine, repository, folder).open();
  return {
    engine: () => engine,
    catalog: () => catalog,
    transfer: () => transfer,
    logArchive: () => null,
    copies: () => [],
    reading: (store: string) =>
      createReading([{ name: 'cloud', catalog, log: null, transfer }], { store, naming: null }, new Map()),
    proofs: () => createProofs(repository),
    coldStorage: (store: string) => createColdStorage(repository, store),
    retentionStore: (store: string) => createRetentionStore(repository, store, null),
    control: repository,
    thaw: { tier: 'bulk', days: 2 },
  } as unknown as OpenApplication;
}

test('what never comes is given up days after it should have, and nothing was restored', async () => {
  const world = archive(Infinity);
  const { error, status } = await restore(world, undefined, { thawTier: 'standard' });
  expect(findFailure(error)).toMatchObject({
    code: 'ObjectFrozen',
    message: expect.stringMatching(/^orders did not come back from the archive in 4d \d+h: 0 of 40 objects/),
  });
  expect(status.steps.find(({ id }) => id === 'thaw:orders')).toMatchObject({ state: 'failed' });
  expect(world.calls).toEqual(['plan:orders']);
}, 120_000);

test('copies that went again, and log that somebody moved there, are asked for once more', async () => {
  const world = archive(1, false);
  let isMet = true;
  const { rebuildStore } = world.activities;
  const { error, status } = await restore({
    ...world,
    activities: {
      ...world.activities,
      rebuildStore: async (input) => {
        if (isMet) {
          isMet = false;
          throw failure('ObjectFrozen', 'data/log/x lies in an archive class');
        }
        return rebuildStore!(input);
      },
    },
  });
  expect(error).toBeNull();
  expect(world.asked[0]!.thaw).toMatchObject({ log: { from: Date.parse('2025-12-31T00:00:00Z') }, settings: null });
  expect(status.messages).toContain('orders has something in the archive that has to be read: it is asked back');
  expect(world.calls).toContain('rebuild:orders');
}, 120_000);
