import * as fs from 'node:fs/promises';
import * as os from 'node:os';
import * as path from 'node:path';
import { documentsIn } from '../../adapters/engines/mongodb/bson-bytes';
import { archiveLog } from '../../adapters/engines/mongodb/log-archiver';
import { readEntry, timestampOf } from '../../adapters/engines/mongodb/oplog';
import {
  compareOptimes,
  type MongodbPosition,
  naming,
  type Optime,
  positions,
} from '../../adapters/engines/mongodb/positions';
import { mergeableOplog } from '../../adapters/engines/mongodb/joined-slices';
import { MERGE_BOUNDS, type MergeBounds, SliceMerger } from '../../adapters/engines/slice-merger';
import { createRepository } from '../../adapters/repository';
import { createLogArchive } from '../../adapters/repository/log-archive';
import type { Manifest } from '../../core/catalog';
import type { ArchiveOutcome } from '../../core/engine';
import type { LogArchive, LogEntry } from '../../core/log-archive';
import { compareFingerprints, type RecoveryTarget } from '../../core/recovery';
import type { Repository } from '../../core/repository';
import { collect } from '../support/content';
import { combinedSource, MemoryVolumes, takeBackup, testContext } from '../support/engine-harness';
import { type MongodbHarness, startMongodb } from '../support/mongodb-harness';
import { Workload } from '../support/mongodb-workload';
import { countOf, seededRandom } from '../support/random';

const random = seededRandom('mongodb-segments');
const KILLS = countOf('KILLS', 3);
const SMALL: MergeBounds = { contentBytes: 32 * 1024, seconds: 2 };
/** Each slice by itself is enough. */
const ALL: MergeBounds = { contentBytes: 1, seconds: 0 };

let harness: MongodbHarness;
let workload: Workload;
let directory: string;
let repository: Repository;
let backup: Manifest;
const volumes = new Map<string, MemoryVolumes>();

/** As another process sees it. */
const open = (behind = repository): LogArchive => createLogArchive(behind, 'orders', naming);

interface Options {
  readonly bounds?: MergeBounds;
  readonly signal?: AbortSignal;
  readonly answeredGaps?: string[];
  readonly runForMilliseconds?: number;
}

function archive(log: LogArchive, options: Options = {}): Promise<ArchiveOutcome> {
  const { bounds = SMALL, signal, answeredGaps = [], runForMilliseconds = 1_500 } = options;
  const request = { site: 'primary', runForMilliseconds, sliceMilliseconds: 50, answeredGaps };
  return archiveLog(harness.client, request, log, () => undefined, testContext(signal), bounds);
}

/** Archivers, one after the other, under writes, until there is so much of it: how fast a machine is decides nothing. */
async function archiveUntil(enough: () => Promise<boolean>, options: Options = {}): Promise<ArchiveOutcome> {
  for (const until = Date.now() + 60_000; ;) {
    const [outcome] = await Promise.all([archive(open(), options), write(1_000)]);
    if (outcome.needsBase !== null || (await enough())) return outcome;
    if (Date.now() > until) throw new Error('archivers made too little of it');
  }
}

/** Everything that the server has now. */
async function archiveAll(options: Options): Promise<void> {
  const { position } = await harness.engine.probe('primary', testContext());
  const target = position as MongodbPosition;
  for (const until = Date.now() + 60_000; ;) {
    const { durable } = await archive(open(), options);
    if (positions.compare(durable as MongodbPosition, target) >= 0) return;
    if (Date.now() > until) throw new Error(`archived only to ${durable.value} of ${target.value}`);
  }
}

/** A process whose last step is that one; of what it removes there, only the first is gone. */
function dyingAfter(steps: number): { readonly behind: Repository; readonly signal: AbortSignal } {
  const stop = new AbortController();
  const died = () => {
    stop.abort(new DOMException('the process died', 'AbortError'));
    return new Error('the process died');
  };
  const step = () => {
    if ((steps -= 1) < 0) throw died();
  };
  const behind: Repository = {
    ...repository,
    async put(...call) {
      step();
      const head = await repository.put(...call);
      step();
      return head;
    },
    async delete(keys) {
      step();
      if (steps > 0) return repository.delete(keys);
      await repository.delete(keys.slice(0, 1));
      throw died();
    },
  };
  return { behind, signal: stop.signal };
}

