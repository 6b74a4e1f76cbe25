import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { DumpResult } from '../../core/catalog';
import {
  SPOOL_DONE,
  SPOOL_FAILED,
  SPOOL_INDEX,
  type SpooledEarly,
  type SpooledPiece,
  type SpooledVolume,
  type SpoolLine,
  temporaryOf,
} from './spool-attempt';

/** What the uploader sees of a backup's spool, in order. After `attempt` everything seen before it is void. */
export type SpoolEvent =
  | { readonly kind: 'attempt'; readonly attempt: number }
  | { readonly kind: 'piece'; readonly piece: SpooledPiece }
  | { readonly kind: 'volume'; readonly volume: SpooledVolume }
  | { readonly kind: 'early'; readonly early: SpooledEarly }
  | { readonly kind: 'failed'; readonly reason: string }
  | { readonly kind: 'done'; readonly dump: DumpResult };

/** How often the index is looked at: a volume takes a second or so to fill, and a look costs one small read. */
const LOOK_MILLISECONDS = 200;

/** Yields what the newest attempt below `backup` has completed, as it appears. See `Spool.follow`. */
export async function* followSpool(backup: string, signal: AbortSignal): AsyncGenerator<SpoolEvent, void> {
  let attempt: number | null = null;
  let seenBytes = 0;
  let failed = false;
  for (;;) {
    signal.throwIfAborted();
    const newest = await newestAttempt(backup);
    if (newest !== null && newest !== attempt) {
      attempt = newest;
      seenBytes = 0;
      failed = false;
      yield { kind: 'attempt', attempt };
    }
    if (attempt !== null && !failed) {
      const directory = path.join(backup, `attempt-${attempt}`);
      // Read before the index: every line of a dump that is done was written before its end mark.
      const done = await readJson<DumpResult>(path.join(directory, SPOOL_DONE));
      const failure = await readJson<{ reason: string }>(path.join(directory, SPOOL_FAILED));
      const { lines, endBytes } = await readIndex(path.join(directory, SPOOL_INDEX), seenBytes);
      seenBytes = endBytes;
      // A volume that is complete is taken whole.
      const complete = new Set(lines.map((line) => (line.kind === 'volume' ? line.file : null)));
      for (const line of lines) if (line.kind !== 'piece' || !complete.has(line.file)) yield eventOf(line, directory);
      if (done) {
        yield { kind: 'done', dump: done };
        return;
      }
      if (failure) {
        failed = true;
        yield { kind: 'failed', reason: failure.reason };
      }
      if (lines.length > 0) continue;
    }
    await delay(LOOK_MILLISECONDS, undefined, { signal });
  }
}

export async function newestAttempt(backup: string): Promise<number | null> {
  const names = await fs.readdir(backup).catch(absent);
  const numbers = (names ?? []).map((name) => Number(/^attempt-(\d+)$/.exec(name)?.[1] ?? 0));
  return Math.max(0, ...numbers) || null;
}

function eventOf(line: SpoolLine, directory: string): SpoolEvent {
  const file = path.join(directory, line.file);
  if (line.kind === 'piece') return { kind: 'piece', piece: { ...line.piece, paths: [temporaryOf(file), file] } };
  return line.kind === 'volume'
    ? { kind: 'volume', volume: { ...line.volume, path: file } }
    : { kind: 'early', early: { ...line.early, path: file } };
}

/** Whole lines behind `fromBytes`, of which alone is read; one that is still being written is left for the next look. */
async function readIndex(file: string, fromBytes: number): Promise<{ lines: SpoolLine[]; endBytes: number }> {
  const bytes = await readBehind(file, fromBytes);
  const length = bytes.lastIndexOf('\n') + 1;
  if (length === 0) return { lines: [], endBytes: fromBytes };
  const text = bytes.toString('utf8', 0, length).trimEnd();
  return { lines: text.split('\n').map((line) => JSON.parse(line) as SpoolLine), endBytes: fromBytes + length };
}

/** Empty where there is no such file. */
async function readBehind(file: string, fromBytes: number): Promise<Buffer> {
  const handle = await fs.open(file, 'r').catch(absent);
  if (!handle) return Buffer.alloc(0);
  try {
    const { size } = await handle.stat();
    const bytes = Buffer.alloc(Math.max(0, size - fromBytes));
    if (bytes.length === 0) return bytes;
    const { bytesRead } = await handle.read(bytes, 0, bytes.length, fromBytes);
    return bytes.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

async function readJson<T>(file: string): Promise<T | null> {
  const text = await fs.readFile(file, 'utf8').catch(absent);
  return text === null ? null : (JSON.parse(text) as T);
}

function absent(error: NodeJS.ErrnoException): null {
  if (error.code === 'ENOENT') return null;
  throw error;
}
