import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs/promises';
import * as os from 'node:os';
import * as path from 'node:path';
import { createRepository } from '../../adapters/repository';
import { isEncrypted } from '../../adapters/encryption/encrypted-object';
import { createLogArchive } from '../../adapters/repository/log-archive';
import { positions as optimes } from '../../adapters/engines/mongodb/positions';
import { positions as lsns } from '../../adapters/engines/postgresql/lsn';
import { redisPositions as offsets } from '../../adapters/engines/redis/positions';
import type { LogArchive, LogNaming, LogPiece } from '../../core/log-archive';
import type { PositionCodec } from '../../core/positions';
import type { Repository } from '../../core/repository';
import { collect, shopRows } from '../support/content';
import { damaged } from '../support/damage';
import { keyFileOf, openEncryption, rsaKeyPair, startEncryption } from '../support/data-keys';
import { rounds, seededBytes, seededRandom } from '../support/random';

const random = seededRandom('log-archive');
const LINEAGE = '7301234567890/1';
/** PostgreSQL's segments have up to 1 GiB. */
const LARGE_BYTES = 33 * 2 ** 20;
const at = (value: number) => ({ engine: 'test', lineage: LINEAGE, value: String(value) });

/** `<from>-<to>` for slices, the same with `.segment` for segments. */
const naming: LogNaming = {
  compare: (a, b) => Number(a.value) - Number(b.value),
  read(_, name) {
    const match = /^(\d+)-(\d+)(\.segment)?$/.exec(name);
    if (!match) return null;
    return {
      kind: match[3] ? 'segment' : 'slice',
      from: at(Number(match[1])),
      to: at(Number(match[2])),
      coversUntil: null,
    };
  },
};

function piece(
  from: number,
  to: number,
  kind: LogPiece['kind'] = 'slice',
  coversUntil: string | null = null,
): LogPiece {
  const name = `${from}-${to}${kind === 'segment' ? '.segment' : ''}`;
  return {
    lineage: LINEAGE,
    name,
    kind,
    from: at(from),
    to: at(to),
    coversUntil,
    content: Buffer.from(`log ${from} to ${to}`),
  };
}

let directory: string;
let repository: Repository;
let archive: LogArchive;

beforeEach(async () => {
  directory = await fs.mkdtemp(path.join(os.tmpdir(), 'drctl-log-'));
  repository = createRepository('local', { kind: 'local', directory, prefix: '' }, 'shop');
  archive = open();
});
afterEach(() => fs.rm(directory, { recursive: true, force: true }));

function open(): LogArchive {
  return createLogArchive(repository, 'orders', naming);
}

async function names(of: LogArchive = open()): Promise<string[]> {
  return (await of.entries(LINEAGE)).map((entry) => entry.name);
}

test('what was appended is listed in log order and read back', async () => {
  const content = shopRows(100_000);
  await archive.append({ ...piece(1000, 1100), content });
  for (const [from, to] of [
    [99, 1000],
    [5, 99],
    [0, 5],
  ] as const)
    await archive.append(piece(from, to));
  expect(await names()).toEqual(['0-5', '5-99', '99-1000', '1000-1100']);
  expect(await names(archive)).toEqual(await names());
  const last = (await open().entries(LINEAGE)).at(-1)!;
  expect(last).toMatchObject({ from: at(1000), to: at(1100), kind: 'slice', lineage: LINEAGE });
  expect((await collect(await open().open(last))).equals(content)).toBe(true);
  expect(last.sizeBytes).toBeLessThan(content.length);
});

test('coversUntil is looked up where the listing does not say', async () => {
  await archive.append(piece(0, 5, 'slice', '2026-11-22T13:05:03.120Z'));
  await archive.append(piece(5, 6));
  const [first, second] = await open().entries(LINEAGE);
  expect(first!.coversUntil).toBeNull();
  expect((await open().resolve(first!)).coversUntil).toBe('2026-11-22T13:05:03.120Z');
  expect((await open().resolve(second!)).coversUntil).toBeNull();
});

test('the same bytes again are fine; other bytes under the name are LogGap and change nothing', async () => {
  await archive.append(piece(0, 5));
  await open().append(piece(0, 5));
  const other = open().append({ ...piece(0, 5), content: Buffer.from('of another server') });
  await expect(other).rejects.toMatchObject({ type: 'LogGap', message: expect.stringContaining('0-5') });
  const [entry] = await open().entries(LINEAGE);
  expect((await collect(await open().open(entry!))).toString()).toBe('log 0 to 5');
});