/** All entries of the archived log, each once; that each piece begins with an entry of the one before it is proven. */
async function archived(log: LogArchive, lineage: string): Promise<Buffer[]> {
  const found: Buffer[] = [];
  let reached: Optime | null = null;
  for (const entry of await log.entries(lineage)) {
    const documents = [...documentsIn(await collect(await log.open(entry)))].map(readEntry);
    const overlap = documents.filter(({ optime }) => reached && compareOptimes(optime, reached) <= 0);
    if (reached) expect(overlap.length).toBeGreaterThan(0);
    for (const { bytes } of overlap) expect(found.some((each) => each.equals(bytes))).toBe(true);
    found.push(...documents.slice(overlap.length).map(({ bytes }) => bytes));
    reached = readEntry(found.at(-1)!).optime;
  }
  return found;
}

async function expectTheServersOplog(log: LogArchive, lineage: string): Promise<void> {
  const found = await archived(log, lineage);
  const [$gte, $lte] = [found[0]!, found.at(-1)!].map((each) => timestampOf(readEntry(each).optime));
  const entries = harness.client.db('local').collection('oplog.rs').find({ ts: { $gte, $lte } }, { raw: true });
  const expected = (await entries.toArray()).map((each) => Buffer.from(each as never));
  expect(found.length).toBe(expected.length);
  for (const [index, bytes] of found.entries()) if (!bytes.equals(expected[index]!)) throw new Error(`entry ${index}`);
}

async function write(milliseconds: number): Promise<void> {
  for (const until = Date.now() + milliseconds; Date.now() < until;) await workload.step();
}

async function kindsOf(log: LogArchive, lineage: string): Promise<{ slices: LogEntry[]; segments: LogEntry[] }> {
  const all = await log.entries(lineage);
  const of = (kind: LogEntry['kind']) => all.filter((each) => each.kind === kind);
  return { slices: of('slice'), segments: of('segment') };
}

async function mergeAll(log: LogArchive, lineage: string, bounds: MergeBounds): Promise<void> {
  const merger = new SliceMerger(log, lineage, mergeableOplog, bounds, testContext());
  await merger.begin();
  expect(merger.problem()).toBeNull();
}

async function restored(target: RecoveryTarget, log: LogArchive) {
  const plan = await harness.engine.planRestore(target, { backups: [backup], log }, testContext());
  const request = { restoreId: `r${Date.now()}`, plan, chain: [backup], place: harness.place() };
  await harness.engine.restore.rebuild(request, combinedSource(volumes), log, testContext());
  const store = await harness.engine.restore.replay(request, log, testContext());
  const print = await harness.engine.fingerprint(store, testContext());
  await harness.engine.restore.discard(request.place, testContext());
  return { print, position: store.reachedPosition?.value };
}

beforeAll(async () => {
  harness = await startMongodb();
  workload = new Workload(harness.client, random.seed);
  directory = await fs.mkdtemp(path.join(os.tmpdir(), 'drctl-segments-'));
  repository = createRepository('local', { kind: 'local', directory, prefix: '' }, 'shop');
  await workload.step();
  await archive(open());
  backup = (await takeBackup(harness.engine, 'primary', volumes, [])).manifest;
}, 120_000);
afterAll(async () => {
  await harness?.stop();
  await fs.rm(directory, { recursive: true, force: true });
}, 60_000);

