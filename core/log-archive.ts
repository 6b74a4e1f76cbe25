import type { Readable } from 'node:stream';
import type { Position } from './positions';

/**
 * One stored piece of a store's log. A `slice` covers a second or two; a `segment` is a complete unit that replaces its
 * slices (a whole WAL segment, an hour of oplog). Slices and segments of one lineage touch each other without a gap.
 */
export interface LogEntry {
  readonly key: string;
  readonly lineage: string;
  /** The last part of the key without the codec: a WAL segment's own name, or `<from>-<to>`. */
  readonly name: string;
  readonly kind: 'slice' | 'segment';
  readonly from: Position;
  /** First position that is not in the entry: the `from` of its successor. */
  readonly to: Position;
  /**
   * Every change committed at or before this instant (the source's clock) in this lineage lies before `to`; null when
   * not known from the listing alone.
   */
  readonly coversUntil: string | null;
  readonly sizeBytes: number;
}

/** What an engine hands over to be stored. */
export interface LogPiece {
  readonly lineage: string;
  readonly name: string;
  readonly kind: LogEntry['kind'];
  readonly from: Position;
  readonly to: Position;
  readonly coversUntil: string | null;
  readonly content: Uint8Array;
}

/** A segment, and the slices that lie within it. */
export interface ReplacedSlices {
  readonly segment: LogEntry;
  readonly slices: readonly LogEntry[];
}

/**
 * The log's side of the repository for one store. Content is compressed and digested behind it.
 * A name never gets other bytes: the same bytes again are fine, other bytes throw LogGap ("split brain").
 */
export interface LogArchive {
  /** Durable when resolved; only then may a position be confirmed to the server. */
  append(piece: LogPiece): Promise<LogEntry>;
  /** Entries of a lineage in log order, segments hiding the slices they replace. Lineages in no particular order. */
  entries(lineage: string): Promise<LogEntry[]>;
  lineages(): Promise<string[]>;
  /** With `coversUntil` looked up where the listing did not say. */
  resolve(entry: LogEntry): Promise<LogEntry>;
  /**
   * Plain content, digest verified (BackupCorrupt names the key). After a failure `entries` lists everything anew: another
   * process may have put a segment in the entry's place.
   */
  open(entry: LogEntry): Promise<Readable>;
  /**
   * The same in one buffer that is used again: its bytes hold until `use` resolves. For whole segments, many after another:
   * a new buffer for each costs more than fetching it.
   */
  lend<T>(entry: LogEntry, use: (content: Buffer) => Promise<T>): Promise<T>;
  /**
   * Reads an entry completely and compares it with all that was noted of it, without keeping what it holds. Throws
   * BackupCorrupt that names the key; false where nothing was noted, so that only the compression's own checksum was right.
   */
  prove(entry: LogEntry): Promise<boolean>;
  /**
   * Slices of a lineage that are still stored though a segment holds what they hold: a process died before it had removed
   * them, or they came late from one believed dead. `entries` hides them, so that nobody else ever finds them.
   */
  replaced(lineage: string): Promise<ReplacedSlices[]>;
  /** Removes slices after the segment that replaces them was read back and verified. */
  replace(slices: readonly LogEntry[], segment: LogEntry): Promise<void>;
  /**
   * Small files kept for ever beside the catalogue, each with its digest: `.history` files, descriptions of lineages.
   * `ifAbsent`: other bytes under a name that exists throw LockHeld; damage of the same bytes is put right.
   */
  putHistory(name: string, bytes: Uint8Array, options?: { readonly ifAbsent?: boolean }): Promise<void>;
  /** In the place of a damaged one stands the BackupCorrupt that names it, for whoever needs that one to throw. */
  history(): Promise<ReadonlyMap<string, Buffer | Error>>;
}

/**
 * How a key's last part says what an entry covers; each engine has one, so that a listing alone is enough. Names sort as
 * the log does (numbers are padded): of a long lineage only the end is listed again.
 */
export interface LogNaming {
  /** The order of positions of one lineage, as the engine's codec has it. */
  compare(a: Position, b: Position): number;
  /** Null for a name that is not this engine's: it is left alone. */
  read(lineage: string, name: string): Pick<LogEntry, 'kind' | 'from' | 'to' | 'coversUntil'> | null;
}
