import { setImmediate } from 'node:timers/promises';
import { BSON } from 'mongodb';
import { documentsIn } from '../../adapters/engines/mongodb/bson-bytes';
import { ListedLog } from '../../adapters/engines/listed-log';
import { chainFrom } from '../../adapters/engines/mongodb/log-chain';
import { logFeed } from '../../adapters/engines/mongodb/log-feed';
import { readEntry } from '../../adapters/engines/mongodb/oplog';
import { recoveryWindows } from '../../adapters/engines/mongodb/plan-restore';
import {
  compareOptimes,
  naming,
  type Optime,
  optimeOf,
  positionOf,
  sliceName,
} from '../../adapters/engines/mongodb/positions';
import { SliceMerger } from '../../adapters/engines/slice-merger';
import { mergeableOplog } from '../../adapters/engines/mongodb/joined-slices';
import type { Manifest } from '../../core/catalog';
import { failure } from '../../core/errors';
import type { LogEntry, LogPiece } from '../../core/log-archive';
import { collect, sha256 } from '../support/content';
import { MemoryLogArchive, testContext } from '../support/engine-harness';
import { rounds, seededRandom } from '../support/random';

const random = seededRandom('mongodb-segments');
const LINEAGE = 'set/1';
const BOUNDS = { contentBytes: 4_000, seconds: 20 };

interface Oplog {
  readonly entries: readonly { readonly bytes: Buffer; readonly optime: Optime }[];
  readonly backup: Manifest;
}

function oplog(count: number): Oplog {
  let optime = { seconds: 1_763_800_000, increment: 1 };
  const entries = Array.from({ length: count }, (_, n) => {
    const bytes = BSON.serialize({
      ts: new BSON.Timestamp({ t: optime.seconds, i: optime.increment }),
      wall: new Date(optime.seconds * 1_000),
      op: 'i',
      ns: 'shop.orders',
      o: { _id: n, text: 'x'.repeat(random.integer(random.integer(30) === 0 ? 3_000 : 100)) },
    });
    const entry = { bytes: Buffer.from(bytes), optime };
    optime =
      random.integer(3) === 0
        ? { seconds: optime.seconds + 1 + random.integer(4), increment: 1 }
        : { ...optime, increment: optime.increment + 1 };
    return entry;
  });
  const consistentAt = new Date(entries[0]!.optime.seconds * 1_000).toISOString();
  const stop = positionOf(entries[0]!.optime, LINEAGE);
  return { entries, backup: { type: 'full', lineage: LINEAGE, stop, consistentAt } as Manifest };
}

/** Stores the log in slices of random length, each beginning with the last entry of the one before it. */
async function storeSlices(log: MemoryLogArchive, { entries }: Oplog, from = 0, to = entries.length - 1) {
  for (let first = from; first < to;) {
    const last = Math.min(to, first + 1 + random.integer(6));
    await store(log, { entries } as Oplog, first, last);
    first = last;
  }
}

async function store(log: MemoryLogArchive, { entries }: Oplog, first: number, last: number): Promise<LogEntry> {
  const [from, to] = [entries[first]!.optime, entries[last]!.optime];
  return log.append({
    lineage: LINEAGE,
    name: sliceName(from, to),
    kind: 'slice',
    from: positionOf(from, LINEAGE),
    to: positionOf(to, LINEAGE),
    coversUntil: new Date(to.seconds * 1_000 - 1).toISOString(),
    content: Buffer.concat(entries.slice(first, last + 1).map(({ bytes }) => bytes)),
  });
}

async function mergeAll(log: MemoryLogArchive, bounds = BOUNDS): Promise<string | null> {
  const merger = new SliceMerger(log, LINEAGE, mergeableOplog, bounds, testContext());
  await merger.begin();
  await merger.stop();
  return merger.problem();
}

/** What a replay gets from a position on; `between` runs after each piece. */
async function read(log: MemoryLogArchive, { backup }: Oplog, between: () => Promise<unknown> = async () => undefined) {
  let reached = optimeOf(backup.stop!);
  const found: Buffer[] = [];
  for await (const { content } of logFeed(log, backup, () => reached, null, testContext())) {
    const documents = [...documentsIn(await collect(content))].map(readEntry);
    expect(compareOptimes(documents[0]!.optime, reached)).toBeLessThanOrEqual(0);
    for (const { optime, bytes } of documents) {
      if (compareOptimes(optime, reached) <= 0) continue;
      found.push(bytes);
      reached = optime;
    }
    await between();
  }
  return digestOf(found);
}

/** Of what there is to read behind the backup; `count` of it. One short text: jest compares thousands of buffers byte by byte. */
const rest = ({ entries }: Oplog, count = entries.length - 1) =>
  digestOf(entries.slice(1, count + 1).map(({ bytes }) => bytes));

