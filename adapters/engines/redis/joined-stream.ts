import { failure } from '../../../core/errors';
import type { LogEntry, LogPiece } from '../../../core/log-archive';
import type { OpenedPiece } from '../opened-pieces';
import type { JoinedPieces, MergeableLog } from '../slice-merger';
import { naming, readPieceName } from './positions';
import { decodePiece, encodePiece, type Stamp, type StreamPiece } from './stream-piece';
import { contentOf } from './stream-walk';

/** How slices of a replication stream give way to segments. */
export const mergeableStream: MergeableLog = {
  compare: (a, b) => naming.compare(a, b),
  secondsBetween(first, last) {
    const [from, to] = [coveredBy(first), coveredBy(last)];
    return from === null || to === null ? 0 : (to - from) / 1_000;
  },
  // What lies in several pieces fills them already, and every segment begins between two commands.
  isMergeable: (slice, before) => isWhole(slice) && (before === null || isWhole(before)),
  join: () => new JoinedStream(),
};

const coveredBy = ({ name }: LogEntry) => readPieceName(name)?.coversUntil ?? null;
const isWhole = ({ name }: LogEntry) => typeof readPieceName(name)?.database === 'number';

class JoinedStream implements JoinedPieces {
  readonly slices: LogEntry[] = [];
  #first: StreamPiece | null = null;
  #to = 0;
  #bytes = 0;
  readonly #raw: Buffer[] = [];
  readonly #stamps: Stamp[] = [];

  /** One before which nobody listened begins a segment of its own. */
  async add({ entry, content }: OpenedPiece, limitBytes: number): Promise<boolean> {
    const piece = decodePiece(entry, await contentOf(content));
    if (this.#first) {
      if (piece.resumedAt !== null || this.#bytes + piece.raw.length > limitBytes) return false;
      if (piece.from > this.#to)
        throw failure('BackupCorrupt', `${entry.key} does not continue ${this.#to}, up to which those before it lead`);
    } else if (piece.database === null) throw failure('BackupCorrupt', `${entry.key} begins within a command`);
    this.#first ??= piece;
    const seen = Math.max(this.#to, piece.from);
    if (piece.to > seen) this.#raw.push(piece.raw.subarray(seen - piece.from));
    this.#stamps.push(...piece.stamps.filter(({ offset }) => offset > seen));
    this.#bytes += piece.raw.length;
    this.#to = Math.max(this.#to, piece.to);
    this.slices.push(entry);
    return true;
  }

  segment(): LogPiece {
    const last = this.slices.findLast(({ to }) => Number(to.value) === this.#to);
    const ends = last && readPieceName(last.name);
    if (!this.#first || !last || !ends) throw new Error('nothing was joined yet');
    const { from, database, resumedAt } = this.#first;
    const piece = { from, database, resumedAt, to: this.#to, stamps: this.#stamps, raw: Buffer.concat(this.#raw) };
    const { coversUntil, database: endsIn } = ends;
    return encodePiece(piece, last.lineage, 'segment', { coversUntil, database: endsIn });
  }
}
