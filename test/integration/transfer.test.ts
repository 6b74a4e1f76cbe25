import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs/promises';
import * as os from 'node:os';
import * as path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createCatalog } from '../../adapters/catalog/catalog';
import { createRepository } from '../../adapters/repository';
import { createSpool, type Spool } from '../../adapters/volumes/spool';
import { createTransfer } from '../../adapters/volumes/transfer';
import type { Artifact, Manifest } from '../../core/catalog';
import { layout } from '../../core/layout';
import type { Repository } from '../../core/repository';
import type { AttemptRef, BackupTransfer, DumpAttempt } from '../../core/transfer';
import { testContext } from '../support/call-context';
import { collect, shopRows } from '../support/content';
import { faultyRepository, networkError, type Faults } from '../support/faulty-repository';
import { dumpResult, manifestOf } from '../support/manifests';
import { startTestS3 } from '../support/s3-repository';

const codec = { codec: 'zstd', level: 3 } as const;
const ref: AttemptRef = { store: 'orders', backupId: '20261122T130503Z-full-0123abcd', kind: 'full', attempt: 1 };
const contents = new Map([
  ['vol-00001.tar', shopRows(40_000_000)],
  ['vol-00002.tar', shopRows(12)],
  ['vol-00003.tar', Buffer.alloc(0)],
]);

const makeRepository: Record<string, () => Promise<() => Repository>> = {
  async local() {
    const directory = await fs.mkdtemp(path.join(os.tmpdir(), 'drctl-transfer-'));
    let count = 0;
    return () => createRepository('local', { kind: 'local', directory, prefix: `test-${++count}` }, 'shop');
  },
  async s3() {
    const s3 = await startTestS3();
    let count = 0;
    return () => s3.repository(`test-${++count}`);
  },
};

