import * as fs from 'node:fs';
import * as path from 'node:path';
import { layout } from '../../core/layout';
import type { Manifest } from '../../core/catalog';
import { workflowIds } from '../../core/names';
import { compareFingerprints } from '../../core/recovery';
import type { BackUpStoreResult, RestoreStoresResult } from '../../core/runs';
import { catalogUrl, ordersUrl } from '../../lab/demo/accident';
import { storeUrls } from '../../lab/lab';
import { compareOrders, readOrderEventsFromMongo, readOrdersFromPostgres } from '../../lab/load/journal';
import { inMongo, inPostgres } from '../../lab/shop/schema';
import { seedBulk } from '../../lab/shop/seed-bulk';
import { STORES } from '../../lab/sites/build';
import { testContext } from '../support/call-context';
import { E2eLab, keysOf, unfinishedUploads, waitUntil } from '../support/e2e-lab';
import { countOf, seededRandom } from '../support/random';

jest.setTimeout(600_000); // a round takes a minute or two; a machine that runs other suites too has been seen to need four

/** Enough that copying takes seconds: what is over at once cannot be killed in the middle. */
const BULK_BYTES = 64 * 2 ** 20;
const BOTH = [STORES.postgresql, STORES.mongodb] as const;
type Store = (typeof BOTH)[number];

/** Of a round: one of the backup, two of the restore. */
const KILLS_OF_ONE_ROUND = 3;
const rounds = Array.from({ length: Math.ceil(countOf('KILLS', 3) / KILLS_OF_ONE_ROUND) }, (_, index) => index + 1);

const random = seededRandom('worker-killed');
let e2e: E2eLab;

beforeAll(async () => {
  e2e = await E2eLab.up();
  const { postgresql, mongodb } = storeUrls(e2e.lab, 'primary');
  await seedBulk(postgresql, mongodb, { sizeBytes: BULK_BYTES, seed: random.seed });
  await smallVolumes();
  await e2e.ask('schedules', 'apply');
}, 300_000);

afterAll(() => e2e?.destroy());

describe.each(rounds)('round %i', (round) => {
  test('killed while it dumps and uploads: the same runs complete, and there is one whole backup of each store', async () => {
    const known = new Map(await Promise.all(BOTH.map(async (store) => [store, await backupIds(store)] as const)));
    await e2e.ask('backup', ...BOTH, '--detach');
    const runs = await Promise.all(BOTH.map((store) => runningBackup(store)));
    const volumes = 1 + random.integer(4);
    const victim = random.pick(runs);
    process.stderr.write(`worker-killed: killed when ${volumes} volumes of ${victim.store} were uploaded\n`);
    await waitUntil(
      `${volumes} uploaded volumes of ${victim.store}`,
      async () =>
        (await dataKeys(victim.store)).filter((key) => !belongsTo(key, known.get(victim.store))).length >= volumes,
      { deadlineMs: 60_000, intervalMs: 30 },
    );
    await e2e.killWorker('primary');

    for (const { store, runId } of runs) {
      const handle = e2e.client.workflow.getHandle(workflowIds.backup('ultramarket', store), runId, {
        followRuns: false,
      });
      const { backupId } = (await handle.result()) as BackUpStoreResult;
      const fresh = (await manifests(store)).filter((each) => !known.get(store)?.includes(each.backupId));
      expect(fresh.map((each) => ({ backupId: each.backupId, runId: each.runId }))).toEqual([{ backupId, runId }]);
      expect((await dataKeys(store)).filter((key) => key.includes(backupId))).toEqual(objectsOf(fresh[0]));
    }
    const tries = await Promise.all(
      runs.flatMap(({ id }) => ['dumpVolumes', 'uploadVolumes'].map((type) => e2e.attempts(id, type))),
    );
    expect(Math.max(...tries)).toBeGreaterThan(1); // it was killed in the middle, not before or after
    expect(await unfinishedUploads(e2e.cloud)).toEqual([]);
    expect(spooledFiles()).toEqual([]);
  });

  test('what was backed up through the kill restores to equal content', async () => {
    for (const store of BOTH) {
      const newest = (await backupIds(store)).at(-1) ?? '';
      const directory = path.join(e2e.lab.folder, 'restore', `whole-${round}-${store}`);
      const { stores } = await e2e.ask<RestoreStoresResult>(
        'restore',
        store,
        '--to',
        newest,
        '--into',
        directory,
        '--yes',
      );
      const live = await e2e.open.engine(store).fingerprint({ site: 'primary' }, testContext());
      expect(live.items.some(({ name, count }) => name.includes('bulk_rows') && count > 1_000)).toBe(true);
      expect(compareFingerprints(live, stores[0]!.fingerprint)).toEqual([]);
      await discard(store, directory);
    }
  });

  test('killed while it rebuilds and while it replays: the same run completes with exactly the journal at the target', async () => {
    const begun = new Date();
    await e2e.shoppers.start(20);
    await e2e.shoppers.waitForOrders(40, begun, 60);
    await muchToReplay(round);
    await e2e.shoppers.waitForOrders(40, new Date(), 60);
    const target = new Date();
    await e2e.shoppers.waitForOrders(40, new Date(target.getTime() + 1_000), 60);
    await e2e.shoppers.stop();
    await archivedUntil(target);

    const into = path.join(e2e.lab.folder, 'restore', `killed-${round}`);
    const { workflowId } = await e2e.ask<{ workflowId: string }>(
      ...['restore', ...BOTH, '--to', target.toISOString(), '--into', into, '--yes', '--detach'],
    );
    const { runId } = await e2e.handle(workflowId).describe();
    for (const moment of ['rebuildStore', 'replayLog']) {
      const delayMilliseconds = random.integer(500);
      process.stderr.write(`worker-killed: killed ${delayMilliseconds} ms after ${moment} began\n`);
      await e2e.waitForActivity(workflowId, moment, 180_000);
      await new Promise((resolve) => setTimeout(resolve, delayMilliseconds));
      await e2e.killWorker('primary');
    }
    const { stores } = (await e2e.client.workflow
      .getHandle(workflowId, runId, { followRuns: false })
      .result()) as RestoreStoresResult;
    expect(await e2e.attempts(workflowId, 'rebuildStore')).toBeGreaterThan(1);
    expect(await e2e.attempts(workflowId, 'replayLog')).toBeGreaterThan(1);

    const journal = await e2e.shoppers.journal();
    const addressOf = (store: string) => stores.find((each) => each.store === store)?.restored.address ?? undefined;
    const orders = await readOrdersFromPostgres(ordersUrl(e2e.access, 'primary', addressOf(STORES.postgresql)));
    const events = await readOrderEventsFromMongo(catalogUrl(e2e.access, addressOf(STORES.mongodb)));
    for (const rows of [orders, events]) {
      const { missing, unexpected, altered, confirmed } = compareOrders(rows, journal, target);
      expect({ missing, unexpected, altered }).toEqual({ missing: [], unexpected: [], altered: [] });
      expect(confirmed).toBeGreaterThanOrEqual(80);
    }
    for (const store of BOTH) await discard(store, path.join(into, store));
  });
});

