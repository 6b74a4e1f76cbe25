import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { failure } from '../../core/errors';
import type { ObjectHead } from '../../core/repository';
import { absent } from '../filesystem/absent';
import { makeDirectory } from '../filesystem/durable';

interface Sidecar {
  readonly sha256: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** Of the object's file: while both are the same, the digest need not be computed again. */
  readonly sizeBytes: number;
  readonly modifiedMs: number;
}

/**
 * Digest and annotations of local objects, in `.metadata/<key>.json`. A sidecar counts only for the very bytes it was
 * made for. It is written after its object: a crash between leaves an object without annotations, until the step that
 * stored it is repeated.
 */
export class LocalMetadata {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  async record(key: string, given: Pick<Sidecar, 'sha256' | 'metadata'>): Promise<ObjectHead> {
    const { size, mtimeMs } = await fs.stat(path.join(this.#root, key));
    const sidecar: Sidecar = { ...given, sizeBytes: size, modifiedMs: mtimeMs };
    const file = this.#fileOf(key);
    const temporary = `${file}.${randomUUID()}`;
    await makeDirectory(path.dirname(file));
    await fs.writeFile(temporary, written(sidecar), { flush: true, mode: 0o640 });
    await fs.rename(temporary, file);
    return describe(key, size, mtimeMs, sidecar);
  }

  async head(key: string): Promise<ObjectHead | null> {
    const file = path.join(this.#root, key);
    const stat = await fs.stat(file).catch(absent);
    if (!stat?.isFile()) return null;
    const text = await fs.readFile(this.#fileOf(key), 'utf8').catch(absent);
    const sidecar = text === null ? null : readSidecar(text, this.#fileOf(key), key);
    const untouched = sidecar?.sizeBytes === stat.size && sidecar.modifiedMs === stat.mtimeMs;
    // A copied repository has new times, and an altered object must not be reported with its old digest.
    const sha256 = untouched ? sidecar.sha256 : await digestOf(file);
    if (sidecar === null || sidecar.sha256 === sha256)
      return describe(key, stat.size, stat.mtimeMs, { sha256, metadata: sidecar?.metadata ?? {} });
    return { ...describe(key, stat.size, stat.mtimeMs, { sha256, metadata: {} }), storedSha256: sidecar.sha256 };
  }

  async remove(key: string): Promise<void> {
    await fs.rm(this.#fileOf(key), { force: true }).catch(absent);
  }

  #fileOf(key: string): string {
    return path.join(this.#root, '.metadata', `${key}.json`);
  }
}

/** One line of JSON, and one with its SHA-256: annotations such as the time that a WAL segment covers are trusted. */
function written(sidecar: Sidecar): string {
  const json = JSON.stringify(sidecar);
  return `${json}\n${sha256Of(json)}\n`;
}

/** Throws BackupCorrupt. A file of one line was written before they had a digest. */
function readSidecar(text: string, file: string, key: string): Sidecar {
  const [json = '', digest] = text.split('\n');
  try {
    if (text === json || text === `${json}\n${sha256Of(json)}\n`) return JSON.parse(json) as Sidecar;
  } catch {
    // Said below, as of any other damage.
  }
  throw failure('BackupCorrupt', `${file} is not as it was written${digest ? ': its SHA-256 differs' : ''}`, {
    data: `It holds annotations of ${key}; the object itself may be right.`,
    next: 'Restore this file from a copy of the repository; without it the object is complete, but what it covers is not known.',
    context: { key },
  });
}

function sha256Of(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function describe(
  key: string,
  sizeBytes: number,
  modifiedMs: number,
  { sha256, metadata }: Pick<Sidecar, 'sha256' | 'metadata'>,
): ObjectHead {
  return {
    key,
    sizeBytes,
    modifiedAt: new Date(modifiedMs).toISOString(),
    etag: `"${sha256}"`,
    metadata,
    sha256,
    composite: null,
    storageClass: 'LOCAL',
  };
}

async function digestOf(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: 2 ** 20 })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}
