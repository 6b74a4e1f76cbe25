import type { LogPiece } from '../../../core/log-archive';
import { CommandScanner, type ScannedCommand } from './command-scanner';
import { markOf } from './stream-marks';
import { encodePiece, type Stamp } from './stream-piece';

/** A command or transaction of more than this is stored in several pieces: memory does not depend on how large it is. */
const PART_BYTES = 16 * 1024 * 1024;
/** Times are noted no finer than this: commands come in bursts. */
const STAMP_MILLISECONDS = 5;

/** Where a piece may end: between two commands, outside of every transaction. */
interface Boundary {
  readonly offset: number;
  readonly database: number;
  readonly coversUntil: number | null;
}

/** Where the archive stands. */
export interface StreamTail {
  readonly lineage: string;
  readonly offset: number;
  /** Selected there. */
  readonly database: number;
  /** Milliseconds; null where nothing has told the time yet. */
  readonly coversUntil: number | null;
}

/** Takes the stream as it arrives and cuts it into pieces. Holds what is not cut yet. */
export class SliceCollector {
  readonly #lineage: string;
  readonly #scanner: CommandScanner;
  #chunks: Buffer[] = [];
  #from: number;
  #databaseAtFrom: number;
  #last: Boundary;
  /** Since the last cut. */
  #firstEnd: Boundary | null = null;
  #database: number;
  #coversUntil: number | null;
  #inTransaction = false;
  #beginsWithin = false;
  #resumedAt: number | null;
  #stamps: Stamp[] = [];
  #commands = 0;
  #whole: StreamTail;
  #cut: { tail: StreamTail; commands: number };

  /** `resumedAt`: by the server's clock, in milliseconds. */
  constructor({ lineage, offset, database, coversUntil }: StreamTail, resumedAt: number) {
    this.#lineage = lineage;
    this.#resumedAt = Math.floor(resumedAt);
    this.#scanner = new CommandScanner(offset);
    this.#from = offset;
    this.#databaseAtFrom = database;
    this.#database = database;
    this.#coversUntil = coversUntil;
    this.#last = { offset, database, coversUntil };
    this.#whole = { lineage, offset, database, coversUntil };
    this.#cut = { tail: this.#whole, commands: 0 };
  }

  /** Where what is held begins. */
  get from(): number {
    return this.#from;
  }

  /** What is held. */
  get bytes(): number {
    return this.#scanner.offset - this.#from;
  }

  /** What the last piece that was cut brings: where the archive stands once it is stored. */
  get lastCut(): { readonly tail: StreamTail; readonly commands: number } {
    return this.#cut;
  }

  /** `receivedAt`: by the server's clock, in milliseconds. */
  add(chunk: Buffer, receivedAt: number): void {
    const before = this.#last.offset;
    this.#chunks.push(chunk);
    this.#scanner.feed(chunk, (command) => this.#take(command));
    if (this.#last.offset > before) this.#stamp(receivedAt);
  }

  /**
   * The next piece to store: up to the last boundary, or all of a part of something large. Null where there is none yet. What
   * ends something large is a piece by itself: every other one begins between two commands.
   */
  cut(): LogPiece | null {
    const { offset, ...end } = (this.#beginsWithin && this.#firstEnd) || this.#last;
    if (offset > this.#from) return this.#piece({ offset, ...end });
    if (this.bytes < PART_BYTES) return null;
    return this.#piece({ offset: this.#scanner.offset, database: null, coversUntil: end.coversUntil });
  }

  #take(command: ScannedCommand): void {
    const { name, words, to } = command;
    this.#commands += 1;
    if (name === 'SELECT') this.#database = Number(words[1]);
    else if (name === 'MULTI') this.#inTransaction = true;
    else if (name === 'EXEC') this.#inTransaction = false;
    else if (name === 'PUBLISH') this.#mark(command);
    if (this.#inTransaction) return;
    this.#last = { offset: to, database: this.#database, coversUntil: this.#coversUntil };
    this.#firstEnd ??= this.#last;
  }

  /** One millisecond less: commands of that very millisecond may still follow. */
  #mark(command: ScannedCommand): void {
    const at = markOf(command);
    if (at !== null) this.#coversUntil = Math.max(this.#coversUntil ?? 0, at - 1);
  }

  #stamp(receivedAt: number): void {
    const at = Math.ceil(receivedAt / STAMP_MILLISECONDS) * STAMP_MILLISECONDS;
    if (this.#stamps.at(-1)?.at === at) this.#stamps.pop();
    this.#stamps.push({ offset: this.#last.offset, at });
  }

  #piece(end: {
    readonly offset: number;
    readonly database: number | null;
    readonly coversUntil: number | null;
  }): LogPiece {
    const { offset: to, database, coversUntil } = end;
    const [from, all] = [this.#from, this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks)];
    const rest = all.subarray(to - from);
    const piece = {
      ...{ from, to, raw: all.subarray(0, to - from), resumedAt: this.#resumedAt },
      database: this.#beginsWithin ? null : this.#databaseAtFrom,
      stamps: this.#stamps.filter((stamp) => stamp.offset <= to),
    };
    if (database !== null) this.#whole = { lineage: this.#lineage, offset: to, database, coversUntil };
    this.#cut = { tail: this.#whole, commands: this.#commands };
    this.#chunks = rest.length > 0 ? [rest] : [];
    this.#stamps = this.#stamps.filter((stamp) => stamp.offset > to);
    [this.#from, this.#firstEnd, this.#resumedAt, this.#commands] = [to, null, null, 0];
    [this.#beginsWithin, this.#databaseAtFrom] = [database === null, database ?? 0];
    return encodePiece(piece, this.#lineage, 'slice', { database, coversUntil });
  }
}