test('the same content compressed by another zstd is the same', async () => {
  await archive.append(piece(0, 5));
  const [entry] = await archive.entries(LINEAGE);
  const head = await repository.head(entry!.key);
  const raw = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x20, 10, 0x51, 0, 0, ...Buffer.from('log 0 to 5')]);
  await repository.put(entry!.key, raw, { metadata: head!.metadata });
  await open().append(piece(0, 5));
  expect((await collect(await open().open(entry!))).toString()).toBe('log 0 to 5');
});

test('a segment hides the slices that it replaces, before and after they are removed', async () => {
  for (const [from, to] of [
    [0, 5],
    [5, 9],
    [9, 20],
    [20, 30],
  ] as const)
    await archive.append(piece(from, to));
  const slices = await archive.entries(LINEAGE);
  const segment = await archive.append(piece(0, 20, 'segment'));
  expect(await names()).toEqual(['0-20.segment', '20-30']);
  await archive.replace(slices.slice(0, 3), segment);
  await archive.replace(slices.slice(0, 3), segment);
  expect(await names()).toEqual(['0-20.segment', '20-30']);
  expect(await names(archive)).toEqual(await names());
  // One that comes late from an archiver believed dead.
  await open().append(piece(5, 9));
  expect(await names()).toEqual(['0-20.segment', '20-30']);
  const [left] = await open().replaced(LINEAGE);
  expect([left!.segment.name, left!.slices.map(({ name }) => name)]).toEqual(['0-20.segment', ['5-9']]);
});

test.each([
  ['before its slices are removed', 0],
  ['while they are removed', 2],
  ['after that', 3],
])('a process that dies %s: the next one finds what is left, and nothing else', async (_, removed) => {
  for (let from = 0; from < 20; from += 5) await archive.append(piece(from, from + 5));
  const died = new Error('the process died');
  const dying: Repository = {
    ...repository,
    async delete(keys) {
      await repository.delete(keys.slice(0, removed));
      throw died;
    },
  };
  const itsLast = createLogArchive(dying, 'orders', naming);
  const slices = (await itsLast.entries(LINEAGE)).slice(0, 3);
  const segment = await itsLast.append(piece(0, 15, 'segment'));
  await expect(itsLast.replace(slices, segment)).rejects.toBe(died);
  expect(await stored()).toHaveLength(1 + 4 - removed);

  const next = open();
  const found = await next.replaced(LINEAGE);
  expect(found.flatMap((each) => each.slices.map(({ name }) => name))).toEqual(
    slices.slice(removed).map(({ name }) => name),
  );
  for (const each of found) await next.replace(each.slices, each.segment);
  for (const each of [next, open()]) expect(await each.replaced(LINEAGE)).toEqual([]);
  expect(await stored()).toEqual(['0-15.segment.zst', '15-20.zst']);
});

test('a segment put in place of its slices while they are listed is no hole; one that stays is listed twice, once', async () => {
  for (let from = 0; from < 20; from += 5) await archive.append(piece(from, from + 5));
  let listings = 0;
  const passing: Repository = {
    ...repository,
    async *list(prefix, options) {
      listings += 1;
      // The page with the segment's place was read before, that with its slices is read after.
      const before = [];
      for await (const object of repository.list(prefix, options)) before.push(object);
      if (listings === 1) {
        const other = open();
        const slices = (await other.entries(LINEAGE)).slice(0, 3);
        await other.replace(slices.slice(1), await other.append(piece(5, 15, 'segment')));
      }
      for (const object of before) if (await repository.head(object.key)) yield object;
    },
  };
  const reader = createLogArchive(passing, 'orders', naming);
  expect((await reader.entries(LINEAGE)).map(({ name }) => name)).toEqual(['0-5', '5-15.segment', '15-20']);
  expect(listings).toBe(2);

  await repository.delete([(await reader.entries(LINEAGE))[1]!.key]);
  const later = createLogArchive(passing, 'orders', naming);
  expect((await later.entries(LINEAGE)).map(({ name }) => name)).toEqual(['0-5', '15-20']);
  expect(listings).toBe(4);
  await later.entries(LINEAGE);
  expect(listings).toBe(4);
});

/** What lies in the lineage's folder, whoever knows of it. */
async function stored(): Promise<string[]> {
  const prefix = `data/log/orders/${LINEAGE}/`;
  const found: string[] = [];
  for await (const { key } of repository.list(prefix)) found.push(key.slice(prefix.length));
  return found.toSorted();
}

