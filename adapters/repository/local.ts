import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import type { Readable } from 'node:stream';
import type { CallContext } from '../../core/call';
import { failure } from '../../core/errors';
import type { ObjectHead, PutOptions, Repository, UploadOptions } from '../../core/repository';
import { absent } from '../filesystem/absent';
import { diskFailure, makeDirectory, syncDirectory } from '../filesystem/durable';
import { checkKey, checkPrefix } from './keys';
import { foldersOf, walkKeys } from './local-listing';
import { LocalMetadata } from './local-metadata';

export interface LocalSettings {
  readonly name: string;
  readonly directory: string;
  /** Below `directory`: `<prefix>/<application>`. */
  readonly prefix: string;
}

/**
 * A repository in a directory: every object is a plain file under its key. Files appear whole (temporary file, fsync,
 * rename or link, fsync of the directory). What a file system cannot note about a file lies in `.metadata/`, uploads in
 * flight lie in `.uploads/`; neither is listed, and without them the objects are still complete.
 */
export function createLocalRepository({ name, directory, prefix }: LocalSettings): Repository {
  const root = path.resolve(directory, prefix);
  const uploads = path.join(root, '.uploads');
  const metadata = new LocalMetadata(root);
  const fileOf = (key: string) => path.join(root, key);

  async function store(
    key: string,
    write: (handle: fs.FileHandle) => Promise<string>,
    options: PutOptions,
  ): Promise<ObjectHead> {
    checkKey(key);
    const file = fileOf(key);
    const temporary = path.join(uploads, `${key}.${randomUUID()}`);
    try {
      await makeDirectory(path.dirname(temporary));
      const sha256 = await writeWhole(temporary, write);
      if (options.ifAbsent) await linkIfAbsent(temporary, file, key, sha256);
      else await placeInto(file, () => fs.rename(temporary, file));
      await syncDirectory(path.dirname(file));
      return await metadata.record(key, { sha256, metadata: options.metadata ?? {} });
    } catch (error) {
      throw diskFailure(error, file, `storing ${key} in repository "${name}"`);
    } finally {
      await fs.rm(temporary, { force: true });
    }
  }

  /** link(2) fails where the name exists, so that of two writers exactly one creates it. */
  async function linkIfAbsent(temporary: string, file: string, key: string, sha256: string): Promise<void> {
    try {
      await placeInto(file, () => fs.link(temporary, file));
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error;
      if ((await digestOf(file)) === sha256) return;
      throw failure('LockHeld', `${key} exists already in ${root} with other content`, { context: { key } });
    }
  }

  async function storeStream(
    key: string,
    source: AsyncIterable<Buffer>,
    options: PutOptions,
    ctx: CallContext,
    totalBytes?: number,
  ) {
    let doneBytes = 0;
    const write = async (handle: fs.FileHandle) => {
      const hash = createHash('sha256');
      for await (const chunk of source) {
        ctx.signal.throwIfAborted();
        hash.update(chunk);
        await handle.writeFile(chunk);
        doneBytes += chunk.length;
        ctx.progress({ phase: 'storing', doneBytes, totalBytes, note: key });
      }
      return hash.digest('hex');
    };
    return store(key, write, options);
  }

  async function head(key: string): Promise<ObjectHead | null> {
    checkKey(key);
    return metadata.head(key);
  }

  async function uploadFile(key: string, file: string, options: UploadOptions, ctx: CallContext): Promise<ObjectHead> {
    checkKey(key);
    const { size } = await fs.stat(file);
    const already = await metadata.head(key);
    if (already?.sha256 === options.sha256 && already.sizeBytes === size) return already;
    const source = verified(createReadStream(file, { highWaterMark: 2 ** 20 }), file, options.sha256);
    return storeStream(key, source, { ...options, ifAbsent: true }, ctx, size);
  }

  return {
    name,
    kind: 'local',
    location: root,
    head,

    put(key, body, options = {}) {
      const write = async (handle: fs.FileHandle) => {
        await handle.writeFile(body);
        return createHash('sha256').update(body).digest('hex');
      };
      return store(key, write, options);
    },

    uploadFile,

    /** Nothing is won by beginning early on a disk: the whole file is copied when it is complete. */
    async uploadGrowing(key, file, options, ctx) {
      const pieces = file.pieces()[Symbol.asyncIterator]();
      while (!(await pieces.next()).done);
      return uploadFile(key, file.paths.at(-1)!, { ...options, sha256: file.whole().sha256 }, ctx);
    },

    async uploadStream(key, source, options, ctx) {
      const stored = await storeStream(key, source as AsyncIterable<Buffer>, { ...options, ifAbsent: true }, ctx);
      return { ...stored, sha256: stored.sha256! };
    },

    async uploadFrom(key, source, options, ctx) {
      checkKey(key);
      const already = await metadata.head(key);
      if (already?.sha256 === source.sha256 && already.sizeBytes === source.sizeBytes) return already;
      return storeStream(key, source.whole(), { ...options, ifAbsent: true }, ctx, source.sizeBytes);
    },

    async get(key, range): Promise<Readable> {
      checkKey(key);
      // Opened here, not by the stream, so that a missing object is known before the first byte.
      const handle = await fs.open(fileOf(key), 'r').catch((error: unknown) => {
        throw readFailure(error, key, root);
      });
      if (range && range.end <= range.start)
        throw failure('UsageInvalid', `range ${range.start}-${range.end} of ${key} is empty`);
      return handle.createReadStream({
        highWaterMark: 2 ** 18,
        ...(range ? { start: range.start, end: range.end - 1 } : {}),
      });
    },

    async read(key) {
      checkKey(key);
      return fs.readFile(fileOf(key)).catch((error: unknown) => {
        throw readFailure(error, key, root);
      });
    },

    async *list(keyPrefix, { after } = {}) {
      checkPrefix(keyPrefix);
      for await (const key of walkKeys(root, keyPrefix, after)) {
        const stat = await fs.stat(fileOf(key)).catch(absent);
        if (stat) yield { key, sizeBytes: stat.size, modifiedAt: stat.mtime.toISOString(), storageClass: 'LOCAL' };
      }
    },

    async folders(keyPrefix) {
      checkPrefix(keyPrefix);
      return foldersOf(root, keyPrefix);
    },

    async delete(keys, signal) {
      for (const key of keys) {
        signal?.throwIfAborted();
        checkKey(key);
        await fs.rm(fileOf(key), { force: true }).catch(absent);
        await metadata.remove(key);
        await removeEmptyFolders(path.dirname(fileOf(key)), root);
      }
    },

    async *unfinishedUploads(keyPrefix) {
      checkPrefix(keyPrefix);
      for await (const upload of walkKeys(uploads, keyPrefix)) {
        const stat = await fs.stat(path.join(uploads, upload)).catch(absent);
        const { key, uploadId } = splitUpload(upload);
        if (stat) yield { key, uploadId, startedAt: stat.birthtime.toISOString() };
      }
    },

    async abortUpload(key, uploadId) {
      checkKey(`${key}.${uploadId}`);
      await fs.rm(path.join(uploads, `${key}.${uploadId}`), { force: true });
      await removeEmptyFolders(path.dirname(path.join(uploads, key)), root);
    },

    async check() {
      try {
        await makeDirectory(uploads);
        const probe = path.join(uploads, `check.${randomUUID()}`);
        await fs.writeFile(probe, '');
        await fs.rm(probe);
      } catch (error) {
        const mapped = diskFailure(error, root, `checking repository "${name}"`);
        if (mapped !== error) throw mapped;
        throw failure(
          'ConfigInvalid',
          `repository "${name}" cannot use the directory ${root}: ${(error as Error).message}`,
          { cause: error },
        );
      }
    },
  };
}