describe.each(['local', 's3'])('transfer to a %s repository', (kind) => {
  let next: () => Repository;
  let repository: Repository;
  let faults: Faults;
  let directory: string;
  let spool: Spool;
  let transfer: BackupTransfer;
  const ctx = testContext();

  beforeAll(async () => {
    next = await makeRepository[kind]!();
  });
  beforeEach(async () => {
    directory = await fs.mkdtemp(path.join(os.tmpdir(), 'drctl-transfer-spool-'));
    spool = createSpool({ directory, application: 'shop', codec, reserveBytes: 0 });
    faults = {};
    repository = faultyRepository(next(), {
      before: (operation, key) => faults.before?.(operation, key),
      cutBodyAfter: (key) => faults.cutBodyAfter?.(key) ?? null,
      alterBody: (key, bytes) => faults.alterBody?.(key, bytes) ?? bytes,
    });
    transfer = open();
  });
  afterEach(() => fs.rm(directory, { recursive: true, force: true }));

  function open(): BackupTransfer {
    return createTransfer({ repository, catalog: createCatalog(repository), spool, codec, targetVolumeBytes: 2 ** 27 });
  }

  async function dump(attempt: DumpAttempt): Promise<void> {
    const { sink } = attempt;
    for (const [name, content] of contents) await pipeline(Readable.from([content]), sink.volume(name));
    await sink.early('backup_manifest', Buffer.from('{"files":[]}'));
    await attempt.finish(dumpResult());
  }

  async function committed(attempt = 1): Promise<Manifest> {
    const { artifacts, early, dump: result } = await transfer.stored({ ...ref, attempt });
    return manifestOf(ref.backupId, artifacts, { ...result, early, attempt });
  }

  async function expectWhole(manifest: Manifest): Promise<void> {
    const source = transfer.source([manifest]);
    expect(manifest.artifacts.map((artifact) => artifact.name)).toEqual([...contents.keys()]);
    for (const artifact of manifest.artifacts) {
      expect((await collect(await source.open(artifact))).equals(contents.get(artifact.name)!)).toBe(true);
    }
    expect((await source.early(ref.backupId, 'backup_manifest')).toString()).toBe('{"files":[]}');
  }

  async function keys(prefix = ''): Promise<string[]> {
    const found: string[] = [];
    for await (const { key } of repository.list(prefix)) found.push(key);
    return found.toSorted();
  }

  test('spool: uploaded while it is dumped, verified, committed, read back whole', async () => {
    const uploading = transfer.uploadSpool(ref, ctx);
    await dump(await transfer.beginSpool(ref, 1_000));
    const record = await uploading;
    expect(await open().stored(ref)).toEqual(record);
    await transfer.verify(record, ctx);
    await expectWhole(await committed());
    // A person needs nothing of ours to read it.
    const stored = await repository.read(record.artifacts[0]!.key);
    const plain = execFileSync('zstd', ['-dc'], { input: stored, maxBuffer: 2 ** 27 });
    expect(plain.equals(contents.get('vol-00001.tar')!)).toBe(true);
  });

  test('stream: the same, without a spool', async () => {
    await dump(await transfer.beginStream(ref, ctx));
    const record = await transfer.stored(ref);
    await transfer.verify(record, ctx);
    await expectWhole(await committed());
    await expect(fs.readdir(path.join(directory, 'shop', 'orders'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('spool: a newer attempt replaces the one being uploaded, and the sweep removes what that left', async () => {
    const uploading = transfer.uploadSpool(ref, ctx);
    const first = await transfer.beginSpool(ref, null);
    await pipeline(Readable.from([contents.get('vol-00001.tar')!]), first.sink.volume('vol-00001.tar'));
    await first.discard(new Error('the server went away'));
    await dump(await transfer.beginSpool({ ...ref, attempt: 2 }, null));
    expect((await uploading).attempt).toBe(2);
    await transfer.sweep(ref, 2);
    const attempts = new Set((await keys()).map((key) => /attempt-\d+/.exec(key)?.[0]));
    expect(attempts).toEqual(new Set(['attempt-2']));
    await expectWhole(await committed(2));
    await transfer.removeSpool(ref);
    expect(await spool.list()).toEqual([]);
  });

  test('a failed upload is taken up again and sends only what is missing', async () => {
    await dump(await transfer.beginSpool(ref, null));
    faults.before = (operation, key) => {
      if (operation === 'uploadFile' && key.includes('vol-00003')) throw networkError(key);
    };
    await expect(transfer.uploadSpool(ref, ctx)).rejects.toMatchObject({ type: 'RepositoryUnavailable' });
    const before = await Promise.all((await keys('data/')).map((key) => repository.head(key)));
    faults = {};
    await transfer.uploadSpool(ref, ctx);
    for (const head of before) expect((await repository.head(head!.key))!.modifiedAt).toBe(head!.modifiedAt);
    await expectWhole(await committed());
  });

  test('a discarded stream leaves no objects and no parts', async () => {
    const attempt = await transfer.beginStream(ref, ctx);
    const volume = attempt.sink.volume('vol-00001.tar');
    volume.on('error', () => {});
    volume.write(contents.get('vol-00001.tar'));
    await attempt.discard(new Error('the server went away'));
    expect(await keys()).toEqual([]);
    for await (const { key } of repository.unfinishedUploads('')) throw new Error(`${key} is unfinished`);
    await expect(transfer.stored(ref)).rejects.toMatchObject({ type: 'BackupIncomplete' });
  });

  test('a stream whose repository fails in the middle fails the dump', async () => {
    faults.before = (operation, key) => {
      if (operation === 'uploadStream') throw networkError(key);
    };
    await expect(dump(await transfer.beginStream(ref, ctx))).rejects.toMatchObject({ type: 'RepositoryUnavailable' });
  });

  test('uploading gives up with the reason of the dump when no newer attempt comes', async () => {
    const controller = new AbortController();
    const uploading = transfer.uploadSpool(ref, testContext(controller.signal));
    const attempt = await transfer.beginSpool(ref, null);
    await attempt.discard(new Error('the server went away'));
    setTimeout(() => controller.abort(), 600);
    await expect(uploading).rejects.toMatchObject({
      type: 'BackupIncomplete',
      message: expect.stringContaining('the server went away'),
    });
  });

  test('the data of a committed backup cannot be swept', async () => {
    await dump(await transfer.beginStream(ref, ctx));
    await createCatalog(repository).commit(await committed());
    for (const keep of [null, 2])
      await expect(transfer.sweep(ref, keep)).rejects.toMatchObject({ type: 'UsageInvalid' });
    await transfer.sweep(ref, 1);
    await expectWhole(await committed());
  });

  describe('what was stored is read', () => {
    let manifest: Manifest;
    let first: Artifact;
    beforeEach(async () => {
      await dump(await transfer.beginStream(ref, ctx));
      manifest = await committed();
      [first] = manifest.artifacts as [Artifact];
    });

    async function expectCorrupt(reads: Promise<unknown>, key: string): Promise<void> {
      await expect(reads).rejects.toMatchObject({ type: 'BackupCorrupt', message: expect.stringContaining(key) });
    }

    test('through connections that break: taken up where they broke', async () => {
      let cuts = 0;
      faults.cutBodyAfter = (key) => (key === first.key && cuts++ < 5 ? 1_000_003 : null);
      await expectWhole(manifest);
      expect(cuts).toBe(6);
    });

    test('not through one that never sends anything: the error of the network comes out', async () => {
      faults.cutBodyAfter = () => 0;
      await expect(collect(await transfer.source([manifest]).open(first))).rejects.toMatchObject({
        type: 'RepositoryUnavailable',
      });
    });

    test('a flipped byte at the beginning, in the middle or at the end is found and named, by reading and by verifying', async () => {
      expect(manifest.artifacts).toHaveLength(3);
      for (const [index, artifact] of manifest.artifacts.entries()) {
        const bytes = await repository.read(artifact.key);
        const at = [bytes.length >> 1, 0, bytes.length - 1][index]!;
        bytes[at]! ^= 1 << index;
        await repository.put(artifact.key, bytes);
        await expectCorrupt(collect(await transfer.source([manifest]).open(artifact)), artifact.key);
        await expectCorrupt(transfer.verify(await transfer.stored(ref), ctx), artifact.key);
        await repository.delete([artifact.key]);
        await expectCorrupt(collect(await transfer.source([manifest]).open(artifact)), artifact.key);
        await expectCorrupt(transfer.verify(await transfer.stored(ref), ctx), artifact.key);
        await dump(await transfer.beginStream(ref, ctx));
      }
    });

    test('a truncated or lengthened artifact is refused by name', async () => {
      const bytes = await repository.read(first.key);
      expect(bytes.length).toBeGreaterThan(100);
      for (const changed of [
        bytes.subarray(0, -1),
        bytes.subarray(0, 100),
        Buffer.alloc(0),
        Buffer.concat([bytes, bytes]),
      ]) {
        await repository.put(first.key, changed);
        await expectCorrupt(collect(await transfer.source([manifest]).open(first)), first.key);
        await expectCorrupt(transfer.verify(await transfer.stored(ref), ctx), first.key);
      }
    });

    test('a changed early file is refused by name', async () => {
      const [early] = manifest.early;
      await repository.put(early!.key, Buffer.from('{"files":{}}'));
      await expectCorrupt(transfer.source([manifest]).early(ref.backupId, 'backup_manifest'), early!.key);
      await expect(transfer.source([manifest]).early(ref.backupId, 'other')).rejects.toMatchObject({
        type: 'NotFound',
      });
      expect(early!.key.startsWith(layout.early('orders', ref.backupId, ''))).toBe(true);
    });
  });
});