test('of a long log only the end is listed again: what others add and replace there shows, further back later', async () => {
  const name = (from: number) => `${String(from).padStart(6, '0')}-${String(from + 1).padStart(6, '0')}`;
  const folder = path.join(directory, 'shop', 'data', 'log', 'orders', LINEAGE);
  await fs.mkdir(folder, { recursive: true });
  const store = (from: number) => fs.writeFile(path.join(folder, `${name(from)}.zst`), '');
  const remove = (from: number) => fs.rm(path.join(folder, `${name(from)}.zst`));
  for (let from = 0; from < 3_000; from += 1) await store(from);
  let listed = 0;
  const counting: Repository = {
    ...repository,
    async *list(...call) {
      for await (const object of repository.list(...call)) {
        listed += 1;
        yield object;
      }
    },
  };
  const now = jest.spyOn(Date, 'now');
  try {
    let clock = 1_000_000;
    now.mockImplementation(() => clock);
    const seen = createLogArchive(counting, 'orders', naming);
    const list = async () => (await seen.entries(LINEAGE)).map((entry) => entry.from.value).map(Number);
    expect(await list()).toHaveLength(3_000);
    await remove(2_990);
    clock += 2_000;
    expect(await list()).toHaveLength(2_999); // a hole: everything was listed again, and it is believed
    await remove(1);
    for (let from = 3_000; from < 5_000; from += 1) {
      await store(from);
      if (from % 400 !== 0) continue;
      clock += 2_000;
      listed = 0;
      expect((await list()).slice(-2)).toEqual([from - 1, from]);
      expect(listed).toBeLessThan(1_500);
    }
    clock += 2_000;
    const expected = Array.from({ length: 5_000 }, (_, from) => from).filter((from) => from !== 2_990);
    expect(await list()).toEqual(expected);
    clock += 10 * 60_000;
    expect(await list()).toEqual(expected.filter((from) => from !== 1));
  } finally {
    now.mockRestore();
  }
});

test('a segment of more slices than the listed end has is seen by others at once', async () => {
  const name = (from: number, to: number) => `${String(from).padStart(6, '0')}-${String(to).padStart(6, '0')}`;
  const folder = path.join(directory, 'shop', 'data', 'log', 'orders', LINEAGE);
  await fs.mkdir(folder, { recursive: true });
  for (let from = 0; from < 1_500; from += 1) await fs.writeFile(path.join(folder, `${name(from, from + 1)}.zst`), '');
  const now = jest.spyOn(Date, 'now');
  try {
    let clock = 1_000_000;
    now.mockImplementation(() => clock);
    const seen = createLogArchive(repository, 'orders', naming);
    expect(await seen.entries(LINEAGE)).toHaveLength(1_500);
    await fs.writeFile(path.join(folder, `${name(700, 1_400)}.segment.zst`), '');
    for (let from = 700; from < 1_400; from += 1) await fs.rm(path.join(folder, `${name(from, from + 1)}.zst`));
    clock += 2_000;
    const ranges = (await seen.entries(LINEAGE)).map(({ from, to }) => [Number(from.value), Number(to.value)]);
    expect(ranges).toEqual([
      ...Array.from({ length: 700 }, (_, from) => [from, from + 1]),
      [700, 1_400],
      ...Array.from({ length: 100 }, (_, from) => [1_400 + from, 1_401 + from]),
    ]);
  } finally {
    now.mockRestore();
  }
});

test('what cannot be read is listed anew: another process may have put a segment in its place', async () => {
  for (let from = 0; from < 15; from += 5) await archive.append(piece(from, from + 5));
  const reader = open();
  const [first, second] = await reader.entries(LINEAGE);
  const other = open();
  const slices = (await other.entries(LINEAGE)).slice(0, 2);
  await other.replace(slices, await other.append(piece(0, 10, 'segment')));
  expect(await names(reader)).toEqual(['0-5', '5-10', '10-15']); // believed for a moment
  await expect(reader.open(first!)).rejects.toMatchObject({ type: 'BackupCorrupt' });
  expect(await names(reader)).toEqual(['0-10.segment', '10-15']);
  const another = open();
  await another.entries(LINEAGE);
  await other.replace([second!], await other.append(piece(0, 15, 'segment')));
  expect((await another.resolve(second!)).coversUntil).toBeNull();
  expect(await names(another)).toEqual(await names());
});

