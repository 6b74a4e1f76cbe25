import { Readable } from 'node:stream';
import { failure } from '../../core/errors';
import type { Repository } from '../../core/repository';

export interface Faults {
  /** Called before each operation; what it throws is what the caller gets. */
  before?(operation: keyof Repository, key: string): void | Promise<void>;
  /** Ends the body of a read after so many bytes with a network error; null: not this time. */
  cutBodyAfter?(key: string): number | null;
  /** Changes a body as damage in the repository would. */
  alterBody?(key: string, bytes: Buffer): Buffer;
}

/** What a network that breaks looks like to callers. */
export function networkError(key: string): Error {
  return failure('RepositoryUnavailable', `reading ${key}: connection reset by the fault injection`);
}

/** A repository in front of another one that fails as told. */
export function faultyRepository(inner: Repository, faults: Faults): Repository {
  const before = async (operation: keyof Repository, key: string) => faults.before?.(operation, key);
  return {
    name: inner.name,
    kind: inner.kind,
    location: inner.location,
    async put(key, body, options) {
      await before('put', key);
      return inner.put(key, body, options);
    },
    async uploadFile(key, path, options, ctx) {
      await before('uploadFile', key);
      return inner.uploadFile(key, path, options, ctx);
    },
    async uploadGrowing(key, file, options, ctx) {
      await before('uploadGrowing', key);
      return inner.uploadGrowing(key, file, options, ctx);
    },
    async uploadStream(key, source, options, ctx) {
      await before('uploadStream', key);
      return inner.uploadStream(key, source, options, ctx);
    },
    async uploadFrom(key, source, options, ctx) {
      await before('uploadFrom', key);
      return inner.uploadFrom(key, source, options, ctx);
    },
    async get(key, range) {
      await before('get', key);
      return Readable.from(faultyBody(await inner.get(key, range), key, faults), { objectMode: false });
    },
    async read(key) {
      await before('read', key);
      const bytes = await inner.read(key);
      return faults.alterBody?.(key, bytes) ?? bytes;
    },
    async head(key) {
      await before('head', key);
      return inner.head(key);
    },
    async *list(prefix, options) {
      await before('list', prefix);
      yield* inner.list(prefix, options);
    },
    async folders(prefix) {
      await before('list', prefix);
      return inner.folders(prefix);
    },
    async delete(keys, signal) {
      await before('delete', keys[0] ?? '');
      await inner.delete(keys, signal);
    },
    unfinishedUploads: (prefix) => inner.unfinishedUploads(prefix),
    abortUpload: (key, uploadId) => inner.abortUpload(key, uploadId),
    check: () => inner.check(),
  };
}

async function* faultyBody(body: Readable, key: string, faults: Faults): AsyncGenerator<Buffer, void> {
  const cutAfter = faults.cutBodyAfter?.(key) ?? null;
  let sent = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    const altered = faults.alterBody?.(key, chunk) ?? chunk;
    if (cutAfter !== null && sent + altered.length > cutAfter) {
      yield altered.subarray(0, cutAfter - sent);
      throw networkError(key);
    }
    sent += altered.length;
    yield altered;
  }
}
