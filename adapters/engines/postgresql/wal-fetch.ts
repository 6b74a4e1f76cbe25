import * as fs from 'node:fs/promises';
import type { CallContext } from '../../../core/call';
import { failure } from '../../../core/errors';
import type { LogArchive, LogEntry } from '../../../core/log-archive';
import { diskFailure } from '../../filesystem/durable';
import { newTry } from '../restore-marker';
import { writeAll } from './changed-blocks';
import { entryBytes } from './entry-bytes';
import { formatLsn, readPieceName, segmentName, timelineOf } from './lsn';
import type { Account } from '../restore-host';

/** A quiet server's newest segment lies in thousands of slices of a second each: what counts there is round trips. */
const PARALLEL_SLICES = 16;

/** One segment of the log as the server asks for it, and the stored pieces that it is put together of. */
export interface WalSegment {
  readonly name: string;
  readonly pieces: readonly LogEntry[];
}

/** In the order of the entries, which is that of the log. */
export function segmentsOf(entries: readonly LogEntry[]): WalSegment[] {
  const segments = new Map<string, LogEntry[]>();
  for (const entry of entries) {
    const piece = readPieceName(entry.name);
    if (!piece) continue;
    const name = segmentName(timelineOf(entry.lineage), piece.from, piece.segmentBytes);
    const pieces = segments.get(name);
    if (pieces) pieces.push(entry);
    else segments.set(name, [entry]);
  }
  return [...segments].map(([name, pieces]) => ({ name, pieces }));
}

/**
 * Puts a segment where the server takes it from: a whole one as it is, slices put together and padded with zeros. It appears
 * complete or not at all, and is on the disk then: the server syncs what it takes, and waits for that. Repeatable. Throws
 * DiskFull: what a full disk cut off would be read as the end of the log.
 */
export async function fetchSegment(
  { pieces }: WalSegment,
  file: string,
  archive: LogArchive,
  owner: Account,
  ctx: CallContext,
): Promise<void> {
  const partial = `${file}.${newTry()}.partial`; // an earlier try that is not dead yet writes its own
  try {
    await assemble(partial, pieces, archive, ctx);
    if (process.getuid?.() === 0) await fs.chown(partial, owner.uid, owner.gid);
    await fs.rename(partial, file);
  } catch (error) {
    throw diskFailure(error, file, 'storing log for the restored server');
  } finally {
    await fs.rm(partial, { force: true });
  }
}

async function assemble(
  file: string,
  pieces: readonly LogEntry[],
  archive: LogArchive,
  ctx: CallContext,
): Promise<void> {
  const handle = await fs.open(file, 'w', 0o600);
  try {
    const whole = pieces.find((each) => each.kind === 'segment');
    if (whole) {
      await writeWhole(handle, whole, archive, ctx);
    } else {
      await writeSlices(handle, pieces, archive, ctx);
    }
    await handle.datasync();
  } finally {
    await handle.close();
  }
}

async function writeWhole(
  handle: fs.FileHandle,
  entry: LogEntry,
  archive: LogArchive,
  ctx: CallContext,
): Promise<void> {
  const piece = readPieceName(entry.name) as NonNullable<ReturnType<typeof readPieceName>>;
  const sizeBytes = await archive.lend(entry, async (content) => {
    ctx.signal.throwIfAborted();
    await writeAll(handle, content, 0);
    return content.length;
  });
  if (BigInt(sizeBytes) === piece.segmentBytes) return;
  throw failure(
    'BackupCorrupt',
    `${entry.key} (${formatLsn(piece.from)}) holds ${sizeBytes} bytes instead of ${piece.segmentBytes}`,
  );
}

async function writeSlices(
  handle: fs.FileHandle,
  pieces: readonly LogEntry[],
  archive: LogArchive,
  ctx: CallContext,
): Promise<void> {
  const first = readPieceName((pieces[0] as LogEntry).name) as NonNullable<ReturnType<typeof readPieceName>>;
  const start = first.from - (first.from % first.segmentBytes);
  await handle.truncate(Number(first.segmentBytes)); // what was not archived yet reads as zeros, the end of the log
  const waiting = [...pieces];
  const lane = async () => {
    for (let piece = waiting.shift(); piece; piece = waiting.shift()) {
      ctx.signal.throwIfAborted();
      await writeSlice(handle, piece, start, archive);
    }
  };
  // All of them end before the file is closed under them.
  const lanes = await Promise.allSettled(Array.from({ length: PARALLEL_SLICES }, lane));
  const failed = lanes.find((each) => each.status === 'rejected');
  if (failed) throw failed.reason;
}

/** `start`: the segment's first position. */
async function writeSlice(handle: fs.FileHandle, piece: LogEntry, start: bigint, archive: LogArchive): Promise<void> {
  const range = readPieceName(piece.name) as NonNullable<ReturnType<typeof readPieceName>>;
  const bytes = await entryBytes(archive, piece);
  if (BigInt(bytes.length) !== range.to - range.from) {
    throw failure('BackupCorrupt', `${piece.key} holds ${bytes.length} bytes instead of ${range.to - range.from}`);
  }
  await writeAll(handle, bytes, Number(range.from - start));
}