test.each([
  ['that does not compress', () => seededBytes()(LARGE_BYTES)],
  ['of zeros', () => Buffer.alloc(LARGE_BYTES)],
])(
  'a segment larger than any other frame, %s, is read back and takes the place of its slices',
  async (_, contentOf) => {
    await archive.append(piece(0, 5));
    const [slice] = await archive.entries(LINEAGE);
    const content = contentOf();
    const segment = await archive.append({ ...piece(0, 5, 'segment'), content });
    await archive.replace([slice!], segment);
    expect(await names()).toEqual(['0-5.segment']);
    expect((await collect(await open().open(segment))).equals(content)).toBe(true);
    // As a process leaves it that dies between an object and its annotations.
    const frame = await repository.read(segment.key);
    await repository.put(segment.key, frame, { metadata: {} });
    expect((await collect(await open().open(segment))).equals(content)).toBe(true);
    await repository.put(segment.key, frame.subarray(0, -1), { metadata: {} });
    await expect(open().open(segment)).rejects.toMatchObject({
      type: 'BackupCorrupt',
      message: expect.stringContaining(segment.key),
    });
  },
);

test('lineages are found without a listing of what is in them', async () => {
  await archive.append(piece(0, 5));
  await archive.append({ ...piece(0, 5), lineage: 'other/2' });
  const blind = { ...repository, list: () => Promise.reject(new Error('a listing')) } as unknown as Repository;
  expect((await createLogArchive(blind, 'orders', naming).lineages()).toSorted()).toEqual(
    [LINEAGE, 'other/2'].toSorted(),
  );
});

test('slices stay when their segment cannot be read back', async () => {
  await archive.append(piece(0, 5));
  const slices = await archive.entries(LINEAGE);
  const segment = await archive.append(piece(0, 5, 'segment'));
  await repository.put(segment.key, Buffer.from('damaged'));
  await expect(archive.replace(slices, segment)).rejects.toMatchObject({ type: 'BackupCorrupt' });
  expect((await open().entries(LINEAGE)).length).toBeGreaterThan(0);
  expect(await repository.head(slices[0]!.key)).not.toBeNull();
});

test('damage is found and named: a flipped byte, a lost end, other content, an object that is gone', async () => {
  await archive.append({ ...piece(0, 5), content: shopRows(10_000) });
  const [entry] = await archive.entries(LINEAGE);
  const bytes = await repository.read(entry!.key);
  const { metadata } = (await repository.head(entry!.key))!;
  const flipped = Buffer.from(bytes);
  flipped[bytes.length >> 1]! ^= 4;
  await archive.append(piece(5, 6));
  const other = await repository.read((await open().entries(LINEAGE))[1]!.key);
  const corrupt = { type: 'BackupCorrupt', message: expect.stringContaining(entry!.key) };
  for (const changed of [flipped, bytes.subarray(0, -3), Buffer.alloc(0), other]) {
    await repository.put(entry!.key, changed, { metadata });
    await expect(open().open(entry!)).rejects.toMatchObject(corrupt);
  }
  await repository.delete([entry!.key]);
  await expect(open().open(entry!)).rejects.toMatchObject(corrupt);
});

test('a piece in the place of another one is found and named, also where it took all that was noted along', async () => {
  const [first, second] = [await archive.append(piece(0, 5, 'segment')), await archive.append(piece(5, 10, 'segment'))];
  const { metadata } = (await repository.head(second.key))!;
  await repository.put(first.key, await repository.read(second.key), { metadata });
  const corrupt = { type: 'BackupCorrupt', message: expect.stringMatching(/0-5\.segment.*it is the entry .*5-10/) };
  await expect(open().prove(first)).rejects.toMatchObject(corrupt);
  await expect(open().open(first)).rejects.toMatchObject(corrupt);
  await expect(open().lend(first, async () => undefined)).rejects.toMatchObject(corrupt);
  await expect(open().prove(second)).resolves.toBe(true);
});

test.each(rounds(3))('round %i: damage anywhere in a piece is found and named', async () => {
  await archive.append({ ...piece(0, 5), content: shopRows(1 + random.integer(300_000)) });
  const [entry] = await archive.entries(LINEAGE);
  const { metadata } = (await repository.head(entry!.key))!;
  const { damage, bytes } = damaged(await repository.read(entry!.key), random);
  await repository.put(entry!.key, bytes, { metadata });
  const error = await open()
    .open(entry!)
    .then(collect)
    .then(
      () => null,
      (thrown: Error & { type?: string }) => thrown,
    );
  expect({ damage, type: error?.type }).toEqual({ damage, type: 'BackupCorrupt' });
  expect(error?.message).toContain(entry!.key);
});

