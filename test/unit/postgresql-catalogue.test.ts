import { Readable } from 'node:stream';
import { createPostgresqlEngine } from '../../adapters/engines/postgresql/engine';
import { pieceName, positionAt } from '../../adapters/engines/postgresql/lsn';
import { historyKey } from '../../adapters/engines/postgresql/timeline-history';
import type { StoreCatalog } from '../../core/engine';
import type { LogArchive, LogEntry } from '../../core/log-archive';
import type { RecoveryTarget } from '../../core/recovery';
import { manifestOf } from '../support/manifests';
import { testContext } from '../support/call-context';

/** Five weeks at a segment in 15 s, with eight backups a day. */
const ENTRIES = 200_000;
const BACKUPS = 300;
const SEGMENT = 16n * 1024n * 1024n;
const EPOCH = Date.parse('2026-01-01T00:00:00.000Z');
const secondsAt = (segment: number) => new Date(EPOCH + segment * 15_000).toISOString();

const engine = createPostgresqlEngine({
  store: 'orders',
  sites: {},
  settings: {} as Parameters<typeof createPostgresqlEngine>[0]['settings'],
});

interface Counts {
  /** How often a position of an entry was read. */
  positions: number;
  /** Entries whose annotations were asked for: a request each. */
  heads: number;
}

/** A month of two timelines, without the objects; a hole in the first, where a base backup follows. */
function syntheticCatalog(counts: Counts): StoreCatalog {
  const half = ENTRIES / 2;
  const hole = 40_000;
  const entriesOf = (timeline: number, from: number, to: number): LogEntry[] => {
    const lineage = `7/${timeline}`;
    return Array.from({ length: to - from }, (_, index) => {
      const start = BigInt(from + index) * SEGMENT;
      const [begin, end] = [positionAt(lineage, start), positionAt(lineage, start + SEGMENT)];
      const name = pieceName(timeline, start, start + SEGMENT, SEGMENT);
      const seen = <T>(value: T) => {
        counts.positions += 1;
        return value;
      };
      return {
        ...{ key: `${lineage}/${name}`, lineage, name, kind: 'segment' as const, coversUntil: null, sizeBytes: 1 },
        get from() {
          return seen(begin);
        },
        get to() {
          return seen(end);
        },
      };
    });
  };
  const logs = new Map([
    ['7/1', entriesOf(1, 0, half).filter((_, index) => index !== hole)],
    ['7/2', entriesOf(2, half, ENTRIES)],
  ]);
  const numberOf = ({ key }: LogEntry) =>
    (Number.parseInt(key.slice(-16), 16) % 256) + 256 * Number.parseInt(key.slice(-16, -8), 16);
  const log = {
    lineages: async () => [...logs.keys()],
    entries: async (lineage: string) => [...(logs.get(lineage) ?? [])],
    history: async () =>
      new Map([
        [historyKey('7', 2), Buffer.from(`1\t${positionAt('7/1', BigInt(half) * SEGMENT).value}\tno reason\n`)],
      ]),
    resolve: async (entry: LogEntry) => {
      counts.heads += 1;
      return { ...entry, from: entry.from, to: entry.to, coversUntil: secondsAt(numberOf(entry) + 1) };
    },
    open: async () => Readable.from([]),
  } as unknown as LogArchive;
  const backups = Array.from({ length: BACKUPS }, (_, index) => {
    const segment = Math.floor(((index + 0.5) * ENTRIES) / BACKUPS);
    const lineage = segment < half ? '7/1' : '7/2';
    return manifestOf(`backup-${index}`, [], {
      ...{ engine: 'postgresql', identity: '7', lineage, detail: { segmentBytes: Number(SEGMENT) } },
      start: positionAt(lineage, BigInt(segment) * SEGMENT + 40n),
      stop: positionAt(lineage, BigInt(segment + 1) * SEGMENT + 40n),
      consistentAt: secondsAt(segment + 1),
      // A standby's end has no record in the log, which is synthetic here.
      source: { site: 'dr', member: 'dr', follows: 'primary' },
    });
  });
  return { backups, log };
}

test('what windows and plans cost grows with the log, not with the log times the backups', async () => {
  const counts = { positions: 0, heads: 0 };
  const catalog = syntheticCatalog(counts);
  const cost = async <T>(work: () => Promise<T>): Promise<T> => {
    Object.assign(counts, { positions: 0, heads: 0 });
    const result = await work();
    // Each entry's two positions once; a search by halves beside it.
    expect(counts.positions).toBeLessThan(2.1 * ENTRIES);
    expect(counts.heads).toBeLessThan(100);
    return result;
  };
  const plan = (target: RecoveryTarget) => cost(() => engine.planRestore(target, catalog, testContext()));

  const windows = await cost(() => engine.windows(catalog));
  expect(windows).toEqual([
    { lineage: '7/1', from: secondsAt(334), to: secondsAt(40_000), exact: true },
    { lineage: '7/2', from: secondsAt(334), to: secondsAt(40_000), exact: true },
    { lineage: '7/1', from: secondsAt(40_334), to: secondsAt(100_000), exact: true },
    { lineage: '7/2', from: secondsAt(40_334), to: secondsAt(ENTRIES), exact: true },
  ]);
  expect(await plan({ kind: 'time', time: secondsAt(150_000) })).toMatchObject({
    chain: ['backup-224'],
    lineage: '7/2',
    log: { to: positionAt('7/2', 150_000n * SEGMENT) },
  });
  expect(await plan({ kind: 'backup', backupId: 'backup-3' })).toMatchObject({
    log: { to: positionAt('7/1', 2_335n * SEGMENT) },
  });
  await cost(() =>
    expect(
      engine.planRestore({ kind: 'time', time: secondsAt(ENTRIES + 9) }, catalog, testContext()),
    ).rejects.toMatchObject({ type: 'PitrTargetUnreachable' }),
  );
}, 60_000);
