import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { createLocalRepository } from '../../adapters/repository/local';
import { lookAtLog } from '../../adapters/verification/look-at-log';
import { chainOf, type Manifest, withWholeChains } from '../../core/catalog';
import type { LogArchive, LogEntry, LogNaming } from '../../core/log-archive';
import type { Position } from '../../core/positions';
import { chooseBackup, lostWith, type LogRange, type ReadProgress, soundBackups } from '../../core/verification';
import { engineOf, testContext } from '../support/engine-harness';
import { faultyRepository } from '../support/faulty-repository';
import { manifestOf } from '../support/manifests';
import { makeRandomTree } from '../support/random-tree';
import { seededNumbers } from '../support/random';
import { storedStore } from '../support/stored-store';

const at = (value: number): Position => ({ engine: 'fake', lineage: 'L', value: String(value) });
const naming: LogNaming = { compare: (a, b) => Number(a.value) - Number(b.value), read: () => null };

function entry(from: number, to: number, kind: LogEntry['kind'] = 'segment'): LogEntry {
  const name = `${from}-${to}`;
  return { key: `log/${name}`, lineage: 'L', name, kind, from: at(from), to: at(to), coversUntil: null, sizeBytes: 1 };
}

const full = (id: string, start: number, stop: number): Manifest =>
  manifestOf(`2026112${id}T020000Z-full-0000000${id}`, [], {
    ...{ lineage: 'L', start: at(start), stop: at(stop), consistentAt: `2026-11-2${id}T02:05:00.000Z` },
  });

/** Long behind all of them. */
const LATER = Date.parse('2026-12-01T00:00:00Z');

const span = (from: Position | null, to: Position | null) => (from && to ? { lineage: 'L', from, to } : null);
/** As of PostgreSQL, whose backups need the log from their start to their stop. */
const ownLog = ({ start, stop }: Manifest) => span(start, stop);
/** As of MongoDB, whose backups are whole, and replayed on from their stop. */
const noLog = ({ stop }: Manifest) => span(stop, stop);

interface Looked {
  readonly before?: readonly LogRange[];
  readonly needs?: typeof ownLog;
  readonly keptSince?: number;
}

/** By default all moments but those behind the newest backup are older than the log is kept for. */
async function look(entries: readonly LogEntry[], manifests: readonly Manifest[], looked: Looked = {}) {
  const log = { lineages: async () => (entries.length > 0 ? ['L'] : []), entries: async () => entries };
  const asked = { store: 'orders', naming, needs: ownLog, before: [], keptSince: LATER, ...looked };
  return lookAtLog(log as unknown as LogArchive, { ...asked, manifests }, testContext());
}

const WHOLE = [entry(0, 10), entry(10, 20), entry(20, 30), entry(30, 40), entry(40, 50)];
const without = (...left: number[]) => WHOLE.filter((_, index) => !left.includes(index));

describe('the log by its listing', () => {
  const [first, second] = [full('1', 5, 8), full('2', 45, 48)];
  const backups = [first, second];

  test('without holes there is nothing to say', async () => {
    const { ranges, findings } = await look(WHOLE, backups);
    expect(findings).toEqual([]);
    expect(ranges).toMatchObject([{ from: at(0), to: at(50), firstKey: 'log/0-10', lastKey: 'log/40-50', pieces: 5 }]);
  });

  test('what is missing is told by its positions, with the pieces before and behind', async () => {
    const { findings } = await look(without(2), backups);
    expect(findings).toEqual([
      {
        store: 'orders',
        backupId: null,
        key: 'log/30-40',
        severity: 'damage',
        problem: 'before it the log from 20 to 30 is missing',
        consequence: expect.stringContaining('log/10-20'),
      },
    ]);
  });

  test('a hole that was told and is behind a newer full is history, as is all that lies between two backups', async () => {
    const { ranges } = await look(without(2), backups);
    expect((await look(without(2), backups, { before: ranges })).findings).toMatchObject([{ severity: 'notice' }]);
    expect((await look(without(2), backups.slice(0, 1), { before: ranges })).findings).toMatchObject([
      { severity: 'damage' },
    ]);
    expect((await look(without(1, 2, 3), backups)).findings).toMatchObject([{ severity: 'notice' }]);
    // Nothing takes away what leads to moments that are still promised.
    const promised = await look(without(1, 2, 3), backups, { keptSince: -Infinity });
    expect(promised.findings).toMatchObject([{ severity: 'damage' }]);
  });

  test('what retention takes from the beginning of a log is no damage; what is taken behind a backup that log follows is', async () => {
    const { ranges: before } = await look(WHOLE, backups, { needs: noLog });
    const between = (Date.parse(first.consistentAt) + Date.parse(second.consistentAt)) / 2;
    const severities = async (entries: readonly LogEntry[], keptSince: number) =>
      (await look(entries, backups, { before, needs: noLog, keptSince })).findings.map(({ severity }) => severity);
    expect(await severities(without(0, 1, 2, 3), LATER)).toEqual(['notice']);
    expect(await severities(without(0, 1, 2, 3), between)).toEqual(['damage']);
    expect(await severities(without(0, 1, 2, 3), -Infinity)).toEqual(['damage']);
    const elsewhere = { ...second, lineage: 'M', stop: { ...at(3), lineage: 'M' } };
    const needs = ({ stop, lineage }: Manifest) => stop && lineage && { lineage, from: stop, to: stop };
    const gone = await look([], [first, elsewhere], { before, needs: needs as typeof noLog, keptSince: LATER });
    expect(gone.findings).toMatchObject([{ severity: 'notice' }]);
    expect((await look([], [first], { before, needs: noLog })).findings).toMatchObject([{ severity: 'damage' }]);
  });

  test('an end that was there is missed; a beginning only where a backup needs it', async () => {
    const { ranges } = await look(WHOLE, backups);
    expect((await look(without(4), backups, { before: ranges })).findings).toMatchObject([
      { severity: 'damage', key: 'log/40-50', problem: expect.stringContaining('ends at 40, it reached 50') },
    ]);
    expect((await look(without(0), backups, { before: ranges })).findings).toMatchObject([
      { severity: 'damage', key: 'log/0-10', problem: expect.stringContaining('begins at 10, it began at 0') },
    ]);
    expect((await look(without(0), backups.slice(1), { before: ranges })).findings).toMatchObject([
      { severity: 'notice' },
    ]);
    expect((await look([], backups, { before: ranges })).findings).toMatchObject([
      { severity: 'damage', key: 'log/40-50' },
    ]);
    expect((await look([], [], { before: ranges })).findings).toMatchObject([{ severity: 'notice' }]);
  });
});

