import type { Readable } from 'node:stream';
import type { CallContext } from '../../core/call';
import { hasCode } from '../../core/errors';
import type { LogArchive, LogEntry } from '../../core/log-archive';

/** How many pieces are held or on their way: slices are small, and each costs round trips, which pass beside each other. */
const PIECES_AHEAD = 8;
/** And not more than this as it is stored, of which the content is several times as much. */
const STORED_BYTES_AHEAD = 4 * 1024 * 1024;

export interface OpenedPiece {
  readonly entry: LogEntry;
  readonly content: Readable;
}

/** Opens pieces in order, the next ones while one is read. What cannot be opened is thrown when it is its turn. */
export async function* openedAhead(
  log: Pick<LogArchive, 'open'>,
  entries: readonly LogEntry[],
  signal: CallContext['signal'],
): AsyncGenerator<OpenedPiece> {
  const coming: { readonly entry: LogEntry; readonly opened: Promise<Readable> }[] = [];
  let [asked, bytesAhead] = [0, 0];
  try {
    for (;;) {
      signal.throwIfAborted();
      for (; coming.length < PIECES_AHEAD && asked < entries.length; asked += 1) {
        const entry = entries[asked] as LogEntry;
        if (coming.length > 0 && bytesAhead + entry.sizeBytes > STORED_BYTES_AHEAD) break;
        bytesAhead += entry.sizeBytes;
        const opened = log.open(entry);
        opened.catch(() => {}); // thrown by the await below, or of no interest to a caller that stopped
        coming.push({ entry, opened });
      }
      const next = coming.shift();
      if (!next) return;
      bytesAhead -= next.entry.sizeBytes;
      yield { entry: next.entry, content: await next.opened };
    }
  } finally {
    for (const each of await Promise.allSettled(coming.map(({ opened }) => opened))) {
      if (each.status === 'fulfilled') each.value.destroy();
    }
  }
}

/** That a listed piece is not there, or not as it was stored: it may have given way to a segment since it was listed. */
export function isUnreadable(error: unknown): boolean {
  return hasCode(error, 'BackupCorrupt') || hasCode(error, 'NotFound');
}