/** Volumes of a few megabytes, so that some are stored and others are not when the worker dies. */
async function smallVolumes(): Promise<void> {
  const text = fs.readFileSync(e2e.configFile, 'utf8');
  expect(text).toContain('volumeSize: 128MiB');
  fs.writeFileSync(e2e.configFile, text.replace('volumeSize: 128MiB', 'volumeSize: 8MiB'));
  for (const site of ['primary', 'dr'] as const) await e2e.killWorker(site);
  for (const site of ['primary', 'dr'] as const) await e2e.workerReady(site);
}

async function runningBackup(store: Store): Promise<{ store: Store; id: string; runId: string }> {
  const id = workflowIds.backup('ultramarket', store);
  await e2e.waitForActivity(id, 'uploadVolumes', 60_000).catch((cause: unknown) => {
    throw new Error(`the backup of ${store} did not begin to upload`, { cause });
  });
  return { store, id, runId: (await e2e.handle(id).describe()).runId };
}

async function manifests(store: string): Promise<Manifest[]> {
  return [...(await e2e.open.catalog(store).list(store))];
}

async function backupIds(store: string): Promise<string[]> {
  return (await manifests(store)).map(({ backupId }) => backupId);
}

/** Everything stored as data of full backups of the store, whoever knows of it. */
function dataKeys(store: string): Promise<string[]> {
  return keysOf(e2e.cloud, layout.backupData('full', store, '').replace(/\/$/, ''));
}

function belongsTo(key: string, backupIdsOfOthers: readonly string[] = []): boolean {
  return backupIdsOfOthers.some((backupId) => key.includes(backupId));
}

/** What a committed backup consists of: its artifacts and the record beside them, all of one attempt. */
function objectsOf(manifest: Manifest | undefined): string[] {
  if (!manifest) return [];
  const { store, backupId, attempt, artifacts } = manifest;
  const folder = layout.attempt('full', store, backupId, attempt);
  return [...artifacts.map(({ key }) => key), `${folder}artifacts.json`].toSorted();
}

/** Volumes that a backup left in the spool. */
function spooledFiles(): string[] {
  return fs
    .readdirSync(path.join(e2e.lab.folder, 'spool'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.includes('-full-'));
}

/** An hour of changes in a few seconds: without them a replay would be over before anybody could kill it. */
async function muchToReplay(round: number): Promise<void> {
  const { postgresql, mongodb } = storeUrls(e2e.lab, 'primary');
  await Promise.all([
    inPostgres(postgresql, (client) => client.query('UPDATE bulk_rows SET words = words || $1::text', [` r${round}`])),
    inMongo(mongodb, (db) =>
      db.collection('bulk_rows').updateMany({ _id: { $lte: 25_000 } } as object, { $set: { round } }),
    ),
  ]);
}

async function archivedUntil(target: Date): Promise<void> {
  for (const store of BOTH) {
    await waitUntil(
      `the log of ${store} being archived until ${target.toISOString()}`,
      async () => {
        const catalog = { backups: await manifests(store), log: e2e.open.logArchive(store) };
        const windows = await e2e.open.engine(store).windows(catalog);
        return windows.some(({ to }) => Date.parse(to) >= target.getTime());
      },
      { deadlineMs: 120_000, intervalMs: 500 },
    );
  }
}

async function discard(store: string, directory: string): Promise<void> {
  const place = { directory, host: '127.0.0.1', port: 0, osUser: null, overwrite: false };
  await e2e.open.engine(store).restore.discard(place, testContext());
  expect(fs.existsSync(directory) ? fs.readdirSync(directory) : []).toEqual([]);
}
