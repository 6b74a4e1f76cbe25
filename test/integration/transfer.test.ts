import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs/promises';
import * as os from 'node:os';
import * as path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { isEncrypted, type ObjectCipher } from '../../adapters/encryption/encrypted-object';
import { createCatalog } from '../../adapters/catalog/catalog';
import { createRepository } from '../../adapters/repository';
import { createSpool, type Spool } from '../../adapters/volumes/spool';
import { createTransfer } from '../../adapters/volumes/transfer';
import type { Artifact, Manifest } from '../../core/catalog';
import { findFailure } from '../../core/errors';
import { layout } from '../../core/layout';
import type { Repository } from '../../core/repository';
import type { AttemptRef, BackupTransfer, DumpAttempt } from '../../core/transfer';
import { testContext } from '../support/call-context';
import { collect, shopRows } from '../support/content';
import { damaged } from '../support/damage';
import { keyFileOf, openEncryption, rsaKeyPair, startEncryption } from '../support/data-keys';
import { faultyRepository, networkError, type Faults } from '../support/faulty-repository';
import { dumpResult, manifestOf } from '../support/manifests';
import { rounds, seededBytes, seededRandom } from '../support/random';
import { startTestS3 } from '../support/s3-repository';
import { waitUntil } from '../support/servers';

