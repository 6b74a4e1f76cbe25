import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { createCatalog } from '../../adapters/catalog/catalog';
import { createRepository } from '../../adapters/repository';
import { createSpool } from '../../adapters/volumes/spool';
import { createTransfer } from '../../adapters/volumes/transfer';
import type { Manifest } from '../../core/catalog';
import { backupIdOf } from '../../core/layout';
import type { Repository } from '../../core/repository';
import { testContext } from '../support/call-context';
import { faultyRepository } from '../support/faulty-repository';
import { dumpResult, manifestOf } from '../support/manifests';

/** Copies of stored backups on the worker's own disk: kept for their time, read where they are right, missed by nobody. */
const [HOUR, DAY] = [3_600_000, 86_400_000];
const codec = { codec: 'zstd', level: 1 } as const;
let folder: string;
beforeEach(() => void (folder = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-local-tier-'))));
afterEach(() => fs.rmSync(folder, { recursive: true, force: true }));

function world(localSeconds: number | null, freeShare = 0) {
  const directory = path.join(folder, 'repository');
  const repository = createRepository('here', { kind: 'local', directory, prefix: '' }, 'shop');
  const catalog = createCatalog(repository);
  const spool = createSpool({
    ...{ directory: path.join(folder, 'spool'), application: 'shop', codec, reserveBytes: 0, freeShare },
  });
  const transferOver = (over: Repository) =>
    createTransfer({
      ...{ repository: over, catalog, spool, codec, targetVolumeBytes: 2 ** 20 },
      localSeconds: () => localSeconds,
    });
  const transfer = transferOver(repository);
  let count = 0;
  async function backUp(content: Buffer, isCommitted = true): Promise<Manifest> {
    const backupId = backupIdOf(new Date(Date.now() + (count += 1) * 1_000).toISOString(), 'full', '0000000a');
    const ref = { store: 'orders', backupId, kind: 'full' } as const;
    const dump = await transfer.beginSpool({ ...ref, attempt: 1 }, content.length);
    const volume = dump.sink.volume('vol-00001.tar');
    await new Promise<void>((resolve, reject) => volume.end(content, () => resolve()).once('error', reject));
    await dump.finish(dumpResult());
    const { artifacts, early, attempt } = await transfer.uploadSpool(ref, testContext());
    const manifest = manifestOf(backupId, artifacts, { early, attempt });
    if (isCommitted) await catalog.commit(manifest);
    await transfer.removeSpool(ref);
    return manifest;
  }
  const files = () =>
    fs.existsSync(path.join(folder, 'spool'))
      ? fs
          .readdirSync(path.join(folder, 'spool'), { recursive: true, encoding: 'utf8' })
          .filter((name) => /vol-/.test(name))
      : [];
  return { repository, spool, transferOver, backUp, files };
}

/** Reads the volume with a repository that counts what is read of it. */
async function read(
  { repository, transferOver }: ReturnType<typeof world>,
  manifest: Manifest,
  fromLocalTier: boolean,
) {
  let reads = 0;
  const counted = faultyRepository(repository, { before: (operation) => void (reads += operation === 'get' ? 1 : 0) });
  const source = transferOver(counted).source([manifest], { fromLocalTier });
  const chunks = (await (await source.open(manifest.artifacts[0]!)).toArray()) as Buffer[];
  return { content: Buffer.concat(chunks), reads };
}

test('a stored backup leaves a copy for its time; a restore reads that, a proof reads the repository', async () => {
  const here = world(DAY / 1_000);
  const content = randomBytes(300_000);
  const manifest = await here.backUp(content);
  expect(here.files()).toHaveLength(1);
  expect(await here.spool.list()).toEqual([]);
  const [copy] = await here.spool.copies.list();
  expect(await here.spool.copies.sizeBytes()).toBeGreaterThan(300_000);
  expect(copy).toMatchObject({ store: 'orders', backupId: manifest.backupId });
  expect(Date.parse(copy!.until!) - Date.now()).toBeGreaterThan(23 * HOUR);

  const restored = await read(here, manifest, true);
  expect({ equal: restored.content.equals(content), reads: restored.reads }).toEqual({ equal: true, reads: 0 });
  const proven = await read(here, manifest, false);
  expect({ equal: proven.content.equals(content), reads: proven.reads }).toEqual({ equal: true, reads: 1 });

  expect(await here.spool.copies.prune(Date.now() + 23 * HOUR)).toEqual([]);
  expect(await here.spool.copies.prune(Date.now() + 25 * HOUR)).toEqual([copy]);
  expect(here.files()).toEqual([]);
  expect((await read(here, manifest, true)).reads).toBe(1);
});

test.each<[string, (file: string) => void]>([
  ['a bit of it flipped', (file) => flip(file)],
  ['it is shorter', (file) => fs.truncateSync(file, 1_000)],
  ['it is gone', (file) => fs.rmSync(file)],
])('a copy that is not the very bytes is passed over: %s', async (_, spoil) => {
  const here = world(null);
  const content = randomBytes(300_000);
  const manifest = await here.backUp(content);
  expect((await here.spool.copies.list())[0]).toMatchObject({ until: null });
  spoil(path.join(folder, 'spool', here.files()[0]!));
  const { content: found, reads } = await read(here, manifest, true);
  expect({ equal: found.equals(content), reads }).toEqual({ equal: true, reads: 1 });
});

test.each([
  ['nothing is to be kept', 0, true],
  ['it was never committed', DAY / 1_000, false],
])('no copy stays where %s', async (_, localSeconds, isCommitted) => {
  const here = world(localSeconds);
  await here.backUp(randomBytes(1_000), isCommitted);
  expect(here.files()).toEqual([]);
  expect(await here.spool.list()).toEqual([]);
});

test('copies leave a share of the disk free, whatever their time', async () => {
  const here = world(null, 1);
  await here.backUp(randomBytes(1_000));
  expect(here.files()).toEqual([]);
});

test('a dump that needs the room gets it: the oldest copies go first, all of them before it fails', async () => {
  const here = world(null);
  for (let backup = 0; backup < 3; backup += 1) await here.backUp(randomBytes(1_000));
  expect(here.files()).toHaveLength(3);
  await here.spool.copies.makeRoom(1);
  expect(here.files()).toHaveLength(3);
  await here.spool.copies.makeRoom(Infinity);
  expect(here.files()).toEqual([]);
});

function flip(file: string): void {
  const bytes = fs.readFileSync(file);
  bytes[100]! ^= 1;
  fs.writeFileSync(file, bytes);
}
