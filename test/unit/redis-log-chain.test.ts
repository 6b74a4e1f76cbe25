import { entryBytes } from '../../adapters/engines/postgresql/entry-bytes';
import { changesBehind } from '../../adapters/engines/redis/changes-behind';
import { mergeableStream } from '../../adapters/engines/redis/joined-stream';
import { describeLineage } from '../../adapters/engines/redis/lineage';
import { logReach } from '../../adapters/engines/redis/log-reach';
import { planRestore, recoveryWindows } from '../../adapters/engines/redis/plan-restore';
import { naming, redisPosition } from '../../adapters/engines/redis/positions';
import { SliceCollector } from '../../adapters/engines/redis/slice-collector';
import { MARK_CHANNEL } from '../../adapters/engines/redis/stream-marks';
import { SliceMerger } from '../../adapters/engines/slice-merger';
import { hasCode } from '../../core/errors';
import type { RecoveryTarget } from '../../core/recovery';
import { MemoryLogArchive, testContext } from '../support/engine-harness';
import { manifestOf } from '../support/manifests';

const [OLD, NEW] = ['a'.repeat(40), 'b'.repeat(40)];
const START = Date.parse('2026-11-22T12:00:00.000Z');
const at = (milliseconds: number) => new Date(START + milliseconds).toISOString();

const command = (...words: string[]) =>
  Buffer.from(`*${words.length}\r\n${words.map((word) => `$${word.length}\r\n${word}\r\n`).join('')}`);

/** A stream that is archived: what was written when, and where that begins. */
class Written {
  readonly log = new MemoryLogArchive(naming);
  /** By the key that was set: the offset behind it. */
  readonly behind = new Map<string, number>();
  offset = 0;
  #collector = this.#begin(OLD, 0);

  #begin(lineage: string, resumedAt: number): SliceCollector {
    return new SliceCollector({ lineage, offset: this.offset, database: 0, coversUntil: null }, START + resumedAt);
  }

  /** The archiver was away, or follows another id now. */
  again(resumedAt: number, lineage = OLD): this {
    this.#collector = this.#begin(lineage, resumedAt);
    return this;
  }

  set(key: string, receivedAt: number): this {
    this.#add(command('SET', key, '1'), receivedAt);
    this.behind.set(key, this.offset);
    return this;
  }

  mark(executedAt: number): this {
    this.#add(command('PUBLISH', MARK_CHANNEL, `${START + executedAt}`), executedAt + 1);
    return this;
  }

  async store(): Promise<void> {
    for (let piece = this.#collector.cut(); piece; piece = this.#collector.cut()) await this.log.append(piece);
  }

  #add(bytes: Buffer, receivedAt: number): void {
    this.#collector.add(bytes, START + receivedAt);
    this.offset += bytes.length;
  }
}

const backupAt = (offset: number, milliseconds: number, lineage = OLD) =>
  manifestOf(`b${milliseconds}`, [], {
    engine: 'redis',
    lineage,
    consistentAt: at(milliseconds),
    stop: redisPosition(lineage, offset),
  });

async function reached({ log }: Written, target: RecoveryTarget, backups = [backupAt(0, 0)]) {
  const { reaches, notes, chain } = await planRestore('cache', target, { backups, log }, testContext());
  return {
    offset: Number(reaches.position?.value),
    lineage: reaches.position?.lineage,
    exact: reaches.exact,
    notes,
    chain,
  };
}

const time = (milliseconds: number) => ({ kind: 'time', time: at(milliseconds) }) as const;

