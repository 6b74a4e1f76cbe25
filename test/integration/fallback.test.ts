import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { createRepository } from '../../adapters/repository';
import type { Artifact, Manifest } from '../../core/catalog';
import { failure } from '../../core/errors';
import { layout } from '../../core/layout';
import type { StoreReading } from '../../core/reading';
import type { Repository } from '../../core/repository';
import {
  contentOf,
  copiedApplication,
  type CopiedApplication,
  copyNow,
  fillStore,
  LINEAGE,
  STORE,
} from '../support/copied-store';
import { expectFailure } from '../support/expect-failure';
import { faultyRepository } from '../support/faulty-repository';

/** Whatever is damaged or gone in the first repository is read from the second, exactly the same, and is named. */
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-fallback-'));
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

const repositoryAt = (name: string) =>
  createRepository(name, { kind: 'local', directory: path.join(folder, name), prefix: '' }, 'shop');
const [cloud, offsite] = [repositoryAt('cloud'), repositoryAt('offsite')];
let manifests: Manifest[] = [];

/** As a worker that was just started has it: nothing is remembered of what was read before. */
const opened = (first: Repository = cloud, second: Repository = offsite): CopiedApplication =>
  copiedApplication(first, second, folder);

beforeAll(async () => {
  manifests = await fillStore(opened());
  await copyNow(opened());
});

const digestOf = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

/** Everything that a restore reads of the store. */
async function allOf(reading: StoreReading, readFirst = false): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  const backups = await reading.catalog.list(STORE);
  for (const manifest of backups) {
    found[manifest.backupId] = JSON.stringify(await reading.catalog.get(STORE, manifest.backupId));
    const source = reading.source([manifest], { readFirst, fromLocalTier: false });
    for (const artifact of manifest.artifacts) {
      const chunks: Buffer[] = [];
      for await (const chunk of await source.open(artifact)) chunks.push(chunk as Buffer);
      found[artifact.key] = digestOf(Buffer.concat(chunks));
    }
    for (const { name, key } of manifest.early) found[key] = digestOf(await source.early(manifest.backupId, name));
  }
  for (const entry of await reading.log!.entries(LINEAGE)) {
    await reading.log!.lend(entry, async (content) => void (found[entry.key] = digestOf(content)));
    found[`${entry.key} covers`] = String((await reading.log!.resolve(entry)).coversUntil);
  }
  for (const [name, bytes] of await reading.log!.history())
    found[name] = bytes instanceof Error ? bytes.message : digestOf(bytes);
  return found;
}

const fileOf = (repository: Repository, key: string) => path.join(repository.location, key);

/** Bits that rot leave the time as it is. */
function rewrite(file: string, change: (bytes: Buffer) => Buffer): () => void {
  const [before, { atime, mtime }] = [fs.readFileSync(file), fs.statSync(file)];
  const write = (bytes: Buffer) => {
    fs.writeFileSync(file, bytes);
    fs.utimesSync(file, atime, mtime);
  };
  write(change(before));
  return () => write(before);
}

const damages: Record<string, (file: string) => () => void> = {
  'one bit flipped': (file) =>
    rewrite(file, (bytes) => {
      const altered = Buffer.from(bytes);
      altered[bytes.length >> 1] = (altered[bytes.length >> 1] as number) ^ 4;
      return altered;
    }),
  'cut off': (file) => rewrite(file, (bytes) => bytes.subarray(0, bytes.length >> 1)),
  deleted: (file) => {
    const aside = path.join(folder, 'aside');
    fs.renameSync(file, aside);
    return () => fs.renameSync(aside, file);
  },
};

/** One of each kind of object. */
async function targets(): Promise<string[]> {
  const [first, second] = manifests as [Manifest, Manifest];
  const entries = await opened().open.logArchive(STORE)!.entries(LINEAGE);
  const ofKind = (kind: string) => entries.find((each) => each.kind === kind)!.key;
  return [
    ...[layout.manifest(STORE, first.backupId), layout.manifest(STORE, second.backupId)],
    ...[first.artifacts[1]!.key, first.early[0]!.key, ofKind('segment'), ofKind('slice')],
    layout.history(STORE, '7000-00000002.history'),
  ];
}

test.each(Object.keys(damages))(
  '%s in the first repository: the second is read, and what was met is named',
  async (how) => {
    const intact = await allOf(opened().open.reading(STORE));
    expect(opened().open.reading(STORE).elsewhere()).toEqual([]);
    for (const key of await targets()) {
      const undo = damages[how]!(fileOf(cloud, key));
      try {
        const reading = opened().open.reading(STORE);
        expect({ key, found: await allOf(reading) }).toEqual({ key, found: intact });
        const named = reading.elsewhere().map((each) => [each.key, each.repository, each.readFrom]);
        // A history file that is gone is simply not listed: the union has it.
        const isUnnoticed = how === 'deleted' && key.includes('/history/');
        expect({ key, named }).toEqual({ key, named: isUnnoticed ? [] : [[key, 'cloud', 'offsite']] });
      } finally {
        undo();
      }
    }
  },
  60_000,
);

test('bytes that are wrong though size and digest are said to be right are met at their end, or before they are used', async () => {
  const intact = await allOf(opened().open.reading(STORE));
  const { key } = manifests[0]!.artifacts[0]!;
  const flip = (bytes: Buffer) => {
    const altered = Buffer.from(bytes);
    altered[100] = (altered[100] as number) ^ 1;
    return altered;
  };
  const rotten = faultyRepository(cloud, { alterBody: (of, bytes) => (of === key ? flip(bytes) : bytes) });
  await expectFailure(allOf(opened(rotten).open.reading(STORE)), 'BackupCorrupt', key);
  const reading = opened(rotten).open.reading(STORE);
  expect(await allOf(reading, true)).toEqual(intact);
  expect(reading.elsewhere()).toMatchObject([{ key, repository: 'cloud', readFrom: 'offsite' }]);
});

test('damaged in both: refused, and both are named', async () => {
  const [{ artifacts }] = manifests as [Manifest];
  const [{ key }] = artifacts as [Artifact];
  const undo = [damages['cut off']!(fileOf(cloud, key)), damages['deleted']!(fileOf(offsite, key))];
  try {
    const error = await expectFailure(allOf(opened().open.reading(STORE)), 'BackupCorrupt');
    expect(error.message).toMatch(/no copy has it: cloud: .* instead of .*; offsite: .* is not there/);
  } finally {
    for (const each of undo) each();
  }
});

test('a repository that does not answer is asked once, and everything is read from the other', async () => {
  const intact = await allOf(opened().open.reading(STORE));
  let asked = 0;
  const away = faultyRepository(cloud, {
    before() {
      asked += 1;
      throw failure('RepositoryUnavailable', 'the region is lost');
    },
  });
  const reading = opened(away).open.reading(STORE);
  expect(await allOf(reading)).toEqual(intact);
  expect(reading.elsewhere()).toEqual([
    { key: null, repository: 'cloud', problem: 'the region is lost', readFrom: 'offsite' },
  ]);
  expect(asked).toBe(1);
  expect(await contentOf(offsite)).toEqual(await contentOf(cloud));
});