function digestOf(entries: readonly Buffer[]): string {
  return `${entries.length} entries, ${sha256(Buffer.concat(entries))}`;
}

async function kinds(log: MemoryLogArchive): Promise<{ slices: LogEntry[]; segments: LogEntry[] }> {
  const all = await log.entries(LINEAGE);
  return {
    slices: all.filter(({ kind }) => kind === 'slice'),
    segments: all.filter(({ kind }) => kind === 'segment'),
  };
}

test('segments hold the entries of their slices, each once, and cover what these covered', async () => {
  const source = oplog(400);
  const log = new MemoryLogArchive(naming);
  await storeSlices(log, source);
  const [before, [window]] = [await kinds(log), await recoveryWindows({ backups: [source.backup], log })];
  expect(window).toBeDefined();
  expect(await read(log, source)).toEqual(rest(source));
  expect(await mergeAll(log)).toBeNull();
  const { segments, slices } = await kinds(log);
  expect(segments.length).toBeGreaterThan(10);
  expect(segments.length + slices.length).toBeLessThan(before.slices.length / 2);
  for (const segment of segments) {
    const content = await collect(await log.open(segment));
    const inRange = source.entries.filter(
      ({ optime }) =>
        compareOptimes(optime, optimeOf(segment.from)) >= 0 && compareOptimes(optime, optimeOf(segment.to)) <= 0,
    );
    expect(content.equals(Buffer.concat(inRange.map(({ bytes }) => bytes)))).toBe(true);
    // Only one slice that is larger by itself makes a larger segment.
    const isOne = before.slices.some(
      ({ from, to }) => from.value === segment.from.value && to.value === segment.to.value,
    );
    expect(isOne || content.length <= BOUNDS.contentBytes).toBe(true);
  }
  // What waits at the end is less than a segment.
  const seconds = [...slices.slice(0, 1).map(({ from }) => from), ...slices.slice(-1).map(({ to }) => to)].map(
    (each) => optimeOf(each).seconds,
  );
  expect((seconds[1] ?? 0) - (seconds[0] ?? 0)).toBeLessThan(BOUNDS.seconds);
  expect(await read(log, source)).toEqual(rest(source));
  expect(await recoveryWindows({ backups: [source.backup], log })).toEqual([window]);
  expect(await mergeAll(log)).toBeNull();
  expect((await kinds(log)).segments).toEqual(segments);
});

test('archivers that cut the log differently and die at any step leave a whole log, in order, and the last one nothing twice', async () => {
  let deaths = 0;
  const all = rounds(6);
  for (const _ of all) {
    const source = oplog(150);
    const log = new MemoryLogArchive(naming);
    let steps = Infinity;
    const step = () => {
      if ((steps -= 1) === 0) throw new Error('the process died');
    };
    const dying = Object.assign(Object.create(log) as MemoryLogArchive, {
      append: async (piece: LogPiece) => {
        step();
        const entry = await log.append(piece);
        step();
        return entry;
      },
      replace: async (slices: readonly LogEntry[], segment: LogEntry) => {
        for (const slice of slices) {
          step();
          await log.replace([slice], segment);
        }
        step();
      },
    });
    const last = source.entries.length - 1;
    for (let archived = 0; archived < last;) {
      const until = Math.min(last, archived + 1 + random.integer(60));
      await storeSlices(log, source, archived, until);
      if (random.integer(2) === 0) await storeSlices(log, source, random.integer(until), until); // another one, believed dead
      archived = until;
      steps = 1 + random.integer(30);
      const bounds = { contentBytes: 500 + random.integer(3_000), seconds: 5 + random.integer(30) };
      if ((await mergeAll(dying, bounds)) !== null) deaths += 1;
      expect(await read(log, source)).toEqual(rest(source, archived));
    }
    expect(await mergeAll(log)).toBeNull();
    expect(await log.replaced(LINEAGE)).toEqual([]);
    expect(await read(log, source)).toEqual(rest(source));
  }
  expect(deaths).toBeGreaterThan(all.length);
});

test('what gives way to segments while it is read is read from there', async () => {
  const source = oplog(300);
  const log = new MemoryLogArchive(naming);
  await storeSlices(log, source);
  let merged = 0;
  const found = await read(log, source, async () => {
    merged += 1;
    if (merged % 4 === 0) await mergeAll(log, { contentBytes: 300 * merged, seconds: 1_000_000 });
  });
  expect(found).toEqual(rest(source));
});