const random = seededRandom('transfer');
const codec = { codec: 'zstd', level: 3 } as const;
const ref: AttemptRef = { store: 'orders', backupId: '20261122T130503Z-full-0123abcd', kind: 'full', attempt: 1 };
const [worker, stranger] = [rsaKeyPair(), rsaKeyPair()];
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
  let cipher: ObjectCipher | null;
  const ctx = testContext();

  beforeAll(async () => {
    next = await makeRepository[kind]!();
  });
  beforeEach(async () => {
    directory = await fs.mkdtemp(path.join(os.tmpdir(), 'drctl-transfer-spool-'));
    spool = createSpool({ directory, application: 'shop', codec, reserveBytes: 0 });
    faults = {};
    cipher = null;
    repository = faultyRepository(next(), {
      before: (operation, key) => faults.before?.(operation, key),
      cutBodyAfter: (key) => faults.cutBodyAfter?.(key) ?? null,
      alterBody: (key, bytes) => faults.alterBody?.(key, bytes) ?? bytes,
    });
    transfer = open();
  });
  afterEach(() => fs.rm(directory, { recursive: true, force: true }));

  function open(): BackupTransfer {
    const catalog = createCatalog(repository);
    return createTransfer({ repository, catalog, spool, codec, cipher, targetVolumeBytes: 2 ** 27 });
  }

  /** From here on; answers the id of the data key. */
  async function encrypt(): Promise<string> {
    const encryption = await startEncryption([repository], { worker: keyFileOf(worker) });
    ({ cipher } = encryption);
    spool = createSpool({ directory, application: 'shop', codec, cipher, reserveBytes: 0 });
    transfer = open();
    return encryption.keyId;
  }

  async function dump(attempt: DumpAttempt, volumes: ReadonlyMap<string, Buffer> = contents): Promise<void> {
    const { sink } = attempt;
    for (const [name, content] of volumes) await pipeline(Readable.from([content]), sink.volume(name));
    await sink.early('backup_manifest', Buffer.from('{"files":[]}'));
    await attempt.finish(dumpResult());
  }

  async function committed(attempt = 1): Promise<Manifest> {
    const { artifacts, early, dump: result } = await transfer.stored({ ...ref, attempt });
    return manifestOf(ref.backupId, artifacts, { ...result, early, attempt });
  }

  async function expectWhole(manifest: Manifest, volumes: ReadonlyMap<string, Buffer> = contents): Promise<void> {
    const source = transfer.source([manifest]);
    expect(manifest.artifacts.map((artifact) => artifact.name)).toEqual([...volumes.keys()]);
    for (const artifact of manifest.artifacts) {
      expect((await collect(await source.open(artifact))).equals(volumes.get(artifact.name)!)).toBe(true);
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
    const left = (await keys()).filter((key) => key !== layout.decision(ref.store, ref.backupId));
    const attempts = new Set(left.map((key) => /attempt-\d+/.exec(key)?.[0]));
    expect(attempts).toEqual(new Set(['attempt-2']));
    await expectWhole(await committed(2));
    await transfer.removeSpool(ref);
    expect(await spool.list()).toEqual([]);
  });

  test.each([
    ['large', async () => ''],
    ['large encrypted', encrypt],
  ])('spool: a %s volume is sent while it is written, also by an upload that died meanwhile', async (_, prepare) => {
    await prepare();
    const bytes = seededBytes();
    const content = Array.from({ length: 30 }, () => bytes(2 ** 20));
    const first = new AbortController();
    const dying = transfer.uploadSpool(ref, { ...ctx, signal: first.signal }).then(
      () => 'uploaded',
      () => 'died',
    );
    const attempt = await transfer.beginSpool(ref, null);
    const volume = attempt.sink.volume('vol-00001.tar');
    const write = (chunk: Buffer) =>
      new Promise<void>((resolve, reject) => volume.write(chunk, (error) => (error ? reject(error) : resolve())));
    for (const chunk of content.slice(0, 20)) await write(chunk);
    const unfinished = async () => {
      for await (const { key } of repository.unfinishedUploads('data/')) return key;
      return null;
    };
    // A local repository has nothing to begin with; S3 has the upload while the volume is open.
    if (kind === 's3') await waitUntil('an upload of the open volume', async () => (await unfinished()) !== null);
    first.abort();
    expect(await dying).toBe('died');
    const uploading = transfer.uploadSpool(ref, ctx);
    for (const chunk of content.slice(20)) await write(chunk);
    await new Promise<void>((resolve) => volume.end(resolve));
    await attempt.finish(dumpResult());
    const record = await uploading;
    await transfer.verify(record, ctx);
    const [artifact] = record.artifacts;
    const manifest = manifestOf(ref.backupId, record.artifacts, { ...record.dump, early: record.early });
    const stored = await collect(await transfer.source([manifest]).open(artifact!));
    expect(stored.equals(Buffer.concat(content))).toBe(true);
    expect(await unfinished()).toBeNull();
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
    await expect(transfer.sweep(ref, 2)).rejects.toMatchObject({ type: 'UsageInvalid' });
    // Null: the workflow did not get the commit's answer.
    for (const keep of [null, 1]) await transfer.sweep(ref, keep);
    await expectWhole(await committed());
  });

  test('a committed backup is not written again by a workflow that was reset, with or without a spool', async () => {
    const uploading = transfer.uploadSpool(ref, ctx);
    await dump(await transfer.beginSpool(ref, null));
    await uploading;
    const manifest = await createCatalog(repository).commit(await committed());
    await transfer.sweep(ref, 1);
    await transfer.removeSpool(ref);
    const refused = { type: 'LockHeld', message: expect.stringContaining(ref.backupId) };
    await expect(transfer.beginSpool(ref, null)).rejects.toMatchObject(refused);
    await expect(transfer.beginStream(ref, ctx)).rejects.toMatchObject(refused);
    // Of a version that wrote no decisions.
    await repository.delete([layout.decision(ref.store, ref.backupId)]);
    await expect(transfer.beginSpool(ref, null)).rejects.toMatchObject(refused);
    await expectWhole(manifest);
  });

  test('a dump into a spool that was lost takes no name that was stored', async () => {
    await dump(await transfer.beginSpool(ref, null));
    await transfer.uploadSpool(ref, ctx);
    await transfer.removeSpool(ref);
    const again = await transfer.beginSpool(ref, null);
    const uploading = transfer.uploadSpool(ref, ctx);
    await dump(again);
    expect((await uploading).attempt).toBe(2);
    await expectWhole(await committed(1));
    await expectWhole(await committed(2));
  });

  test('a zombie that streams the same attempt cannot replace its artifacts', async () => {
    const zombie = await transfer.beginStream(ref, ctx);
    await dump(await transfer.beginStream(ref, ctx));
    const other = zombie.sink.volume('vol-00001.tar');
    await expect(pipeline(Readable.from([shopRows(20_000_000)]), other)).rejects.toMatchObject({ type: 'LockHeld' });
    const small = zombie.sink.volume('vol-00002.tar');
    await expect(pipeline(Readable.from([shopRows(13)]), small)).rejects.toMatchObject({ type: 'LockHeld' });
    await expect(zombie.sink.early('backup_manifest', Buffer.from('{}'))).rejects.toMatchObject({ type: 'LockHeld' });
    await expectWhole(await committed());
    for await (const { key } of repository.unfinishedUploads('')) throw new Error(`${key} is unfinished`);
  });

  test('a backup that was given up can neither be committed nor begun again', async () => {
    await dump(await transfer.beginStream(ref, ctx));
    const manifest = await committed();
    for (let time = 0; time < 2; time += 1) await transfer.sweep(ref, null);
    expect(await keys()).toEqual([layout.decision(ref.store, ref.backupId)]);
    await expect(createCatalog(repository).commit(manifest)).rejects.toMatchObject({ type: 'Aborted' });
    await expect(transfer.beginSpool(ref, null)).rejects.toMatchObject({ type: 'Aborted' });
    await expect(transfer.beginStream(ref, ctx)).rejects.toMatchObject({ type: 'Aborted' });
    expect(await createCatalog(repository).list(ref.store)).toEqual([]);
  });

  test('a commit that died before its manifest is ended by the sweep', async () => {
    await dump(await transfer.beginStream(ref, ctx));
    const manifest = await committed();
    faults.before = (operation, key) => {
      if (operation === 'put' && key.endsWith(`${ref.backupId}.json`)) throw networkError(key);
    };
    await expect(createCatalog(repository).commit(manifest)).rejects.toMatchObject({ type: 'RepositoryUnavailable' });
    faults = {};
    await transfer.sweep(ref, null);
    expect(await createCatalog(repository).get(ref.store, ref.backupId)).toEqual(manifest);
    await expectWhole(manifest);
  });

  /** Before which of its requests a sweep is overtaken by a whole commit, and a commit by a whole sweep. */
  test.each(['sweep', 'commit'] as const)(
    'whichever request of a %s the other one overtakes, no manifest without data remains',
    async (overtaken) => {
      const outcomes = new Set<string>();
      for (let request = 1, reached = true; reached; request += 1) {
        repository = faultyRepository(next(), { before: (...call) => faults.before?.(...call) });
        transfer = open();
        await dump(await transfer.beginStream(ref, ctx), new Map([['vol-00001.tar', Buffer.from('orders')]]));
        const manifest = await committed();
        const [artifact] = manifest.artifacts as [Artifact];
        const run = {
          commit: () => createCatalog(repository).commit(manifest),
          sweep: () => transfer.sweep(ref, null),
        };
        let [count, other] = [0, null as Promise<unknown> | null];
        faults.before = async () => {
          count += 1;
          if (count !== request) return;
          faults = {};
          other = run[overtaken === 'sweep' ? 'commit' : 'sweep']();
          await other.catch(() => {});
        };
        const results: PromiseSettledResult<unknown>[] = await Promise.allSettled([run[overtaken]()]);
        reached = other !== null;
        faults = {};
        results.push(...(await Promise.allSettled([other])));
        const exists = (await createCatalog(repository).list(ref.store)).length === 1;
        outcomes.add(exists ? 'backup' : 'nothing');
        // What the manifest names is whole, or there is neither manifest nor data.
        const content = exists ? (await collect(await transfer.source([manifest]).open(artifact))).toString() : null;
        expect({ content, data: (await keys('data/')).length > 0 }).toEqual({
          content: exists ? 'orders' : null,
          data: exists,
        });
        const refused = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
        expect(refused.filter(({ type }) => type !== 'Aborted')).toEqual([]);
      }
      expect(outcomes).toEqual(new Set(['backup', 'nothing']));
    },
  );

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

  describe('encrypted', () => {
    /** Of several frames of a message, and small, so that many reads are soon over. */
    const some = new Map([
      ['vol-00001.tar', shopRows(5_000_000)],
      ['vol-00002.tar', shopRows(12)],
      ['vol-00003.tar', Buffer.alloc(0)],
    ]);
    let keyId: string;
    beforeEach(async () => {
      keyId = await encrypt();
    });

    test('spool: nothing plain reaches the disk or the repository, and it is read back whole', async () => {
      const attempt = await transfer.beginSpool(ref, null);
      await dump(attempt, some);
      const folder = path.join(directory, 'shop', ref.store, ref.backupId, 'attempt-1');
      const volumes = (await fs.readdir(folder)).filter((name) => name.startsWith('vol-'));
      expect(volumes).toEqual([...some.keys()].map((name) => `${name}.zst.encrypted`));
      for (const name of volumes) expect(isEncrypted(await fs.readFile(path.join(folder, name)))).toBe(true);
      const record = await transfer.uploadSpool(ref, ctx);
      await transfer.verify(record, ctx);
      for (const { key, encryptionKeyId, sizeBytes } of record.artifacts) {
        expect(encryptionKeyId).toBe(keyId);
        expect((await repository.head(key))!.sizeBytes).toBe(sizeBytes);
      }
      await expectWhole(await committed(), some);
    });

    test('stream: the same; where the key was lost, or there is none, that is what is said', async () => {
      await dump(await transfer.beginStream(ref, ctx), some);
      const manifest = await committed();
      await expectWhole(manifest, some);
      const [first] = manifest.artifacts as [Artifact];
      cipher = null;
      expect(() => open().source([manifest]).open(first)).toThrow(
        expect.objectContaining({ type: 'ConfigInvalid', message: expect.stringContaining(keyId) }),
      );
      const other = openEncryption([repository], { other: keyFileOf(stranger) }, keyId);
      ({ cipher } = other);
      const refused = { type: 'KeyUnavailable', message: expect.stringMatching(/other: .*not wrapped for it.*worker/) };
      await expect(collect(await open().source([manifest]).open(first))).rejects.toMatchObject(refused);
      // Nor does a dump begin that nobody could read.
      await expect(open().beginStream({ ...ref, attempt: 2 }, ctx)).rejects.toMatchObject(refused);
      await expect(open().beginSpool({ ...ref, attempt: 2 }, null)).rejects.toMatchObject(refused);
    });

    test('what was stored before encryption began is read, and what came later by who has only the recipients', async () => {
      cipher = null;
      spool = createSpool({ directory, application: 'shop', codec, reserveBytes: 0 });
      transfer = open();
      await dump(await transfer.beginStream(ref, ctx), some);
      const before = await committed();
      ({ cipher } = openEncryption([repository], { worker: keyFileOf(worker) }, keyId));
      transfer = open();
      await expectWhole(before, some);
      await dump(await transfer.beginStream({ ...ref, attempt: 2 }, ctx), some);
      const after = await committed(2);
      expect([before, after].map(({ artifacts }) => artifacts[0]!.encryptionKeyId)).toEqual([null, keyId]);
      ({ cipher } = openEncryption([repository], { worker: keyFileOf(worker) }, null));
      transfer = open();
      await expectWhole(after, some);
    });

    test('a flipped byte anywhere, a cut and another volume in its place are found and named', async () => {
      await dump(await transfer.beginStream(ref, ctx), some);
      const manifest = await committed();
      const [first, second] = manifest.artifacts as [Artifact, Artifact];
      const bytes = await repository.read(first.key);
      const flipped = (at: number) => Buffer.from(bytes).fill(bytes[at]! ^ 4, at, at + 1);
      // The message's version, its wrapped key, its first frame, a tag in the middle, its end.
      const changed = [0, 150, 2_000, bytes.length >> 1, bytes.length - 1].map(flipped);
      for (const stored of [...changed, bytes.subarray(0, -1), bytes.subarray(0, 40), Buffer.alloc(0)]) {
        await repository.put(first.key, stored);
        for (const read of ['open', 'lend'] as const) {
          const source = transfer.source([manifest]);
          const content = read === 'open' ? await source.open(first) : source.lend!(first);
          await expect(collect(content)).rejects.toMatchObject({
            type: 'BackupCorrupt',
            message: expect.stringContaining(first.key),
          });
        }
      }
      // With a manifest that says so, as somebody could write who has the bucket and not the key.
      await repository.put(second.key, bytes);
      const swapped = { ...first, name: second.name, key: second.key };
      await expect(collect(await transfer.source([manifest]).open(swapped))).rejects.toMatchObject({
        type: 'BackupCorrupt',
        message: expect.stringMatching(/vol-00002.*vol-00001.*in the place of/),
      });
    });

    test.each(rounds(2))('round %i: damage anywhere is found and named, by reading and by verifying', async () => {
      await dump(await transfer.beginStream(ref, ctx), some);
      const artifact = random.pick((await committed()).artifacts);
      const { damage, bytes } = damaged(await repository.read(artifact.key), random);
      await repository.put(artifact.key, bytes);
      const ways = [
        async () => collect(await transfer.source([]).open(artifact)),
        async () => transfer.verify(await transfer.stored(ref), ctx),
      ];
      for (const read of ways) {
        const error = await read().then(() => null, findFailure);
        expect({ damage, code: error?.code }).toEqual({ damage, code: 'BackupCorrupt' });
        expect(error?.message).toContain(artifact.key);
      }
    });

    test('a connection that breaks while an encrypted volume is read is taken up where it broke', async () => {
      await dump(await transfer.beginStream(ref, ctx), some);
      const manifest = await committed();
      let cuts = 0;
      faults.cutBodyAfter = (key) => (key === manifest.artifacts[0]!.key && cuts++ < 5 ? 300_003 : null);
      await expectWhole(manifest, some);
      expect(cuts).toBe(6);
      faults.cutBodyAfter = () => 0;
      await expect(collect(await transfer.source([manifest]).open(manifest.artifacts[0]!))).rejects.toMatchObject({
        type: 'RepositoryUnavailable',
      });
    });
  });

  describe('what was stored is read, at random', () => {
    /** Small, so that many rounds are soon over. */
    const small = new Map([
      ['vol-00001.tar', shopRows(3_000_000)],
      ['vol-00002.tar', shopRows(12)],
    ]);
    let manifest: Manifest;
    beforeEach(async () => {
      await dump(await transfer.beginStream(ref, ctx), small);
      manifest = await committed();
    });

    test.each(rounds())('round %i: through connections that break anywhere', async () => {
      const [first] = manifest.artifacts as [Artifact];
      const cuts = Array.from({ length: 1 + random.integer(5) }, () => 1 + random.integer(first.sizeBytes / 6));
      faults.cutBodyAfter = (key) => (key === first.key ? (cuts.pop() ?? null) : null);
      const read = await collect(await transfer.source([manifest]).open(first));
      expect(read.equals(small.get(first.name)!)).toBe(true);
      expect(cuts).toEqual([]);
    });

    test.each(rounds(2))('round %i: damage anywhere is found and named, by reading and by verifying', async () => {
      const artifact = random.pick(manifest.artifacts);
      const { damage, bytes } = damaged(await repository.read(artifact.key), random);
      await repository.put(artifact.key, bytes);
      const ways = [
        async () => collect(await transfer.source([manifest]).open(artifact)),
        async () => transfer.verify(await transfer.stored(ref), ctx),
      ];
      for (const read of ways) {
        const error = await read().then(
          () => null,
          (thrown: Error & { type?: string }) => thrown,
        );
        expect({ damage, type: error?.type }).toEqual({ damage, type: 'BackupCorrupt' });
        expect(error?.message).toContain(artifact.key);
      }
    });
  });
});
