import type { LogEntry } from '../../../core/log-archive';
import { readPieceName } from './lsn';

/** So much of the log lies in memory at most, in as many pieces at most: slices of a quiet server are a few bytes each. */
const AHEAD_BYTES = 64n * 1024n * 1024n;
const AHEAD_PIECES = 16;

interface Piece {
  readonly from: bigint;
  readonly to: bigint;
  readonly content: Promise<Buffer>;
}

/**
 * The bytes of the entries from `start` to `end`, in order and each once, several entries being fetched at a time. Entries
 * may overlap, as after two archivers.
 */
export async function* readAhead(
  entries: readonly LogEntry[],
  [start, end]: readonly [start: bigint, end: bigint],
  read: (entry: LogEntry) => Promise<Buffer>,
): AsyncGenerator<{ readonly lsn: bigint; readonly bytes: Buffer }> {
  const ahead: Piece[] = [];
  let [next, aheadBytes, cursor] = [0, 0n, start];
  const fill = () => {
    while (next < entries.length && ahead.length < AHEAD_PIECES && (ahead.length === 0 || aheadBytes < AHEAD_BYTES)) {
      const entry = entries[next] as LogEntry;
      next += 1;
      const range = readPieceName(entry.name);
      if (!range || range.to <= cursor || range.from >= end) continue;
      const content = read(entry);
      // Looked at when it is this one's turn; that may be never.
      content.catch(() => undefined);
      ahead.push({ from: range.from, to: range.to, content });
      aheadBytes += range.to - range.from;
    }
  };
  for (;;) {
    fill();
    const piece = ahead.shift();
    if (!piece) return;
    aheadBytes -= piece.to - piece.from;
    const content = await piece.content;
    const last = piece.to < end ? piece.to : end;
    if (last <= cursor) continue;
    if (piece.from > cursor) return; // a hole: nothing behind it follows
    yield { lsn: cursor, bytes: content.subarray(Number(cursor - piece.from), Number(last - piece.from)) };
    cursor = last;
  }
}