test('annotations of a local object of which any byte changed are found and named; older ones are read', async () => {
  await archive.append({ ...piece(0, 5), coversUntil: '2026-11-22T13:05:03Z' });
  const [entry] = await archive.entries(LINEAGE);
  const file = path.join(repository.location, '.metadata', `${entry!.key}.json`);
  const bytes = await fs.readFile(file);
  for (const byte of bytes.keys()) {
    const damage = Buffer.from(bytes);
    damage[byte] = damage[byte]! ^ (1 << random.integer(8));
    await fs.writeFile(file, damage);
    await expect(open().resolve(entry!)).rejects.toMatchObject({
      type: 'BackupCorrupt',
      message: expect.stringContaining(file),
    });
  }
  await fs.writeFile(file, bytes.toString().split('\n')[0]!);
  expect(await open().resolve(entry!)).toMatchObject({ coversUntil: '2026-11-22T13:05:03Z' });
});

test('lineages and foreign objects are told apart; history is kept beside the catalogue', async () => {
  await archive.append(piece(0, 5));
  await archive.append({ ...piece(0, 5), lineage: '7301234567890/2' });
  await repository.put(`data/log/orders/${LINEAGE}/README.txt`, Buffer.from('not ours'));
  await repository.put(`data/log/orders-2/${LINEAGE}/0-9.zst`, Buffer.from('of another store'));
  expect((await open().lineages()).toSorted()).toEqual([LINEAGE, '7301234567890/2']);
  expect(await names()).toEqual(['0-5']);
  expect(await open().entries('7301234567890/3')).toEqual([]);
  await archive.putHistory('00000002.history', Buffer.from('1\t0/3000148'));
  await archive.putHistory('00000002.history', Buffer.from('1\t0/3000148'));
  expect([...(await open().history())].map(([name, bytes]) => [name, bytes.toString()])).toEqual([
    ['00000002.history', '1\t0/3000148'],
  ]);
});

test('a history file of which any byte changed is found and named; the others stay; one from before the digests is read', async () => {
  const [name, other] = ['7-00000002.history', '7-00000003.history'];
  for (const each of [name, other]) await archive.putHistory(each, Buffer.from('1\t0/3000148\tno recovery target\n'));
  for (const changed of [name, `${name}.sha256`]) {
    const key = `catalog/orders/history/${changed}`;
    const bytes = await repository.read(key);
    for (const byte of bytes.keys()) {
      const damage = Buffer.from(bytes);
      damage[byte] = damage[byte]! ^ (1 << random.integer(8));
      await fs.writeFile(path.join(repository.location, key), damage);
      const history = await open().history();
      expect([...history.keys()].toSorted()).toEqual([name, other]);
      expect(history.get(other)).toBeInstanceOf(Buffer);
      expect(history.get(name)).toMatchObject({
        type: 'BackupCorrupt',
        message: expect.stringContaining(`catalog/orders/history/${name} `),
      });
    }
    // Offered again, it is put right by the one of the two that is intact; another one is refused.
    const again = (content: string) => open().putHistory(name, Buffer.from(content), { ifAbsent: true });
    await expect(again('1\t0/3000149\tno recovery target\n')).rejects.toMatchObject({ type: 'LockHeld' });
    await again('1\t0/3000148\tno recovery target\n');
    expect((await repository.read(key)).equals(bytes)).toBe(true);
    expect((await open().history()).get(name)).toBeInstanceOf(Buffer);
  }
  await repository.delete([`catalog/orders/history/${name}.sha256`]);
  expect((await open().history()).get(name)).toEqual(Buffer.from('1\t0/3000148\tno recovery target\n'));

  await archive.putHistory(name, Buffer.from('1\t0/3000148\tno recovery target\n'));
  const folder = path.join(repository.location, 'catalog/orders/history');
  expect(execFileSync('sha256sum', ['--check', `${name}.sha256`], { cwd: folder }).toString()).toBe(`${name}: OK\n`);
});

test.each([
  [lsns, '0/3000148', '0/10000000', -1],
  [lsns, '1/0', '0/FFFFFFFF', 1],
  [lsns, '0/a0', '0/A1', -1],
  [optimes, '1763800000:3', '1763800000:12', -1],
  [optimes, '7:1', '7:1', 0],
  [offsets, '999999', '1000000', -1],
] as [PositionCodec, string, string, number][])('an engine orders its positions: %#', (codec, a, b, expected) => {
  const [first, second] = [codec.parse(a, LINEAGE), codec.parse(b, LINEAGE)];
  expect(Math.sign(codec.compare(first, second))).toBe(expected);
  expect(Math.sign(codec.compare(second, first))).toBe(expected === 0 ? 0 : -expected);
});

