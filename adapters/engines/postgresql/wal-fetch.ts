import { createWriteStream } from 'node:fs';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import type { CallContext } from '../../../core/call';
import { failure } from '../../../core/errors';
import type { LogArchive, LogEntry } from '../../../core/log-archive';
import { newTry } from '../restore-marker';
import { formatLsn, readPieceName, segmentName, timelineOf } from './lsn';
import type { Account } from '../restore-host';
import { historyName } from './timeline-history';
import { makeDirectory } from './unpack';

const PARALLEL_SEGMENTS = 4;
/** A quiet server's newest segment lies in thousands of slices of a second each: what counts there is round trips. */
const PARALLEL_SLICES = 16;

/**
 * Puts the log of a restore where `restore_command` copies from: whole segments under their own names, slices put together
 * and padded with zeros to a segment, and every history file of the cluster, so that the restored server takes a timeline
 * number that nobody had. Repeatable: what is complete is not fetched again.
 */
export async function fetchWal(
  entries: readonly LogEntry[],
  systemId: string,
  archive: LogArchive,
  folder: string,
  owner: Account,
  ctx: CallContext,
): Promise<void> {
  await makeDirectory(folder, owner);
  for (const [key, bytes] of await archive.history()) {
    const name = key.startsWith(`${systemId}-`) ? key.slice(systemId.length + 1) : null;
    if (name) await storeFile(path.join(folder, name), owner, (file) => fs.writeFile(file, bytes));
  }
  const segments = bySegment(entries);
  const total = segments.size;
  const waiting = [...segments];
  let doneItems = 0;
  const worker = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      ctx.signal.throwIfAborted();
      const [name, pieces] = next;
      await storeFile(path.join(folder, name), owner, (file) => assemble(file, pieces, archive, ctx));
      doneItems += 1;
      ctx.progress({ phase: 'fetching WAL', doneItems, totalItems: total });
    }
  };
  const results = await Promise.allSettled(Array.from({ length: PARALLEL_SEGMENTS }, worker));
  const failed = results.find((each) => each.status === 'rejected');
  if (failed) throw failed.reason;
}

export { historyName };

function bySegment(entries: readonly LogEntry[]): Map<string, LogEntry[]> {
  const segments = new Map<string, LogEntry[]>();
  for (const entry of entries) {
    const piece = readPieceName(entry.name);
    if (!piece) continue;
    const name = segmentName(timelineOf(entry.lineage), piece.from, piece.segmentBytes);
    segments.set(name, [...(segments.get(name) ?? []), entry]);
  }
  return segments;
}

async function assemble(
  file: string,
  pieces: readonly LogEntry[],
  archive: LogArchive,
  ctx: CallContext,
): Promise<void> {
  const whole = pieces.find((each) => each.kind === 'segment');
  if (whole) {
    await pipeline(await archive.open(whole), createWriteStream(file), { signal: ctx.signal });
    await checkSize(file, whole);
    return;
  }
  const first = readPieceName((pieces[0] as LogEntry).name) as NonNullable<ReturnType<typeof readPieceName>>;
  const start = first.from - (first.from % first.segmentBytes);
  const handle = await fs.open(file, 'w');
  try {
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
  } finally {
    await handle.close();
  }
}

/** `start`: the segment's first position. */
async function writeSlice(handle: fs.FileHandle, piece: LogEntry, start: bigint, archive: LogArchive): Promise<void> {
  const range = readPieceName(piece.name) as NonNullable<ReturnType<typeof readPieceName>>;
  const bytes = await buffer(await archive.open(piece));
  if (BigInt(bytes.length) !== range.to - range.from) {
    throw failure('BackupCorrupt', `${piece.key} holds ${bytes.length} bytes instead of ${range.to - range.from}`);
  }
  await handle.write(bytes, 0, bytes.length, Number(range.from - start));
}

async function checkSize(file: string, entry: LogEntry): Promise<void> {
  const piece = readPieceName(entry.name);
  const { size } = await fs.stat(file);
  if (piece && BigInt(size) !== piece.segmentBytes) {
    throw failure(
      'BackupCorrupt',
      `${entry.key} (${formatLsn(piece.from)}) holds ${size} bytes instead of ${piece.segmentBytes}`,
    );
  }
}

/** Under a temporary name until complete: the server must never see half a segment. */
async function storeFile(file: string, owner: Account, write: (file: string) => Promise<void>): Promise<void> {
  if (
    await fs.access(file).then(
      () => true,
      () => false,
    )
  )
    return; // complete, from an earlier try
  const partial = `${file}.${newTry()}.partial`; // an earlier try that is not dead yet writes its own
  try {
    await write(partial);
    if (process.getuid?.() === 0) await fs.chown(partial, owner.uid, owner.gid);
    await fs.rename(partial, file);
  } finally {
    await fs.rm(partial, { force: true });
  }
}
