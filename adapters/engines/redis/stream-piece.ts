import { createHash } from 'node:crypto';
import { failure } from '../../../core/errors';
import type { LogEntry, LogPiece } from '../../../core/log-archive';
import { offsetOf, pieceName, redisPosition } from './positions';

/** The stream up to `offset` had been received at this instant, in milliseconds of the server's clock. */
export interface Stamp {
  readonly offset: number;
  readonly at: number;
}

/** A stored part of a replication stream. */
export interface StreamPiece {
  readonly from: number;
  readonly to: number;
  /** Selected at `from`; null where a command or a transaction has begun before it. */
  readonly database: number | null;
  readonly stamps: readonly Stamp[];
  /**
   * Of the first one after the archiver had been away: when it came back, in milliseconds of the server's clock. What had been
   * written meanwhile came all at once, so that nothing says when.
   */
  readonly resumedAt: number | null;
  /** The bytes of the stream from `from` to `to`, as the server sent them. */
  readonly raw: Buffer;
}

const TITLE = '#drctl replication stream 1';

/**
 * Lines that an append-only file may hold as annotations, then the bytes of the stream as they are: whoever has neither us
 * nor this description takes the last `to - from` bytes. `ends`: what `pieceName` says of the end.
 */
export function encodePiece(
  piece: StreamPiece,
  lineage: string,
  kind: 'slice' | 'segment',
  ends: { readonly coversUntil: number | null; readonly database: number | null },
): LogPiece {
  const { from, to, database, stamps, resumedAt, raw } = piece;
  const lines = [
    `${TITLE} from ${from} to ${to} database ${database ?? 'part'}${resumedAt === null ? '' : ` resumed ${resumedAt}`}`,
    ...stamps.map(({ offset, at }) => `#at ${offset - from} ${at}`),
  ];
  const content = Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n`), raw]);
  const digest = createHash('sha256').update(content).digest('hex').slice(0, 8);
  return {
    lineage,
    kind,
    name: pieceName({ ...ends, from, to, digest }, kind),
    from: redisPosition(lineage, from),
    to: redisPosition(lineage, to),
    coversUntil: ends.coversUntil === null ? null : new Date(ends.coversUntil).toISOString(),
    content,
  };
}

/** Throws BackupCorrupt for content that is not what the entry's name says. */
export function decodePiece(entry: Pick<LogEntry, 'key' | 'from' | 'to'>, content: Buffer): StreamPiece {
  const [from, to] = [offsetOf(entry.from), offsetOf(entry.to)];
  const at = content.length - (to - from);
  const lines = at > 0 ? content.toString('latin1', 0, at).split('\r\n') : [];
  const named = new RegExp(`^${TITLE} from (\\d+) to (\\d+) database (\\d+|part)(?: resumed (\\d+))?$`).exec(
    lines.shift() ?? '',
  );
  if (!named || Number(named[1]) !== from || Number(named[2]) !== to || lines.pop() !== '') {
    throw failure('BackupCorrupt', `${entry.key} does not hold the stream from ${from} to ${to}`);
  }
  const stamps = lines.map((line) => {
    const [, offset, milliseconds] = /^#at (\d+) (\d+)$/.exec(line) ?? [];
    if (!offset || !milliseconds) throw failure('BackupCorrupt', `${entry.key} has a line that is no time: ${line}`);
    return { offset: from + Number(offset), at: Number(milliseconds) };
  });
  return {
    from,
    to,
    database: named[3] === 'part' ? null : Number(named[3]),
    stamps,
    resumedAt: named[4] === undefined ? null : Number(named[4]),
    raw: content.subarray(at),
  };
}