async function writeWhole(file: string, write: (handle: fs.FileHandle) => Promise<string>): Promise<string> {
  const handle = await fs.open(file, 'wx', 0o640);
  try {
    const sha256 = await write(handle);
    await handle.sync();
    return sha256;
  } finally {
    await handle.close();
  }
}

/** The folder may be removed as empty by a `delete` between its making and its use: then it is made again. */
async function placeInto(file: string, place: () => Promise<void>): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    await makeDirectory(path.dirname(file));
    try {
      return await place();
    } catch (error) {
      if (codeOf(error) !== 'ENOENT' || tries === 5) throw error;
    }
  }
}

async function* verified(source: Readable, file: string, sha256: string): AsyncGenerator<Buffer, void> {
  const hash = createHash('sha256');
  for await (const chunk of source as AsyncIterable<Buffer>) {
    hash.update(chunk);
    yield chunk;
  }
  const found = hash.digest('hex');
  if (found !== sha256)
    throw failure('BackupCorrupt', `${file} changed since it was written: its SHA-256 is ${found}, not ${sha256}`);
}

async function digestOf(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

async function removeEmptyFolders(folder: string, root: string): Promise<void> {
  for (let each = folder; each.startsWith(`${root}${path.sep}`); each = path.dirname(each)) {
    const removed = await fs.rmdir(each).then(
      () => true,
      // Not empty, or gone already: an empty folder that stays harms nothing.
      () => false,
    );
    if (!removed) return;
  }
}

function splitUpload(name: string): { key: string; uploadId: string } {
  const dot = name.lastIndexOf('.');
  return { key: name.slice(0, dot), uploadId: name.slice(dot + 1) };
}

function readFailure(error: unknown, key: string, root: string): unknown {
  if (['ENOENT', 'ENOTDIR', 'EISDIR'].includes(codeOf(error) ?? ''))
    return failure('NotFound', `there is no object ${key} in ${root}`);
  return diskFailure(error, path.join(root, key), `reading ${key}`);
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | null)?.code;
}