describe('an instant in a stream', () => {
  const begun = async () => {
    const stream = new Written().mark(10).set('a', 100).set('b', 200).mark(510);
    await stream.store();
    stream.set('c', 600).mark(1_010);
    await stream.store();
    return stream;
  };

  test('lies behind what was received by then, and between the marks around it', async () => {
    const stream = await begun();
    for (const [milliseconds, key] of [
      [100, 'a'],
      [150, 'a'],
      [200, 'b'],
      [599, 'b'],
      [600, 'c'],
    ] as const) {
      const { offset, exact } = await reached(stream, time(milliseconds));
      expect({ milliseconds, exact, isBehind: offset >= stream.behind.get(key)! }).toEqual({
        ...{ milliseconds, exact: true, isBehind: true },
      });
      const next = [...stream.behind.values()].find((each) => each > stream.behind.get(key)!);
      expect(offset).toBeLessThan(next ?? Infinity);
    }
  });

  test('is refused beyond the last mark, naming the range, and before the first backup', async () => {
    const stream = await begun();
    expect((await reached(stream, time(1_009))).exact).toBe(true);
    for (const milliseconds of [1_010, -1]) {
      const refused = await reached(stream, time(milliseconds)).catch((error: unknown) => error);
      expect(hasCode(refused, 'PitrTargetUnreachable')).toBe(true);
      expect((refused as Error).message).toContain(`${at(0)} to ${at(1_009)}`);
    }
  });

  test('at which nobody listened is the state before, and its plan says between when', async () => {
    const stream = await begun();
    stream.again(9_000).mark(1_200).set('d', 9_000).mark(9_010).set('e', 9_100).mark(9_510);
    await stream.store();
    const found = await reached(stream, time(5_000));
    expect(found).toMatchObject({ exact: false, notes: [expect.stringContaining(`${at(1_200)} and ${at(9_010)}`)] });
    expect(found.offset).toBeLessThan(stream.behind.get('d')!);
    expect(found.offset).toBeGreaterThanOrEqual(stream.behind.get('c')!);
    expect(await reached(stream, time(9_050))).toMatchObject({ exact: true });
  });

  test('at which nobody listened and nothing was written is exact', async () => {
    const stream = await begun();
    stream.again(9_000).mark(9_010);
    await stream.store();
    expect(await reached(stream, time(5_000))).toMatchObject({ exact: true, notes: [] });
  });
});

test('an offset is that of the last command that is whole there', async () => {
  const stream = new Written().mark(10).set('a', 100).set('b', 200).mark(510);
  await stream.store();
  const behind = stream.behind.get('a')!;
  for (const more of [0, 1, 20]) {
    const target = { kind: 'position', text: `${behind + more}` } as const;
    expect((await reached(stream, target)).offset).toBe(behind);
  }
  const beyond = { kind: 'position', text: `${stream.offset + 1}` } as const;
  expect(hasCode(await reached(stream, beyond).catch((error: unknown) => error), 'PitrTargetUnreachable')).toBe(true);
});

test('segments hold what their slices held, times included, and no gap is joined', async () => {
  const stream = new Written();
  for (let second = 0; second < 30; second += 1) {
    if (second === 12) stream.again(12_000);
    stream.set(`k${second}`, second * 1_000 + 100).mark(second * 1_000 + 500);
    await stream.store();
  }
  const targets = [100, 2_600, 11_100, 11_800, 12_700, 20_400, 28_100].map(time);
  const before = await Promise.all(targets.map((each) => reached(stream, each)));
  const merger = new SliceMerger(stream.log, OLD, mergeableStream, { contentBytes: 400, seconds: 10 }, testContext());
  await merger.begin();
  expect(merger.problem()).toBeNull();
  const pieces = await stream.log.entries(OLD);
  expect(pieces.filter(({ kind }) => kind === 'segment').length).toBeGreaterThan(3);
  expect(pieces.length).toBeLessThan(20);
  expect(await Promise.all(targets.map((each) => reached(stream, each)))).toEqual(before);
  expect(before[3]).toMatchObject({ exact: false });
});