test('a plan that meets a piece that has just given way lists again', async () => {
  const source = oplog(100);
  const log = new MemoryLogArchive(naming);
  await storeSlices(log, source);
  const [expected] = await recoveryWindows({ backups: [source.backup], log });
  expect(expected).toBeDefined();
  const stale = await log.entries(LINEAGE);
  await mergeAll(log, { contentBytes: 1, seconds: 1 });
  let listings = 0;
  const late = Object.assign(Object.create(log) as MemoryLogArchive, {
    entries: async (lineage: string) => ((listings += 1) === 1 ? stale : log.entries(lineage)),
    // As the repository says it of what is not there any more.
    resolve: async (entry: LogEntry) =>
      (await log.entries(LINEAGE)).some(({ key }) => key === entry.key) ? log.resolve(entry) : entry,
  });
  expect(await recoveryWindows({ backups: [source.backup], log: late })).toEqual([expected]);
  expect(listings).toBe(2);
  const chain = await chainFrom(source.backup, new ListedLog(log));
  expect(chain.end).toEqual(source.entries.at(-1)!.optime);
});

test('a damaged slice stays as it is, in no segment, and those around it are merged', async () => {
  const source = oplog(100);
  const log = new MemoryLogArchive(naming);
  for (let first = 0; first < 99; first += 3) await store(log, source, first, first + 3);
  const [damaged] = (await log.entries(LINEAGE)).slice(16);
  let reads = 0;
  const broken = Object.assign(Object.create(log) as MemoryLogArchive, {
    open: async (entry: LogEntry) => {
      if (entry.key !== damaged!.key) return log.open(entry);
      reads += 1;
      throw failure('BackupCorrupt', `${entry.key} is damaged`);
    },
  });
  const merger = new SliceMerger(broken, LINEAGE, mergeableOplog, { contentBytes: 600, seconds: 10 }, testContext());
  await merger.begin();
  const readsAtFirst = reads;
  for (let again = 0; again < 3; again += 1) await merger.begin();
  expect(merger.problem()).toBeNull();
  expect([readsAtFirst > 0, reads]).toEqual([true, readsAtFirst]);
  const { slices, segments } = await kinds(log);
  expect(slices.map(({ key }) => key)).toContain(damaged!.key);
  expect(segments.length).toBeGreaterThan(2);
  const bounds = [damaged!.from, damaged!.to].map((each) => optimeOf(each)) as [Optime, Optime];
  for (const { from, to } of segments) {
    const [begin, end] = [optimeOf(from), optimeOf(to)];
    expect(compareOptimes(end, bounds[0]) <= 0 || compareOptimes(begin, bounds[1]) >= 0).toBe(true);
  }
  await expect(read(broken, source)).rejects.toMatchObject({ type: 'BackupCorrupt' });
  expect(await read(log, source)).toEqual(rest(source));
});

test('in the place of a damaged segment its slices are read while they are there', async () => {
  const source = oplog(100);
  const log = new MemoryLogArchive(naming);
  await storeSlices(log, source);
  const unproven = Object.assign(Object.create(log) as MemoryLogArchive, {
    open: async (entry: LogEntry) => {
      if (entry.kind === 'segment') throw failure('BackupCorrupt', `${entry.key} is damaged`);
      return log.open(entry);
    },
    replace: async (_: unknown, segment: LogEntry) => {
      throw failure('BackupCorrupt', `${segment.key} is damaged`);
    },
  });
  expect(await mergeAll(unproven)).toMatch(/is damaged/);
  expect((await kinds(log)).segments).toHaveLength(1);
  expect(await log.replaced(LINEAGE)).toHaveLength(1);
  expect(await read(unproven, source)).toEqual(rest(source));
});

test('a slice that holds another entry than the one before it ended with is not merged with it', async () => {
  const source = oplog(12);
  const log = new MemoryLogArchive(naming);
  const first = await store(log, source, 0, 6);
  const other = BSON.serialize({ ...BSON.deserialize(source.entries[6]!.bytes), ns: 'shop.others' });
  const entries = source.entries.with(6, { ...source.entries[6]!, bytes: Buffer.from(other) });
  const second = await store(log, { ...source, entries }, 6, 11);
  expect(await mergeAll(log, { contentBytes: first.sizeBytes + 1, seconds: 1_000_000 })).toBeNull();
  const { segments, slices } = await kinds(log);
  expect(segments.map(({ name }) => name)).toEqual([`${first.name}.segment`]);
  expect(slices.map(({ name }) => name)).toEqual([second.name]);
});

test('an archiver that stops ends the segment that it is at, and begins no other', async () => {
  const source = oplog(200);
  const log = new MemoryLogArchive(naming);
  await storeSlices(log, source);
  const merger = new SliceMerger(log, LINEAGE, mergeableOplog, BOUNDS, testContext());
  const appended = Promise.withResolvers<void>();
  log.beforeAppend = async () => {
    appended.resolve();
    await setImmediate();
  };
  void merger.begin();
  await appended.promise;
  await merger.stop();
  await merger.begin();
  expect((await kinds(log)).segments).toHaveLength(1);
  expect(await log.replaced(LINEAGE)).toEqual([]);
});
