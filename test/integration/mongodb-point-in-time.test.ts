import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BSON, MongoClient } from 'mongodb';
import type { Manifest } from '../../core/catalog';
import type { RestoreRequest } from '../../core/engine';
import { compareFingerprints, type Fingerprint, type RecoveryTarget, type RestoredStore } from '../../core/recovery';
import { combinedSource, MemoryLogArchive, MemoryVolumes, takeBackup, testContext } from '../support/engine-harness';
import { parseArchive } from '../support/mongodb-archive';
import { type MongodbHarness, startMongodb } from '../support/mongodb-harness';
import { Workload } from '../support/mongodb-workload';
import { countOf, randomOf, seededRandom } from '../support/random';

const STEPS = countOf('STEPS', 500);
const TARGETS = countOf('TARGETS', 3);
const { seed, integer: random } = seededRandom('mongodb-point-in-time');
/** The archiver's own: it runs beside the workload, which would otherwise get other numbers in each run. */
const { integer: cutting } = randomOf(seed + 1);

describe(`a journalled workload restored to random instants (seed ${seed}, ${STEPS} steps)`, () => {
  const volumes = new Map<string, MemoryVolumes>();
  const backups: Manifest[] = [];
  const quiet: { readonly instant: number; readonly print: Fingerprint }[] = [];
  let harness: MongodbHarness;
  let workload: Workload;
  let log: MemoryLogArchive;
  let restores = 0;
  let cuts = 0;

  const request = async (target: RecoveryTarget): Promise<RestoreRequest> => {
    const plan = await harness.engine.planRestore(target, { backups, log }, testContext());
    const chain = backups.filter(({ backupId }) => plan.chain.includes(backupId));
    return { restoreId: `r${(restores += 1)}`, plan, chain, place: harness.place() };
  };
  const restored = async (target: RecoveryTarget): Promise<[RestoreRequest, RestoredStore]> => {
    const wanted = await request(target);
    await harness.engine.restore.rebuild(wanted, combinedSource(volumes), log, testContext());
    return [wanted, await harness.engine.restore.replay(wanted, log, testContext())];
  };
  const stateOf = async (store: RestoredStore) => {
    const client = new MongoClient(`mongodb://${store.address?.host}:${store.address?.port}/?directConnection=true`);
    try {
      return await Workload.read(client);
    } finally {
      await client.close();
    }
  };
  const backup = async () => {
    const { manifest } = await takeBackup(harness.engine, 'primary', volumes, backups);
    parseArchive(volumes.get(manifest.backupId)?.contents.get('dump.archive') as Buffer);
    backups.push(manifest);
  };

  beforeAll(async () => {
    harness = await startMongodb();
    log = new MemoryLogArchive(harness.engine.log?.naming as never);
    workload = new Workload(harness.client, seed);
    const state = { covered: 0, done: false, stop: new AbortController() };
    // Archivers that are cut off in the middle of an append, one after the other, until everything is covered.
    const archive = async () => {
      while (!state.done) {
        const stop = (state.stop = new AbortController());
        let appends = 2 + cutting(12);
        log.beforeAppend = async () => {
          if ((appends -= 1) === 0) stop.abort(new DOMException('cut off', 'AbortError'));
        };
        const run = { site: 'primary', runForMilliseconds: 600_000, sliceMilliseconds: 100 };
        const onDurable = (progress: { coversUntil: string | null }) =>
          (state.covered = Date.parse(progress.coversUntil ?? '') || 0);
        await harness.engine.log?.archive(run, log, onDurable, testContext(stop.signal)).catch((error: unknown) => {
          if (!stop.signal.aborted) throw error;
          cuts += 1;
        });
      }
    };
    const archiving = archive();
    await workload.step();
    for (let step = 0; step < STEPS; step++) {
      const dumping = [Math.floor(STEPS / 5), Math.floor((STEPS * 3) / 5)].includes(step);
      if (dumping) {
        workload.allowRenames = false;
        const dump = { running: true };
        const taken = backup().finally(() => (dump.running = false));
        while (dump.running) await workload.step();
        await taken;
        workload.allowRenames = true;
      }
      await workload.step();
      if (step > STEPS / 4 && step % Math.ceil(STEPS / 8) === 0) {
        await sleep(5);
        quiet.push({
          instant: Date.now(),
          print: await harness.engine.fingerprint({ site: 'primary' }, testContext()),
        });
        await sleep(5);
      }
    }
    const wasCutOff = () => cuts > 0;
    while (!wasCutOff()) await workload.step();
    const until = Date.now() + 20;
    while (state.covered < until) await Promise.race([archiving, sleep(50)]);
    state.done = true;
    state.stop.abort();
    await archiving;
  }, 300_000);
  afterAll(async () => harness?.stop(), 60_000);

  test('the archivers were cut off on the way', () => {
    expect(cuts).toBeGreaterThan(0);
  });

  test('every acknowledged change before the instant is there, none sent after it', async () => {
    const [first] = backups as [Manifest];
    const [from, to] = [Date.parse(first.consistentAt), workload.journal.at(-1)?.acknowledgedAt as number];
    for (let round = 0; round < TARGETS; round++) {
      // Every second one at the edge of a write, where being off by one would show.
      const edge = workload.journal[random(workload.journal.length)]?.acknowledgedAt ?? 0;
      const instant = round % 2 === 1 && edge > from + 1 ? edge + random(3) - 1 : from + random(to - from);
      const [wanted, store] = await restored({ kind: 'time', time: new Date(instant).toISOString() });
      expect(workload.wrongAt(instant, await stateOf(store))).toBeNull();
      await harness.engine.restore.discard(wanted.place, testContext());
    }
  }, 300_000);

  test('at a quiet instant documents, options and indexes equal the source', async () => {
    expect(quiet.length).toBeGreaterThan(0);
    for (const { instant, print } of quiet.slice(-3)) {
      const [wanted] = await restored({ kind: 'time', time: new Date(instant).toISOString() });
      const store = await harness.engine.restore.open(wanted, testContext());
      expect(compareFingerprints(print, await harness.engine.fingerprint(store, testContext()))).toEqual([]);
      await harness.engine.restore.discard(wanted.place, testContext());
    }
  }, 300_000);

  test('a position and a backup lead to one state each; latest holds everything', async () => {
    const [latest, store] = await restored({ kind: 'latest' });
    expect(await stateOf(store)).toEqual(workload.latest());
    const position = store.reachedPosition?.value as string;
    await harness.engine.restore.discard(latest.place, testContext());
    const [again, same] = await restored({ kind: 'position', text: position });
    expect(same.reachedPosition?.value).toBe(position);
    expect(await stateOf(same)).toEqual(workload.latest());
    await harness.engine.restore.discard(again.place, testContext());
  }, 120_000);

  test('a restore whose server and worker die again and again ends with the same state', async () => {
    const instant = quiet.at(-1) as (typeof quiet)[number];
    const [first] = backups as [Manifest];
    const plan = await harness.engine.planRestore(
      { kind: 'time', time: new Date(instant.instant).toISOString() },
      { backups: [first], log },
      testContext(),
    );
    const wanted: RestoreRequest = { restoreId: 'deaths', plan, chain: [first], place: harness.place() };
    const { restore } = harness.engine;
    let deaths = 0;
    const attempt = async (step: (context: ReturnType<typeof testContext>) => Promise<unknown>, after: number) => {
      const stop = new AbortController();
      const context = testContext(stop.signal);
      let reports = 0;
      const killer = {
        ...context,
        progress: () => {
          if ((reports += 1) !== after) return;
          deaths += 1;
          process.kill(Number(readFileSync(join(wanted.place.directory, 'mongod.pid'), 'utf8')), 'SIGKILL');
          stop.abort(new DOMException('the worker died', 'AbortError'));
        },
      };
      return step(killer as never).then(
        () => true,
        () => false,
      );
    };
    for (
      let after = 1;
      !(await attempt((ctx) => restore.rebuild(wanted, combinedSource(volumes), log, ctx), after));
      after += 1 + random(3)
    );
    for (let after = 1; !(await attempt((ctx) => restore.replay(wanted, log, ctx), after)); after += 1 + random(9));
    const store = await restore.open(wanted, testContext());
    expect(deaths).toBeGreaterThan(2);
    expect(compareFingerprints(instant.print, await harness.engine.fingerprint(store, testContext()))).toEqual([]);
    await restore.discard(wanted.place, testContext());
  }, 300_000);

  test('a log with a piece missing in the middle is no way to what lies behind it', async () => {
    const lineage = backups[0]?.lineage as string;
    const entries = await log.entries(lineage);
    const middle = entries[Math.floor(entries.length / 2)] as (typeof entries)[number];
    const content = await log.open(middle);
    expect(content).toBeTruthy();
    const reduced = Object.create(log, {
      entries: { value: async () => entries.filter((entry) => entry !== middle) },
    }) as MemoryLogArchive;
    const [first] = backups as [Manifest];
    const windows = await harness.engine.windows({ backups: [first], log: reduced });
    const end = Date.parse(windows[0]?.to as string);
    await expect(
      harness.engine.planRestore(
        { kind: 'time', time: new Date(end + 5_000).toISOString() },
        { backups: [first], log: reduced },
        testContext(),
      ),
    ).rejects.toThrow(/what can be reached is/);
  });

  test('documents keep keys that look like numbers where they are', () => {
    // The replay moves bytes; decoding and encoding would give another order, which this guards the test itself against.
    const bytes = BSON.serialize(
      new Map<string, unknown>([
        ['b', 1],
        ['1', 2],
      ]),
    );
    expect(BSON.serialize(BSON.deserialize(bytes))).not.toEqual(bytes);
  });
});
