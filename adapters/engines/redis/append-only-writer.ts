import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import type { CallContext } from '../../../core/call';
import { failure } from '../../../core/errors';
import { diskFailure, makeDirectory, syncDirectory, writeFileDurably } from '../../filesystem/durable';
import { newTry } from '../restore-marker';
import type { ChainLink } from './log-chain';
import { isNoise } from './stream-noise';
import { type StoredPieces, StreamWalk, type WalkedPiece, walkedPieces } from './stream-walk';

/** `appenddirname` and `appendfilename` as a server has them without a word in its configuration. */
const DIRECTORY = 'appendonlydir';
const [BASE, INCREMENT, MANIFEST] = [
  'appendonly.aof.1.base.rdb',
  'appendonly.aof.1.incr.aof',
  'appendonly.aof.manifest',
];

export interface StreamPart {
  /** The way as it is listed at the time of asking. */
  readonly links: () => Promise<readonly ChainLink[]>;
  /** The offset of the RDB, and the one to stop at. */
  readonly from: number;
  readonly to: number;
}

/**
 * Makes an append-only directory of an RDB and the part of the stream that follows it, for the server itself to load: it
 * expires nothing while it does, so that each command meets what it met at the source, however long ago that was.
 * Repeatable: the manifest, without which there is nothing to load, is written last.
 */
export async function writeAppendOnly(
  directory: string,
  rdbName: string,
  part: StreamPart,
  log: StoredPieces,
  ctx: CallContext,
): Promise<void> {
  const place = path.join(directory, DIRECTORY);
  const increment = path.join(place, INCREMENT);
  try {
    await makeDirectory(place);
    await fs.rm(path.join(place, MANIFEST), { force: true });
    const partial = `${increment}.${newTry()}.partial`; // an earlier try that is not dead yet writes its own
    await writeIncrement(partial, part, log, ctx);
    await fs.rename(partial, increment);
    await fs.rm(path.join(place, BASE), { force: true });
    await fs.link(path.join(directory, rdbName), path.join(place, BASE));
    await syncDirectory(place);
    const lines = [`file ${BASE} seq 1 type b`, `file ${INCREMENT} seq 1 type i`];
    await writeFileDurably(path.join(place, MANIFEST), `${lines.join('\n')}\n`);
  } catch (error) {
    throw diskFailure(error, increment, 'writing an append-only file');
  }
}

async function writeIncrement(
  file: string,
  { links, from, to }: StreamPart,
  log: StoredPieces,
  ctx: CallContext,
): Promise<void> {
  const handle = await fs.open(file, 'wx', 0o600);
  try {
    let [filter, doneBytes]: [StreamFilter | null, number] = [null, 0];
    for await (const piece of walkedPieces(log, await links(), ctx, links)) {
      filter ??= new StreamFilter(piece, from, to);
      const kept = filter.take(piece);
      if (kept.length > 0) await handle.writev(kept);
      doneBytes += piece.raw.length;
      ctx.progress({ phase: 'writing the replication stream', doneBytes, totalBytes: to - from });
    }
    filter?.requireWhole();
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Leaves out what lies before the RDB, and what changes no data. */
class StreamFilter {
  readonly #from: number;
  readonly #to: number;
  readonly #walk: StreamWalk;
  /** Selected at `#from`; null once it was written. */
  #database: number | null;

  constructor(first: WalkedPiece, from: number, to: number) {
    if (first.database === null) {
      throw failure('BackupCorrupt', `${first.link.entry.key} begins within a command: the piece before it is missing`);
    }
    this.#walk = new StreamWalk(first.from, first.database);
    this.#database = first.database;
    this.#from = from;
    this.#to = to;
  }

  /** What of the piece goes into the file. */
  take(piece: WalkedPiece): Buffer[] {
    const begin = this.#walk.scanner.offset;
    const kept: Buffer[] = [];
    // Of what lies in several pieces the beginning is written already: it stays whole, and does no harm.
    const noise: { readonly from: number; readonly to: number }[] = [];
    const fresh = this.#walk.take(piece, this.#to, ({ name, from, to }) => {
      if (to <= this.#from) this.#database = this.#walk.database;
      else if (isNoise(name) && from >= begin) noise.push({ from, to });
    });
    const end = begin + fresh.length;
    let at = Math.max(begin, this.#from);
    for (const { from, to } of [...noise, { from: end, to: end }]) {
      if (from > at) kept.push(fresh.subarray(at - begin, from - begin));
      at = Math.max(at, to);
    }
    if (this.#database === null || kept.length === 0) return kept;
    const selection = `${this.#database}`;
    this.#database = null;
    return [Buffer.from(`*2\r\n$6\r\nSELECT\r\n$${selection.length}\r\n${selection}\r\n`), ...kept];
  }

  /** Throws BackupCorrupt where the stream ends elsewhere than it was to. */
  requireWhole(): void {
    if (this.#walk.boundary === this.#to) return;
    throw failure('BackupCorrupt', `the stream can be replayed up to ${this.#walk.boundary}, not up to ${this.#to}`);
  }
}
