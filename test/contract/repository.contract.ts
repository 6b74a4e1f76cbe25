import * as fs from 'node:fs/promises';
import * as os from 'node:os';
import * as path from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { GrowingVolume } from '../../adapters/volumes/growing-volume';
import { compositeOf, PieceDigester } from '../../adapters/volumes/piece-digests';
import type { Progress } from '../../core/call';
import { failure } from '../../core/errors';
import { type RangedSource, type Repository, UPLOAD_PIECE_BYTES } from '../../core/repository';
import { testContext } from '../support/call-context';
import { collect, sha256, shopRows } from '../support/content';
import { countOf, rounds, seededRandom } from '../support/random';

export interface RepositoryUnderTest {
  /** A repository with nothing in it, its application's prefix included. */
  empty(): Promise<Repository>;
  /** The same place seen by another application: nothing of the one may show in the other. */
  neighbour(repository: Repository): Repository;
  /** Changes stored bytes behind the repository's back. */
  alter(repository: Repository, key: string, change: (bytes: Buffer) => Buffer): Promise<void>;
}

/** Every sentence of `core/repository.ts`, for whatever implements it. */
export function describeRepository(kind: string, start: () => Promise<RepositoryUnderTest>): void {
  describe(`repository contract: ${kind}`, () => {
    const random = seededRandom(`repository contract: ${kind}`);
    let under: RepositoryUnderTest;
    let repository: Repository;
    let directory: string;
    const ctx = testContext();

    beforeAll(async () => {
      under = await start();
    });
    beforeEach(async () => {
      repository = await under.empty();
      directory = await fs.mkdtemp(path.join(os.tmpdir(), 'drctl-contract-'));
    });
    afterEach(() => fs.rm(directory, { recursive: true, force: true }));

    async function fileOf(content: Buffer, name = 'volume'): Promise<{ file: string; sha256: string }> {
      const file = path.join(directory, name);
      await fs.writeFile(file, content);
      return { file, sha256: sha256(content) };
    }

    async function keysOf(prefix: string, after?: string): Promise<string[]> {
      const keys: string[] = [];
      for await (const { key } of repository.list(prefix, after === undefined ? {} : { after })) keys.push(key);
      return keys;
    }

    async function unfinished(prefix: string): Promise<string[]> {
      const keys: string[] = [];
      for await (const { key } of repository.unfinishedUploads(prefix)) keys.push(key);
      return keys;
    }

    test('what was put is read back, whole and in part, with its annotations and digest', async () => {
      const body = shopRows(100_000);
      const stored = await repository.put('catalog/orders/a.json', body, {
        metadata: { 'covers-until': '2026-11-22T13:05:03Z' },
      });
      const head = await repository.head('catalog/orders/a.json');
      expect(head).toMatchObject({ key: 'catalog/orders/a.json', sizeBytes: body.length, sha256: sha256(body) });
      expect(head!.metadata).toEqual({ 'covers-until': '2026-11-22T13:05:03Z' });
      expect(stored).toMatchObject({
        etag: head!.etag,
        sha256: head!.sha256,
        metadata: head!.metadata,
        storageClass: head!.storageClass,
      });
      expect((await repository.read('catalog/orders/a.json')).equals(body)).toBe(true);
      expect((await collect(await repository.get('catalog/orders/a.json'))).equals(body)).toBe(true);
      const part = await collect(await repository.get('catalog/orders/a.json', { start: 10, end: 70_000 }));
      expect(part.equals(body.subarray(10, 70_000))).toBe(true);
    });

    test('an empty object is an object', async () => {
      await repository.put('empty', Buffer.alloc(0));
      expect((await repository.read('empty')).length).toBe(0);
      expect((await collect(await repository.get('empty'))).length).toBe(0);
      expect(await repository.head('empty')).toMatchObject({ sizeBytes: 0 });
    });

    test('put replaces, and the etag tells', async () => {
      const first = await repository.put('samples/orders.json', Buffer.from('one'), { metadata: { of: 'one' } });
      const second = await repository.put('samples/orders.json', Buffer.from('two'));
      expect(second.etag).not.toBe(first.etag);
      expect((await repository.read('samples/orders.json')).toString()).toBe('two');
      expect((await repository.head('samples/orders.json'))!.metadata).toEqual({});
    });

    test('what is not there: NotFound before the first byte, null from head, no error from delete', async () => {
      await expect(repository.get('nowhere/x')).rejects.toMatchObject({ type: 'NotFound' });
      await expect(repository.read('nowhere/x')).rejects.toMatchObject({ type: 'NotFound' });
      expect(await repository.head('nowhere/x')).toBeNull();
      await repository.put('nowhere', Buffer.from('a key is no folder'));
      expect(await repository.head('nowhere/x')).toBeNull();
      await repository.delete(['nowhere/x', 'never/was']);
      await repository.delete([]);
    });

    test('ifAbsent: the same bytes again are fine, other bytes are LockHeld and change nothing', async () => {
      const first = await repository.put('epochs/0000000001.json', Buffer.from('{"a":1}'), {
        ifAbsent: true,
        metadata: { by: 'first' },
      });
      const again = await repository.put('epochs/0000000001.json', Buffer.from('{"a":1}'), {
        ifAbsent: true,
        metadata: { by: 'first' },
      });
      expect(again.etag).toBe(first.etag);
      const other = repository.put('epochs/0000000001.json', Buffer.from('{"a":2}'), { ifAbsent: true });
      await expect(other).rejects.toMatchObject({
        type: 'LockHeld',
        message: expect.stringContaining('epochs/0000000001.json'),
      });
      expect((await repository.read('epochs/0000000001.json')).toString()).toBe('{"a":1}');
      expect((await repository.head('epochs/0000000001.json'))!.metadata).toEqual({ by: 'first' });
    });

    test('ifAbsent: of many writers at the same moment exactly one wins, in each of many races', async () => {
      for (let race = 0; race < countOf('ROUNDS', 8); race += 1) {
        const key = `epochs/race-${race}.json`;
        const put = (writer: number) => repository.put(key, Buffer.from(`{"writer":${writer}}`), { ifAbsent: true });
        const results = await Promise.allSettled(Array.from({ length: 8 }, (_, writer) => put(writer)));
        const winners = results.flatMap((result, writer) => (result.status === 'fulfilled' ? [writer] : []));
        expect(winners).toHaveLength(1);
        for (const result of results)
          if (result.status === 'rejected') expect(result.reason).toMatchObject({ type: 'LockHeld' });
        expect((await repository.read(key)).toString()).toBe(`{"writer":${winners[0]}}`);
      }
    });

    test('a listing has every object below the prefix, in key order within a folder, and starts behind `after`', async () => {
      const names = ['a-1', 'a.json', 'a/b.c/d', 'a/b/c', 'a/b/d', 'a/z', 'aa', 'b/x'].map((name) => `list/${name}`);
      const many = Array.from({ length: 1_100 }, (_, i) => `many/${String(i).padStart(6, '0')}`);
      const all = [...names, ...many];
      for (let at = 0; at < all.length; at += 50) {
        await Promise.all(all.slice(at, at + 50).map((key) => repository.put(key, Buffer.from(key))));
      }
      const below = (prefix: string) => all.filter((key) => key.startsWith(prefix)).toSorted();
      for (const prefix of ['', 'list/', 'list/a', 'list/a/', 'list/a/b', 'nothing/']) {
        expect((await keysOf(prefix)).toSorted()).toEqual(below(prefix));
      }
      const ofFolder = (keys: string[], folder: string) => keys.filter((key) => path.posix.dirname(key) === folder);
      expect(ofFolder(await keysOf('list/'), 'list')).toEqual(['list/a-1', 'list/a.json', 'list/aa']);
      expect(ofFolder(await keysOf('list/'), 'list/a/b')).toEqual(['list/a/b/c', 'list/a/b/d']);
      expect(await keysOf('many/')).toEqual(many);
      expect(await keysOf('many/', 'many/000999')).toEqual(many.slice(1_000));
      expect(await keysOf('many/', 'many/001099')).toEqual([]);
      expect(await keysOf('list/a/b/', 'list/a/b/c')).toEqual(['list/a/b/d']);
      await expect(repository.delete(all, AbortSignal.abort())).rejects.toMatchObject({ name: 'AbortError' });
      expect(await keysOf('many/')).toEqual(many);
      await repository.delete(all);
      expect(await keysOf('')).toEqual([]);
    });

    test('folders are named without a listing of what is in them', async () => {
      for (const name of ['x/1/o', 'x/2/o', 'x/2/p', 'y/1/o']) await repository.put(`deep/${name}`, Buffer.from('.'));
      const below = async (prefix: string) => {
        const { names, hasObjects } = await repository.folders(prefix);
        return hasObjects ? 'objects' : names.toSorted();
      };
      expect(await below('deep/')).toEqual(['x', 'y']);
      expect(await below('deep/x/')).toEqual(['1', '2']);
      expect(await below('deep/x/2/')).toBe('objects');
      expect(await below('nothing/')).toEqual([]);
      expect(await below('')).toContain('deep');
    });

    test('a listing shows size and time of what was just written', async () => {
      const before = Date.now() - 2_000;
      await repository.put('reports/x.json', Buffer.alloc(1_234));
      const listed = [];
      for await (const object of repository.list('reports/')) listed.push(object);
      expect(listed).toEqual([
        {
          ...{ key: 'reports/x.json', sizeBytes: 1_234, modifiedAt: expect.any(String) },
          storageClass: (await repository.head('reports/x.json'))?.storageClass,
        },
      ]);
      expect(Date.parse(listed[0]!.modifiedAt)).toBeGreaterThan(before);
    });

    test('another application in the same place sees nothing of this one', async () => {
      await repository.put('catalog/orders/a.json', Buffer.from('x'));
      const other = under.neighbour(repository);
      expect(await other.head('catalog/orders/a.json')).toBeNull();
      for await (const { key } of other.list('')) throw new Error(`the neighbour sees ${key}`);
    });

    test.each([
      ['nothing', 0],
      ['one request', 1_000_000],
      ['several parts', 20_000_001],
      ['whole parts', 16 * 2 ** 20],
    ])('a file of %s is stored as it is, and storing it again is fine', async (_, size) => {
      const content = shopRows(size);
      const { file, sha256: digest } = await fileOf(content);
      for (let time = 0; time < 2; time += 1) {
        const stored = await repository.uploadFile(
          'data/full/orders/vol',
          file,
          { sha256: digest, metadata: { of: 'test' } },
          ctx,
        );
        expect(stored).toMatchObject({
          key: 'data/full/orders/vol',
          sizeBytes: size,
          sha256: digest,
          metadata: { of: 'test' },
        });
      }
      expect(await repository.head('data/full/orders/vol')).toMatchObject({
        sizeBytes: size,
        sha256: digest,
        metadata: { of: 'test' },
      });
      expect((await collect(await repository.get('data/full/orders/vol'))).equals(content)).toBe(true);
      const crossing = { start: Math.max(0, size - 12_000_000), end: Math.max(1, size) };
      if (size > 0)
        expect(
          (await collect(await repository.get('data/full/orders/vol', crossing))).equals(
            content.subarray(crossing.start),
          ),
        ).toBe(true);
      expect(await unfinished('data/')).toEqual([]);
    });

    test('digests of its pieces, taken beforehand, make the same object; a piece that changed since is refused', async () => {
      const content = shopRows(20_000_001);
      const { file, sha256: digest } = await fileOf(content);
      const digester = new PieceDigester();
      digester.update(content.subarray(0, 5_000_000));
      digester.update(content.subarray(5_000_000));
      const options = { sha256: digest, pieces: digester.digests() };
      const changed = Buffer.from(content);
      changed[19_000_000] = (changed[19_000_000] ?? 0) ^ 1;
      const { file: other } = await fileOf(changed, 'changed');
      await expect(repository.uploadFile('data/full/orders/changed', other, options, ctx)).rejects.toThrow();
      expect(await repository.head('data/full/orders/changed')).toBeNull();

      const stored = await repository.uploadFile('data/full/orders/vol', file, options, ctx);
      expect(stored).toMatchObject({ sizeBytes: content.length, sha256: digest });
      expect(await repository.head('data/full/orders/vol')).toMatchObject({ sha256: digest });
      expect((await collect(await repository.get('data/full/orders/vol'))).equals(content)).toBe(true);
    });

    /** Writes a file under a temporary name, piece by piece, as a spool does; `until` stops in the middle of it. */
    async function growing(content: Buffer, name: string, { signal = ctx.signal, until = content.length } = {}) {
      const final = path.join(directory, name);
      const [temporary, digester] = [`${final}.part`, new PieceDigester()];
      const volume = new GrowingVolume([temporary, final], signal);
      const write = async () => {
        await fs.writeFile(temporary, '');
        for (let at = 0; at < until; at += UPLOAD_PIECE_BYTES) {
          const bytes = content.subarray(at, at + UPLOAD_PIECE_BYTES);
          await fs.appendFile(temporary, bytes);
          digester.update(bytes);
          if (bytes.length === UPLOAD_PIECE_BYTES)
            volume.add(digester.count, { sizeBytes: bytes.length, sha256: digester.digest(digester.count) });
          await delay(20);
        }
        if (until < content.length) return;
        await fs.rename(temporary, final);
        volume.complete(content.length, sha256(content), digester.digests());
      };
      return { volume, write };
    }

    test.each([1, 3 * UPLOAD_PIECE_BYTES, 3 * UPLOAD_PIECE_BYTES + 12_345])(
      'a file of %i bytes is stored while it is written, and storing it again is fine',
      async (size) => {
        const content = shopRows(size);
        for (let time = 0; time < 2; time += 1) {
          const { volume, write } = await growing(content, 'growing');
          const uploading = repository.uploadGrowing('data/full/orders/vol', volume, { metadata: { of: 'test' } }, ctx);
          const [stored] = await Promise.all([uploading, write()]);
          expect(stored).toMatchObject({ sizeBytes: size, sha256: sha256(content), metadata: { of: 'test' } });
        }
        const head = await repository.head('data/full/orders/vol');
        expect(head).toMatchObject({ sizeBytes: size, metadata: { of: 'test' } });
        const digester = new PieceDigester();
        digester.update(content);
        // One of the two tells, without the bytes being read.
        expect([head?.sha256, head?.composite]).toContainEqual(
          head?.composite === null ? sha256(content) : compositeOf(digester.digests().sha256),
        );
        expect((await collect(await repository.get('data/full/orders/vol'))).equals(content)).toBe(true);
        expect(await unfinished('data/')).toEqual([]);
        const { volume, write } = await growing(shopRows(size).fill(1), 'other');
        const other = repository.uploadGrowing('data/full/orders/vol', volume, {}, ctx);
        const [refused] = await Promise.allSettled([other, write()]);
        expect(refused).toMatchObject({ status: 'rejected', reason: { type: 'LockHeld' } });
      },
    );

    test('a file that is given up while it is written leaves no object; the next one goes on from its pieces', async () => {
      const content = shopRows(4 * UPLOAD_PIECE_BYTES + 1);
      const giveUp = new AbortController();
      const { volume, write } = await growing(content, 'given-up', {
        signal: giveUp.signal,
        until: 2 * UPLOAD_PIECE_BYTES,
      });
      const uploading = repository.uploadGrowing('data/full/orders/vol', volume, {}, { ...ctx, signal: giveUp.signal });
      const [ended] = await Promise.allSettled([uploading, write().then(() => giveUp.abort())]);
      expect(ended.status).toBe('rejected');
      expect(await repository.head('data/full/orders/vol')).toBeNull();
      const again = await growing(content, 'again');
      const [stored] = await Promise.all([
        repository.uploadGrowing('data/full/orders/vol', again.volume, {}, ctx),
        again.write(),
      ]);
      expect(stored).toMatchObject({ sizeBytes: content.length, sha256: sha256(content) });
      expect((await collect(await repository.get('data/full/orders/vol'))).equals(content)).toBe(true);
      expect(await unfinished('data/')).toEqual([]);
    });

    test.each([1_000, 20_000_000])(
      'a file of %i bytes that is not what its digest says is refused by name',
      async (size) => {
        const { file } = await fileOf(shopRows(size));
        const upload = repository.uploadFile(
          'data/full/orders/vol',
          file,
          { sha256: sha256(Buffer.from('other')) },
          ctx,
        );
        await expect(upload).rejects.toMatchObject({ type: 'BackupCorrupt', message: expect.stringContaining(file) });
        expect(await repository.head('data/full/orders/vol')).toBeNull();
      },
    );

    test.each([0, 5, 8 * 2 ** 20, 30_000_000])(
      'a stream of %i bytes is stored with the digest that was seen',
      async (size) => {
        const content = shopRows(size);
        const pieces = function* () {
          for (let at = 0; at < size; at += 77_777) yield content.subarray(at, at + 77_777);
        };
        const stored = await repository.uploadStream(
          'data/full/orders/stream',
          Readable.from(pieces(), { objectMode: false }),
          { metadata: { of: 'test' } },
          ctx,
        );
        expect(stored).toMatchObject({ sizeBytes: size, sha256: sha256(content) });
        expect((await collect(await repository.get('data/full/orders/stream'))).equals(content)).toBe(true);
        expect((await repository.head('data/full/orders/stream'))!.metadata).toEqual({ of: 'test' });
      },
    );

    const lengths = rounds().map(() => random.integer(30_000_000));
    test.each([20_000_000, ...lengths])(
      'a stream that breaks after %i bytes leaves no object and no parts',
      async (n) => {
        const source = async function* () {
          yield shopRows(n);
          throw new Error('the dump died');
        };
        const upload = repository.uploadStream(
          'data/full/orders/stream',
          Readable.from(source(), { objectMode: false }),
          {},
          ctx,
        );
        await expect(upload).rejects.toThrow('the dump died');
        expect(await repository.head('data/full/orders/stream')).toBeNull();
        expect(await unfinished('data/')).toEqual([]);
      },
    );

    /** What another repository holds, of known parts where it says so; cut after `breaksAt` bytes of it were read. */
    function elsewhere(content: Buffer, withParts: boolean, breaksAt = Infinity): RangedSource {
      const digester = new PieceDigester();
      digester.update(content);
      let readBytes = 0;
      const bytes = async function* (from: number, end: number) {
        for (let at = from; at < end; at += 100_000) {
          if (readBytes >= breaksAt) throw new Error('the other repository went away');
          const chunk = content.subarray(at, Math.min(end, at + 100_000));
          readBytes += chunk.length;
          yield chunk;
        }
      };
      return {
        ...{ sizeBytes: content.length, sha256: sha256(content) },
        composite: withParts ? compositeOf(digester.digests().sha256) : null,
        whole: () => bytes(0, content.length),
        read: async (from, end) => Readable.from(bytes(from, end), { objectMode: false }),
      };
    }

    describe.each([true, false])('what lies in another repository, its parts known: %p', (withParts) => {
      test.each([0, 5_000, UPLOAD_PIECE_BYTES, 20_000_000])('is stored, %i bytes of it, and once', async (size) => {
        const content = shopRows(size);
        const source = elsewhere(content, withParts && size > 0);
        const stored = await repository.uploadFrom('data/full/orders/vol', source, {}, ctx);
        expect(stored).toMatchObject({ sizeBytes: size });
        await repository.uploadFrom('data/full/orders/vol', source, {}, ctx);
        expect((await collect(await repository.get('data/full/orders/vol'))).equals(content)).toBe(true);
        const other = elsewhere(shopRows(size + 1), withParts);
        await expect(repository.uploadFrom('data/full/orders/vol', other, {}, ctx)).rejects.toMatchObject({
          type: 'LockHeld',
        });
      });

      test('is gone on with where it broke', async () => {
        const content = shopRows(30_000_000);
        const key = 'data/full/orders/vol';
        const broken = elsewhere(content, withParts, 18_000_000);
        await expect(repository.uploadFrom(key, broken, {}, ctx)).rejects.toThrow('the other repository went away');
        expect(await repository.head(key)).toBeNull();
        await repository.uploadFrom(key, elsewhere(content, withParts), {}, ctx);
        expect((await collect(await repository.get(key))).equals(content)).toBe(true);
        expect(await unfinished('data/')).toEqual([]);
      });
    });

    test('what is not what its digest says is not stored, nor are its parts', async () => {
      const content = shopRows(20_000_000);
      const altered = Buffer.from(content);
      altered.fill(1, 9_000_000, 9_000_100);
      const wrong = elsewhere(altered, true);
      const read = (from: number, end: number) => wrong.read(from, end);
      const source = { ...elsewhere(content, true), read };
      const isOfParts = repository.kind === 's3';
      const whole = async function* () {
        yield* elsewhere(content, true).whole();
        throw failure('BackupCorrupt', 'its digest is another one');
      };
      const upload = repository.uploadFrom('data/full/orders/vol', isOfParts ? source : { ...source, whole }, {}, ctx);
      await expect(upload).rejects.toMatchObject({ type: 'BackupCorrupt' });
      expect(await repository.head('data/full/orders/vol')).toBeNull();
      expect(await unfinished('data/')).toEqual([]);
    });

    const moments = rounds().map(() => random.integer(30_000_000));
    test.each([0, ...moments])(
      'an upload cancelled after %i bytes stops, its remains are found and removed',
      async (n) => {
        const controller = new AbortController();
        const { file, sha256: digest } = await fileOf(shopRows(60_000_000));
        const progress = ({ doneBytes = n }: Progress) =>
          void (doneBytes >= n && controller.abort(new Error('cancelled')));
        const context = { ...testContext(controller.signal), progress };
        const options = { sha256: digest };
        await expect(repository.uploadFile('data/full/orders/vol', file, options, context)).rejects.toThrow();
        expect(await repository.head('data/full/orders/vol')).toBeNull();
        for await (const { key, uploadId } of repository.unfinishedUploads('data/full/orders/')) {
          await repository.abortUpload(key, uploadId);
          await repository.abortUpload(key, uploadId);
        }
        expect(await unfinished('')).toEqual([]);
        // What was aborted starts again by itself.
        await repository.uploadFile('data/full/orders/vol', file, { sha256: digest }, ctx);
        expect(await repository.head('data/full/orders/vol')).toMatchObject({ sha256: digest });
      },
    );

    test.each(['', '/x', 'x/', 'a//b', '../x', 'a/../b', 'a/./b', 'ä', 'a b', 'a\\b', 'a\nb', 'x'.repeat(1_000)])(
      'the key %j is refused',
      async (key) => {
        await expect(repository.put(key, Buffer.from('x'))).rejects.toMatchObject({ type: 'UsageInvalid' });
        await expect(repository.read(key)).rejects.toMatchObject({ type: 'UsageInvalid' });
        await expect(repository.delete([key])).rejects.toMatchObject({ type: 'UsageInvalid' });
      },
    );

    test('check finds a usable repository usable', async () => {
      await repository.check();
    });

    test('bytes altered behind its back do not go unnoticed in its own digest', async () => {
      await repository.put('data/x', Buffer.from('hello'));
      await under.alter(repository, 'data/x', () => Buffer.from('hello, changed'));
      expect((await repository.head('data/x'))!.sha256).not.toBe(sha256(Buffer.from('hello')));
    });
  });
}