test('archivers that die at any step leave a log that is the server’s oplog, entry for entry', async () => {
  for (let kill = 0; kill < KILLS; kill += 1) {
    const { behind, signal } = dyingAfter(4 + random.integer(30));
    const state = { ended: false };
    const archiving = archive(open(behind), { signal, runForMilliseconds: 30_000 }).then(
      () => 'lived on',
      (error: unknown) => String(error),
    );
    void archiving.then(() => (state.ended = true));
    while (!state.ended) await workload.step();
    expect(await archiving).toMatch(/the process died/);
    await expectTheServersOplog(open(), backup.lineage!);
  }
  const segments = async () => (await kindsOf(open(), backup.lineage!)).segments.length;
  const outcome = await archiveUntil(async () => (await segments()) > 2);
  expect(outcome.needsBase).toBeNull();
  // Nothing of what the dead ones left is hidden anywhere.
  expect(await open().replaced(backup.lineage!)).toEqual([]);
  await expectTheServersOplog(open(), backup.lineage!);
  expect(await segments()).toBeGreaterThan(2);
}, 120_000);

test('a restore over segments and slices, which become segments meanwhile, ends as the source is', async () => {
  const lineage = backup.lineage!;
  const bounds = MERGE_BOUNDS;
  await archiveUntil(async () => (await kindsOf(open(), lineage)).slices.length > 4, { bounds });
  await archiveAll({ bounds });
  const expected = await harness.engine.fingerprint({ site: 'primary' }, testContext());
  const { slices, segments } = await kindsOf(open(), lineage);
  expect([slices.length > 4, segments.length > 2]).toEqual([true, true]);
  const mixed = await restored({ kind: 'latest' }, open());
  expect(compareFingerprints(expected, mixed.print)).toEqual([]);

  const log = open();
  let opened = 0;
  const changing: LogArchive = {
    ...log,
    async open(entry) {
      if ((opened += 1) % 3 === 0) await mergeLast(lineage);
      return log.open(entry);
    },
  };
  const changed = await restored({ kind: 'position', text: mixed.position! }, changing);
  expect(changed.position).toBe(mixed.position);
  expect(compareFingerprints(mixed.print, changed.print)).toEqual([]);
  expect((await kindsOf(open(), lineage)).segments.length).toBeGreaterThan(segments.length);

  await mergeAll(open(), lineage, ALL);
  expect((await kindsOf(open(), lineage)).slices).toEqual([]);
  await expectTheServersOplog(open(), lineage);
}, 120_000);

/** Merges the last two slices as another process would, where nobody has been who listed them before. */
async function mergeLast(lineage: string): Promise<void> {
  const other = open();
  let left = (await other.entries(lineage)).filter(({ kind }) => kind === 'slice').slice(-2);
  const few: LogArchive = {
    ...other,
    async entries() {
      const found = left;
      left = [];
      return found;
    },
  };
  await mergeAll(few, lineage, ALL);
}

test('archiving goes on behind a segment, and begins anew, once, where the newest piece is damaged', async () => {
  const lineage = backup.lineage!;
  await Promise.all([archive(open()), write(500)]);
  await mergeAll(open(), lineage, ALL);
  const newest = (await open().entries(lineage)).at(-1)!;
  expect(newest.kind).toBe('segment');
  await Promise.all([archive(open()), write(500)]);
  await mergeAll(open(), lineage, ALL);
  await expectTheServersOplog(open(), lineage);

  const last = (await open().entries(lineage)).at(-1)!;
  expect(last.key).not.toBe(newest.key);
  const file = path.join(directory, 'shop', last.key);
  const bytes = await fs.readFile(file);
  bytes[Math.floor(bytes.length / 2)]! ^= 0xff;
  await fs.writeFile(file, bytes);
  const told: ArchiveOutcome = await archive(open());
  expect(told.needsBase).toContain(last.key);
  expect(told.lineage).not.toBe(lineage);
  expect((await archive(open())).needsBase).toBe(told.needsBase);
  expect(await open().lineages()).toEqual([lineage]);
  const [on] = await Promise.all([archive(open(), { answeredGaps: [told.needsBase!] }), write(500)]);
  expect(on).toMatchObject({ needsBase: null, lineage: told.lineage });
  await expectTheServersOplog(open(), told.lineage);
  // And so it stays: the damaged piece is not asked again.
  expect(await archive(open())).toMatchObject({ needsBase: null, lineage: told.lineage });
}, 60_000);