describe('backups', () => {
  const [first, second] = [full('1', 5, 8), full('2', 45, 48)];
  const child = manifestOf('20261123T020000Z-incr-00000003', [], { type: 'incr', parent: second.backupId });

  test('a seed chooses the same again, and any backup sooner or later, but none without its chain', () => {
    const chosen = (seed: number) => chooseBackup([first, child, second], seed)?.backupId;
    expect(chosen(7)).toBe(chosen(7));
    expect(new Set(Array.from({ length: 50 }, (_, seed) => chosen(seed))).size).toBe(3);
    expect(chooseBackup([child], 7)).toBeNull();
    expect(chooseBackup([], 7)).toBeNull();
  });

  test('damage takes away what builds on it, a notice nothing', () => {
    const damage = { store: 'orders', key: 'k', problem: '', consequence: '', backupId: second.backupId } as const;
    const all = [first, second, child];
    expect(soundBackups(all, [{ ...damage, severity: 'damage' }])).toEqual([first]);
    expect(soundBackups(all, [{ ...damage, severity: 'notice' }])).toEqual(all);
    expect(lostWith(second.backupId, all)).toContain('nor can the 1 incrementals on it');
  });
});

test('which of very many backups have their chain is told at once', () => {
  const many: Manifest[] = [];
  for (let number = 0; number < 20_000; number += 1) {
    const isFull = number % 24 === 0;
    const id = `${new Date(Date.UTC(2026, 0, 1) + number * 3_600_000).toISOString().slice(0, 19).replaceAll(/[-:]/g, '')}Z`;
    const parent = isFull ? null : (many.at(-1)?.backupId ?? null);
    const backupId = `${id}-${isFull ? 'full' : 'incr'}-0000000a`;
    many.push(manifestOf(backupId, [], { type: isFull ? 'full' : 'incr', parent }));
  }
  const [lost, circle] = [many[48] as Manifest, many[73] as Manifest];
  const all = many
    .filter((each) => each !== lost)
    .map((each) => (each === circle ? { ...each, parent: (many[74] as Manifest).backupId } : each));
  const startedAt = performance.now();
  const whole = withWholeChains(all);
  // One by one they took minutes; a machine that is busy is given much.
  expect(performance.now() - startedAt).toBeLessThan(5_000);
  expect(whole).toHaveLength(20_000 - 24 - 23);
  const some = [0, 30, 49, 73, 74, 90, 96, 19_999 - 1].map((index) => all[index] as Manifest);
  expect(some.map((each) => whole.includes(each))).toEqual(some.map((each) => chainOf(each, all) !== null));
});

test('a read that was interrupted goes on at the object where it was', async () => {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-verification-'));
  try {
    fs.mkdirSync(path.join(root, 'tree'));
    makeRandomTree(path.join(root, 'tree'), seededNumbers(3), 30);
    const local = createLocalRepository({ name: 'local', directory: path.join(root, 'repository'), prefix: 'shop' });
    const reads: string[] = [];
    const repository = faultyRepository(local, {
      before: (operation, key) => void (operation === 'get' && key.startsWith('data/') && reads.push(key)),
    });
    const engine = await engineOf('files', 'assets', { sites: { primary: { roots: [path.join(root, 'tree')] } } });
    const store = storedStore(engine, repository, root);
    for (let backup = 0; backup < 3; backup += 1) await store.back('full');
    const { verifier } = store.open();
    const { manifests: backups, findings } = await verifier.look([], testContext());
    expect(findings).toEqual([]);
    reads.length = 0;
    const whole = await verifier.read({ backups, log: [] }, null, () => undefined, testContext());
    const once = [...reads];
    expect(whole.count).toMatchObject({ backups: 3, readBytes: expect.any(Number) });

    reads.length = 0;
    let kept: ReadProgress | null = null;
    const stop = new AbortController();
    const half = (progress: ReadProgress) => {
      kept = progress;
      if (progress.count.objects === 6) stop.abort(new DOMException('the worker stops', 'AbortError'));
    };
    await expect(verifier.read({ backups, log: [] }, null, half, testContext(stop.signal))).rejects.toThrow('worker');
    expect(await verifier.read({ backups, log: [] }, kept, () => undefined, testContext())).toEqual(whole);
    expect(reads).toEqual(once);
  } finally {
    fs.rmSync(root, { recursive: true, force: true });
  }
}, 60_000);
