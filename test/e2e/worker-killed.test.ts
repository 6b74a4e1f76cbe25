import * as fs from 'node:fs';
import * as path from 'node:path';
import { readPieceName } from '../../adapters/engines/postgresql/lsn';
import { layout } from '../../core/layout';
import type { Manifest } from '../../core/catalog';
import { workflowIds } from '../../core/names';
import { compareFingerprints, type Fingerprint } from '../../core/recovery';
import type { BackUpStoreResult, RestoreStoresResult } from '../../core/runs';
import { compareStores } from '../../lab/demo/shop-stores';
import { storeUrls } from '../../lab/lab';
import { inPostgres } from '../../lab/servers/postgresql-client';
import { inMongo } from '../../lab/shop/schema';
import { seedBulk } from '../../lab/shop/seed-bulk';
import { STORES } from '../../lab/sites/build';
import { POSTGRES_ROLES } from '../../lab/sites/postgresql';
import { LabSecrets } from '../../lab/sites/lab-folder';
import { testContext } from '../support/call-context';
import { E2eLab, keysOf, unfinishedUploads, waitUntil } from '../support/e2e-lab';
import { countOf, randomOf, seededRandom } from '../support/random';

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
  // Every backup here is one of ours: one of the schedule came in between where a test ran at four o'clock.
  await e2e.ask('schedules', 'pause', 'full', 'incremental', 'configuration');
}, 300_000);

afterAll(() => e2e?.destroy());

/**
 * A kill after one of them began, and up to so long after it: together the whole run, one a round, and whatever the archiver
 * does at that moment.
 */
const MOMENTS = [
  { activity: 'uploadVolumes', spreadMilliseconds: 1_500 },
  { activity: 'prepareBackup', spreadMilliseconds: 1_500 },
  { activity: 'dumpVolumes', spreadMilliseconds: 1_500 },
  { activity: 'verifyArtifacts', spreadMilliseconds: 500 },
  { activity: 'waitForLog', spreadMilliseconds: 1_500 },
  { activity: 'commitManifest', spreadMilliseconds: 300 },
  { activity: 'sweepAttempts', spreadMilliseconds: 300 },
] as const;

/** The backups that were made through the kill of the round. */
let throughTheKill = new Map<Store, string>();