test('in the place of a damaged segment its slices are read, as long as all of them are there', async () => {
  const stream = new Written();
  for (let second = 0; second < 12; second += 1) {
    stream.set(`k${second}`, second * 1_000 + 100).mark(second * 1_000 + 500);
    await stream.store();
  }
  const targets = [600, 3_700, 9_200].map(time);
  const before = await Promise.all(targets.map((each) => reached(stream, each)));
  const slices = await Promise.all(
    (await stream.log.entries(OLD)).map(async (each) => ({ ...each, content: await entryBytes(stream.log, each) })),
  );
  const merger = new SliceMerger(stream.log, OLD, mergeableStream, { contentBytes: 500, seconds: 10 }, testContext());
  await merger.begin();
  // As of an archiver that died before it had removed them.
  for (const each of slices) await stream.log.append(each);
  const segments = (await stream.log.entries(OLD)).filter(({ kind }) => kind === 'segment');
  expect(segments.length).toBeGreaterThan(1);
  for (const each of segments) stream.log.damage(each);
  expect(await Promise.all(targets.map((each) => reached(stream, each)))).toEqual(before);
  const [{ segment, slices: hidden } = { segment: null, slices: [] }] = await stream.log.replaced(OLD);
  stream.log.lose(hidden[1]!);
  await expect(reached(stream, targets[0]!)).rejects.toMatchObject({
    type: 'BackupCorrupt',
    message: expect.stringContaining(segment!.key) as string,
  });
});

test('what is archived behind a standby counts where it changes data: marks and pings do not', async () => {
  const stream = new Written().mark(10).set('a', 100).mark(510);
  await stream.store();
  stream.mark(1_010);
  await stream.store();
  const behind = (offset: number) => changesBehind(redisPosition(OLD, offset), stream.log, testContext());
  const ofA = stream.behind.get('a')!;
  expect(await Promise.all([0, ofA - 1, ofA, ofA + 5, stream.offset].map(behind))).toEqual([
    true,
    true,
    false,
    false,
    false,
  ]);
});

describe('a promotion', () => {
  const promoted = async () => {
    const stream = new Written().mark(10).set('a', 100).mark(510);
    await stream.store();
    const leftAt = stream.offset;
    stream.set('lost', 600).mark(1_010);
    await stream.store();
    stream.offset = leftAt;
    await describeLineage(stream.log, {
      ...{ lineage: NEW, beganAt: at(2_000), from: leftAt, database: 0, why: 'a promotion', isGap: false },
      parent: { lineage: OLD, leftAt },
    });
    stream.again(2_000, NEW).mark(2_010).set('won', 2_100).mark(2_510);
    await stream.store();
    return { stream, leftAt };
  };

  test('is passed along: what is newer lies in the new stream, what the old primary had until then in its own', async () => {
    const { stream } = await promoted();
    expect(await reached(stream, { kind: 'latest' })).toMatchObject({ lineage: NEW, offset: stream.offset });
    expect(await reached(stream, time(2_200))).toMatchObject({ lineage: NEW, exact: true });
    const lost = await reached(stream, time(800));
    expect(lost).toMatchObject({ lineage: OLD, exact: true });
    expect(lost.offset).toBeGreaterThanOrEqual(stream.behind.get('lost')!);
    expect(await recoveryWindows({ backups: [backupAt(0, 0)], log: stream.log })).toEqual([
      { from: at(0), to: at(2_509), lineage: NEW, exact: true },
    ]);
  });

  test('retention knows where a stream came from, and that it does not know', async () => {
    const { stream, leftAt } = await promoted();
    const history = await stream.log.history();
    expect(logReach.parentOf(NEW, history)).toEqual({ lineage: OLD, leftAt: redisPosition(OLD, leftAt) });
    expect(logReach.parentOf(OLD, history)).toBe('unknown');
    const backup = backupAt(7, 0);
    // As manifests were written before there was a log.
    expect(logReach.needs({ ...backup, lineage: `${OLD}/7` })).toEqual({
      lineage: OLD,
      from: backup.stop,
      to: backup.stop,
    });
  });
});

test('a hole ends the range', async () => {
  const stream = new Written().mark(10).set('a', 100).mark(510);
  await stream.store();
  stream.offset += 100;
  stream.again(5_000).set('b', 5_000).mark(5_010);
  await stream.store();
  const windows = await recoveryWindows({ backups: [backupAt(0, 0)], log: stream.log });
  expect(windows).toEqual([{ from: at(0), to: at(509), lineage: OLD, exact: true }]);
});