describe('encrypted', () => {
  const worker = { worker: keyFileOf(rsaKeyPair()) };
  const openWith = (cipher: Awaited<ReturnType<typeof startEncryption>>['cipher'] | null) =>
    createLogArchive(repository, 'orders', naming, cipher);
  let keyed: LogArchive;
  let keyId: string;
  beforeEach(async () => {
    const encryption = await startEncryption([repository], worker);
    keyed = openWith(encryption.cipher);
    ({ keyId } = encryption);
  });

  test('slices and segments are stored encrypted under their names, read back in every way, and merged', async () => {
    const content = shopRows(200_000);
    await keyed.append(piece(0, 5));
    await keyed.append({ ...piece(5, 9), content });
    const slices = await keyed.entries(LINEAGE);
    const both = Buffer.concat([piece(0, 5).content, content]);
    const segment = await keyed.append({ ...piece(0, 9, 'segment'), content: both });
    for (const { key } of [...slices, segment]) {
      expect(isEncrypted(await repository.read(key))).toBe(true);
      expect((await repository.head(key))!.metadata['encryption-key-id']).toBe(keyId);
    }
    const { cipher } = openEncryption([repository], worker, null);
    const reader = openWith(cipher);
    expect((await collect(await reader.open(slices[1]!))).equals(content)).toBe(true);
    await reader.lend(segment, async (lent) => expect(lent.equals(both)).toBe(true));
    await keyed.replace(slices, segment);
    expect(await names(keyed)).toEqual(['0-9.segment']);
    // As a copy that was made by hand has it, without annotations.
    await repository.put(segment.key, await repository.read(segment.key), { metadata: {} });
    expect((await collect(await openWith(cipher).open(segment))).equals(both)).toBe(true);
    await expect(open().open(segment)).rejects.toMatchObject({
      type: 'ConfigInvalid',
      message: expect.stringContaining(segment.key),
    });
  });

  test('of two archivers one of which has the key already, only one has a name; what they agree on is fine', async () => {
    await archive.append(piece(0, 5));
    await keyed.append(piece(0, 5));
    await keyed.append(piece(5, 9));
    await keyed.append(piece(5, 9));
    // Whoever has no key yet knows it by the digest of the content.
    await open().append(piece(5, 9));
    for (const [of, from, to] of [
      [keyed, 0, 5],
      [archive, 5, 9],
      [keyed, 5, 9],
    ] as const) {
      const other = of.append({ ...piece(from, to), content: Buffer.from('of another server') });
      await expect(other).rejects.toMatchObject({ type: 'LogGap', message: expect.stringContaining(`${from}-${to}`) });
    }
    const entries = await keyed.entries(LINEAGE);
    const read = await Promise.all(entries.map(async (entry) => String(await collect(await keyed.open(entry)))));
    expect(read).toEqual(['log 0 to 5', 'log 5 to 9']);
  });

  test('damage anywhere, and another piece in its place, are found and named', async () => {
    await keyed.append({ ...piece(0, 5), content: shopRows(50_000) });
    await keyed.append(piece(5, 9));
    const [first, second] = await keyed.entries(LINEAGE);
    const [head, bytes] = [await repository.head(first!.key), await repository.read(first!.key)];
    const refused = { type: 'BackupCorrupt', message: expect.stringContaining(first!.key) };
    for (const place of [0, 150, 700, bytes.length >> 1, bytes.length - 1]) {
      const flipped = Buffer.from(bytes).fill(bytes[place]! ^ 1, place, place + 1);
      await repository.put(first!.key, flipped, { metadata: head!.metadata });
      await expect(keyed.open(first!)).rejects.toMatchObject(refused);
      await expect(keyed.lend(first!, async () => 'used')).rejects.toMatchObject(refused);
    }
    const other = await repository.read(second!.key);
    const { metadata } = (await repository.head(second!.key))!;
    await repository.put(first!.key, other, { metadata: { ...metadata, entry: head!.metadata['entry']! } });
    await expect(keyed.open(first!)).rejects.toMatchObject({
      ...refused,
      message: expect.stringMatching(/0-5.*5-9.*in the place of/),
    });
  });
});