describe.each(rounds)('round %i', (round) => {
  test('killed anywhere in two backups, while segments are switched: the same runs complete, the log has no gap, nothing is left over', async () => {
    const known = new Map(await Promise.all(BOTH.map(async (store) => [store, await backupIds(store)] as const)));
    const stopWriting = writeAndSwitchSegments();
    let cut: Awaited<ReturnType<typeof cutOff>>;
    let runs: Awaited<ReturnType<typeof runningBackup>>[];
    try {
      const asked = new Date();
      await e2e.ask('backup', ...BOTH, '--detach');
      runs = await Promise.all(BOTH.map((store) => runningBackup(store, asked)));
      const { id, store } = random.pick(runs);
      const { activity, spreadMilliseconds } = MOMENTS[(round - 1) % MOMENTS.length]!;
      const delayMilliseconds = random.integer(spreadMilliseconds);
      process.stderr.write(`worker-killed: killed ${delayMilliseconds} ms after ${activity} of ${store} began\n`);
      await e2e.waitForActivity(id, activity, 60_000);
      await new Promise((resolve) => setTimeout(resolve, delayMilliseconds));
      await e2e.killWorker('primary');
      cut = await cutOff(runs);
      throughTheKill = new Map();
      for (const { store: each, runId } of runs)
        throughTheKill.set(each, await wholeBackup(each, runId, known.get(each)));
    } finally {
      await stopWriting();
    }
    for (const { id, type } of cut) {
      expect({ id, type, again: (await e2e.attempts(id, type)) > 1 }).toEqual({ id, type, again: true });
    }
    await archivedUntil(new Date());
    await expectWholeLog();
    await expectNothingLeft();
  });

  test('the next backups, incremental where the engine has them, are as ever: first try of each step, nothing left over', async () => {
    const known = new Map(await Promise.all(BOTH.map(async (store) => [store, await backupIds(store)] as const)));
    const asked = new Date();
    await e2e.ask('backup', ...BOTH, '--type', 'incr', '--detach');
    for (const store of BOTH) {
      const { id, runId } = await runningBackup(store, asked);
      await wholeBackup(store, runId, known.get(store));
      for (const type of ['prepareBackup', 'dumpVolumes', 'uploadVolumes', 'verifyArtifacts', 'commitManifest'])
        expect({ type, attempts: await e2e.attempts(id, type) }).toEqual({ type, attempts: 1 });
    }
    expect((await manifests(STORES.postgresql)).at(-1)).toMatchObject({ type: 'incr', typeReason: null });
    await expectNothingLeft();
  });

  test('what was backed up through the kill restores to equal content', async () => {
    for (const store of BOTH) {
      const made = throughTheKill.get(store) ?? '';
      const directory = path.join(e2e.lab.folder, 'restore', `whole-${round}-${store}`);
      const { stores } = await e2e.ask<RestoreStoresResult>(
        'restore',
        store,
        '--to',
        made,
        '--into',
        directory,
        '--yes',
      );
      const live = await e2e.open.engine(store).fingerprint({ site: 'primary' }, testContext());
      expect(live.items.some(({ name, count }) => name.includes('bulk_rows') && count > 1_000)).toBe(true);
      expect(compareFingerprints(withoutHeartbeats(live), withoutHeartbeats(stores[0]!.fingerprint))).toEqual([]);
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
    const restored = (await e2e.client.workflow
      .getHandle(workflowId, runId, { followRuns: false })
      .result()) as RestoreStoresResult;
    expect(await e2e.attempts(workflowId, 'rebuildStore')).toBeGreaterThan(1);
    expect(await e2e.attempts(workflowId, 'replayLog')).toBeGreaterThan(1);

    const journal = await e2e.shoppers.journal();
    const { orders, events } = await compareStores(e2e.access, { restored }, journal, target);
    for (const { missing, unexpected, altered, confirmed } of [orders, events]) {
      expect({ missing, unexpected, altered }).toEqual({ missing: [], unexpected: [], altered: [] });
      expect(confirmed).toBeGreaterThanOrEqual(80);
    }
    for (const store of BOTH) await discard(store, path.join(into, store));
    await expectWholeLog();
    await expectNothingLeft();
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

/** The run that was asked for: until it begins, the newest one of its id is an earlier one. */
async function runningBackup(store: Store, asked: Date): Promise<{ store: Store; id: string; runId: string }> {
  const id = workflowIds.backup('ultramarket', store);
  const newest = () => e2e.handle(id).describe();
  await waitUntil(`a new backup of ${store}`, async () => (await newest()).startTime >= asked, {
    deadlineMs: 60_000,
    intervalMs: 30,
  });
  return { store, id, runId: (await newest()).runId };
}

/** What the host's queue had given to the worker that is dead now: nobody but its successor, which is not up yet, can end it. */
async function cutOff(runs: readonly { id: string; runId: string }[]): Promise<{ id: string; type: string }[]> {
  const described = await Promise.all(
    runs.map(async ({ id, runId }) => {
      const { raw } = await e2e.client.workflow.getHandle(id, runId).describe();
      return (raw.pendingActivities ?? []).map((each) => ({ id, type: each.activityType?.name ?? '', each }));
    }),
  );
  return described
    .flat()
    .filter(({ type, each }) => ['dumpVolumes', 'uploadVolumes'].includes(type) && each.lastStartedTime)
    .map(({ id, type }) => ({ id, type }));
}

/** The run's one backup, with exactly the objects that it names; its id. */
async function wholeBackup(store: Store, runId: string, known: readonly string[] = []): Promise<string> {
  const handle = e2e.client.workflow.getHandle(workflowIds.backup('ultramarket', store), runId, { followRuns: false });
  const { backupId } = (await handle.result()) as BackUpStoreResult;
  const fresh = (await manifests(store)).filter((each) => !known.includes(each.backupId));
  expect(fresh.map((each) => ({ backupId: each.backupId, runId: each.runId }))).toEqual([{ backupId, runId }]);
  return backupId;
}

/** WAL without any change of content, and a switch of the segment several times a second at most, until it is stopped. */
function writeAndSwitchSegments(): () => Promise<void> {
  const stop = new AbortController();
  // Of its own: how far it gets is a matter of time, and must not change what the seed chooses elsewhere.
  const own = randomOf(random.seed);
  // Only the backup's role may switch segments.
  const url = new URL(storeUrls(e2e.lab, 'primary').postgresql);
  url.username = POSTGRES_ROLES.backup.name;
  url.password = new LabSecrets(e2e.lab.folder).password(POSTGRES_ROLES.backup.secret);
  const writing = inPostgres(url.href, async (client) => {
    while (!stop.signal.aborted) {
      await client.query("SELECT pg_logical_emit_message(false, 'e2e', repeat(md5(random()::text), $1))", [
        1 + own.integer(50_000),
      ]);
      if (own.integer(3) === 0) await client.query('SELECT pg_switch_wal()');
      await new Promise((resolve) => setTimeout(resolve, own.integer(600)));
    }
  });
  writing.catch(() => undefined); // awaited when it is stopped
  return async () => {
    stop.abort();
    await writing;
  };
}

/** By the keys alone: no position between first and last is missing, and no slice lies beside the segment that holds it. */
async function expectWholeLog(): Promise<void> {
  const prefix = layout.logs(STORES.postgresql);
  const leftovers = async () => {
    const names = (await keysOf(e2e.cloud, prefix)).map((key) => path.basename(key, '.zst'));
    return names.filter((name) => name.includes('.') && names.includes(name.slice(0, name.indexOf('.'))));
  };
  // A segment that is being completed now has its slices beside it for a moment.
  await waitUntil('segments without the slices that they replaced', async () => (await leftovers()).length === 0, {
    deadlineMs: 60_000,
    intervalMs: 1_000,
  });
  const keys = await keysOf(e2e.cloud, prefix);
  const pieces = keys
    .map((key) => ({ key, piece: readPieceName(path.basename(key, '.zst')) }))
    .toSorted((a, b) => (a.key < b.key ? -1 : 1));
  const gaps = pieces.flatMap(({ key, piece }, index) => {
    const before = pieces[index - 1];
    if (!piece) return [`${key} is nothing of the archiver's`];
    if (!before?.piece || path.dirname(before.key) !== path.dirname(key)) return [];
    return piece.from > before.piece.to ? [`WAL is missing before ${key}`] : [];
  });
  expect(gaps).toEqual([]);
  expect(pieces.length).toBeGreaterThan(1);
}

/** Everything in the catalogue, the data and the spool is of a committed backup, and no upload is unfinished. */
async function expectNothingLeft(): Promise<void> {
  for (const store of BOTH) {
    const committed = await manifests(store);
    expect(await dataKeys(store)).toEqual(committed.flatMap(objectsOf).toSorted());
    const early = committed.flatMap((each) => [
      layout.manifest(store, each.backupId),
      layout.decision(store, each.backupId),
      ...each.early.map(({ key }) => key),
    ]);
    const inCatalog = await keysOf(e2e.cloud, layout.manifests(store));
    expect(inCatalog.filter((key) => !key.startsWith(layout.history(store))).toSorted()).toEqual(early.toSorted());
  }
  expect(await unfinishedUploads(e2e.cloud)).toEqual([]);
  expect(spooledFiles()).toEqual([]);
}

async function manifests(store: string): Promise<Manifest[]> {
  return [...(await e2e.open.catalog(store).list(store))];
}

async function backupIds(store: string): Promise<string[]> {
  return (await manifests(store)).map(({ backupId }) => backupId);
}

/** Everything stored as data of the store's backups, whoever knows of it. */
async function dataKeys(store: string): Promise<string[]> {
  const prefixes = (['full', 'incr'] as const).map((type) => layout.backupData(type, store, '').replace(/\/$/, ''));
  return (await Promise.all(prefixes.map((prefix) => keysOf(e2e.cloud, prefix)))).flat().toSorted();
}

/** What a committed backup consists of: its artifacts and the record beside them, all of one attempt. */
function objectsOf(manifest: Manifest | undefined): string[] {
  if (!manifest) return [];
  const { type, store, backupId, attempt, artifacts } = manifest;
  const folder = layout.attempt(type, store, backupId, attempt);
  return [...artifacts.map(({ key }) => key), `${folder}artifacts.json`].toSorted();
}

/** Volumes that a backup left in the spool. */
function spooledFiles(): string[] {
  return fs
    .readdirSync(path.join(e2e.lab.folder, 'spool'), { recursive: true, encoding: 'utf8' })
    .filter((file) => /-(full|incr)-/.test(file));
}

/** A service writes its heartbeat whenever somebody asks how it is, and the probe of its uptime asks every minute. */
function withoutHeartbeats(print: Fingerprint): Fingerprint {
  const items = print.items.filter(({ name }) => !name.endsWith('service_heartbeats'));
  expect(print.items.length - items.length).toBeLessThanOrEqual(1);
  return { ...print, items };
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
