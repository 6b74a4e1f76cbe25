import { ArchivedLog } from '../../adapters/engines/postgresql/log-chain';
import { pieceName, positionAt, walNaming } from '../../adapters/engines/postgresql/lsn';
import { historyKey } from '../../adapters/engines/postgresql/timeline-history';
import { MemoryLogArchive } from '../support/engine-harness';
import { manifestOf } from '../support/manifests';

const SYSTEM = '7301234567890123456';
const SEGMENT = 16n * 2n ** 20n;

let archive: MemoryLogArchive;
beforeEach(() => (archive = new MemoryLogArchive(walNaming)));

/** Stores a piece of segment `number` of a timeline; positions are counted from the segment's start. */
async function store(timeline: number, number: bigint, from: bigint, to: bigint): Promise<void> {
  const [lineage, start] = [`${SYSTEM}/${timeline}`, number * SEGMENT];
  const [kind, name] = [
    to - from === SEGMENT ? 'segment' : 'slice',
    pieceName(timeline, start + from, start + to, SEGMENT),
  ] as const;
  const [first, end] = [positionAt(lineage, start + from), positionAt(lineage, start + to)];
  await archive.append({ lineage, name, kind, from: first, to: end, coversUntil: null, content: Buffer.from(name) });
}

function backup(timeline: number, start: bigint, stop: bigint) {
  const lineage = `${SYSTEM}/${timeline}`;
  return manifestOf('20261122T130503Z-full-0000000a', [], {
    start: positionAt(lineage, start),
    stop: positionAt(lineage, stop),
    identity: SYSTEM,
    lineage,
    detail: { segmentBytes: Number(SEGMENT) },
  });
}

async function chainOf(of: ReturnType<typeof backup>, timeline = 1) {
  const chain = (await ArchivedLog.read(archive)).chainFrom(of, `${SYSTEM}/${timeline}`);
  return (
    chain && {
      names: chain.entries.map(({ name }) => name.slice(0, 8) + name.slice(16)),
      reachesStop: chain.reachesStop,
    }
  );
}

test("a backup's log begins with the segment that the backup begins in, which the server reads from its first page on", async () => {
  await store(1, 3n, 0n, SEGMENT);
  await store(1, 4n, 0n, 0x100n);
  await store(1, 4n, 0x100n, 0x200n);
  await store(1, 4n, 0x200n, 0x900n);
  const found = await chainOf(backup(1, 4n * SEGMENT + 0x300n, 4n * SEGMENT + 0x800n));
  expect(found?.names).toEqual([
    '0000000100000004.00000000-00000100',
    '0000000100000004.00000100-00000200',
    '0000000100000004.00000200-00000900',
  ]);
  expect(found?.reachesStop).toBe(true);
});

test('log that begins in the middle of that segment is of no use to it', async () => {
  await store(1, 4n, 0x200n, 0x900n);
  const found = await chainOf(backup(1, 4n * SEGMENT + 0x300n, 4n * SEGMENT + 0x800n));
  expect(found).toMatchObject({ names: [], reachesStop: false });
});

test("of a segment in which the timeline changed, the successor's is taken from its beginning", async () => {
  await archive.putHistory(historyKey(SYSTEM, 2), Buffer.from('1\t0/4000500\tno reason\n'));
  await store(1, 4n, 0n, 0x500n);
  await store(2, 4n, 0n, 0x200n);
  await store(2, 4n, 0x200n, 0x900n);
  const found = await chainOf(backup(1, 4n * SEGMENT + 0x300n, 4n * SEGMENT + 0x400n), 2);
  expect(found?.names).toEqual(['0000000200000004.00000000-00000200', '0000000200000004.00000200-00000900']);
  expect(found?.reachesStop).toBe(true);
});
