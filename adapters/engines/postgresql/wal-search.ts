import type { CallContext } from '../../../core/call';
import { failure, hasCode, reasonOf } from '../../../core/errors';
import type { LogArchive, LogEntry } from '../../../core/log-archive';
import { entryBytes } from './entry-bytes';
import { parseLsn, readPieceName, timelineOf } from './lsn';
import { markOf, nextXidOf, type WalMark } from './wal-marks';
import { readRecords, type WalRecord, type WalStretch } from './wal-records';

/** initdb cannot change it; a server that was built with another size says so in a segment's first page. */
const PAGE_BYTES = 8192;
const LONG_HEADER_PAGE_BYTES_AT = 36;
const LONG_HEADER = 0x2;
/** A quiet server's newest segment lies in thousands of slices: what counts there is round trips. */
const PARALLEL_SLICES = 16;
/** A plan is made while a person waits, within the five minutes of its activity; what lies further back is left to the replay. */
const SEARCH_MILLISECONDS = 120_000;

/** What is archived of one segment. */
export interface Stretch {
  /** Indices of the chain's entries. */
  readonly first: number;
  readonly last: number;
  readonly timeline: number;
}

/** The stretches of a chain in log order. */
function stretchesOf(entries: readonly LogEntry[]): Stretch[] {
  const found: Stretch[] = [];
  let name = '';
  for (const [index, entry] of entries.entries()) {
    const segment = readPieceName(entry.name)?.segment ?? '';
    const before = found.at(-1);
    if (before && segment === name) found[found.length - 1] = { ...before, last: index };
    else found.push({ first: index, last: index, timeline: timelineOf(entry.lineage) });
    name = segment;
  }
  return found;
}

/** What is sought in the log: the end of a transaction, or a restore point. */
export type Sought = { readonly xid: number } | { readonly name: string };

/** With the timeline whose log holds it, and the parts of the newer log that could not be read. */
export type FoundMark = WalMark & { readonly timeline: number; readonly unread: readonly string[] };

/**
 * `not here`: all of it was read. `not before`: nothing older of this timeline can hold it either. `no time`: what was read
 * does not hold it, and there is more.
 */
export type SearchResult = FoundMark | 'not here' | 'not before' | 'no time';

/** Reads an archived log backwards and forwards, a segment at a time. */
export class WalSearch {
  private readonly archive: LogArchive;
  private readonly ctx: CallContext;
  private readonly deadline = Date.now() + SEARCH_MILLISECONDS;
  /** Of stretches that were read, by the key of their first entry: timelines share what lies before their fork. */
  private readonly searched = new Set<string>();
  private readonly damaged: { readonly name: string; readonly error: unknown }[] = [];

  constructor(archive: LogArchive, ctx: CallContext) {
    this.archive = archive;
    this.ctx = ctx;
  }

  /**
   * The newest mark that is sought, from the log's end backwards. A damaged piece is passed over, because what lies before it
   * can be restored all the same; see `requireWhole`.
   */
  async newest(entries: readonly LogEntry[], sought: Sought): Promise<SearchResult> {
    let head: Buffer | null = null;
    for (const stretch of stretchesOf(entries).toReversed()) {
      const key = (entries[stretch.last] as LogEntry).key;
      if (this.searched.has(key)) {
        head = null;
        continue;
      }
      if (Date.now() > this.deadline) return 'no time';
      this.ctx.progress({ phase: 'searching the log', note: (entries[stretch.first] as LogEntry).name });
      const read = await this.readOrPass(entries, stretch, head);
      for (const record of read.records.toReversed()) {
        const mark = markOf(record);
        if (mark && ('xid' in sought ? mark.xids.includes(sought.xid) : mark.name === sought.name)) {
          return { ...mark, timeline: stretch.timeline, unread: this.damaged.map(({ name }) => name) };
        }
        const nextXid = 'xid' in sought ? nextXidOf(record) : null;
        // Xids wrap around: the sign of the difference is their order. This one was not given to anybody yet.
        if ('xid' in sought && nextXid !== null && ((sought.xid - nextXid) | 0) >= 0) return 'not before';
      }
      this.searched.add(key);
      head = read.head;
    }
    return 'not here';
  }

  /** For a search that found nothing: throws BackupCorrupt where a piece could not be read, which may hold what is sought. */
  requireWhole(): void {
    const [first] = this.damaged;
    if (first) throw first.error;
  }

  /** The last whole record of the log, and the newest commit before it as far as one is near. Null for an empty log. */
  async last(entries: readonly LogEntry[]): Promise<{ record: WalRecord; time: string | null } | null> {
    let head: Buffer | null = null;
    for (const stretch of stretchesOf(entries).toReversed()) {
      const read = await this.read(entries, stretch, head);
      const record = read.records.at(-1);
      if (record) return { record, time: newestTime(read.records) };
      head = read.head;
    }
    return null;
  }

  /**
   * The first record that begins at `lsn` or after it, and the newest commit that the state holds; null where the log ends
   * before such a record does.
   */
  async at(
    entries: readonly LogEntry[],
    lsn: bigint,
    inclusive: boolean,
  ): Promise<{ record: WalRecord; time: string | null; timeline: number } | null> {
    let time: string | null = null;
    const all = stretchesOf(entries);
    const from = all.findIndex(({ last }) => parseLsn((entries[last] as LogEntry).to.value) > lsn);
    for (const [index, stretch] of all.entries()) {
      if (from === -1 || index < from) continue;
      const after = all[index + 1];
      const next = after ? (await this.read(entries, after, null)).head : null;
      const { records } = await this.read(entries, stretch, next);
      const record = records.find((each) => each.start >= lsn);
      const included = records.filter((each) => each.start < lsn || (inclusive && each === record));
      time = newestTime(included) ?? time;
      if (record) return { record, time, timeline: stretch.timeline };
    }
    return null;
  }

  /** The record that the position before `lsn` belongs to; null where the end of the log does not hold it whole. */
  async before(entries: readonly LogEntry[], lsn: bigint): Promise<WalRecord | null> {
    let head: Buffer | null = null;
    // It may begin in the segment before.
    for (const stretch of stretchesOf(entries).slice(-2).toReversed()) {
      const read = await this.read(entries, stretch, head);
      const record = read.records.findLast((each) => each.start < lsn);
      if (record) return record.end >= lsn ? record : null;
      head = read.head;
    }
    return null;
  }

  private async readOrPass(entries: readonly LogEntry[], stretch: Stretch, next: Buffer | null): Promise<WalStretch> {
    try {
      return await this.read(entries, stretch, next);
    } catch (error) {
      if (!hasCode(error, 'BackupCorrupt')) throw error;
      const { name } = entries[stretch.last] as LogEntry;
      this.ctx.log.warn(
        { error: reasonOf(error), name },
        'a piece of the log cannot be read: it is searched before it',
      );
      this.damaged.push({ name, error });
      return { records: [], head: Buffer.alloc(0) };
    }
  }

  private async read(entries: readonly LogEntry[], stretch: Stretch, next: Buffer | null) {
    const pieces = entries.slice(stretch.first, stretch.last + 1);
    const ranges = pieces.map((entry) => {
      const { from, to } = readPieceName(entry.name) as NonNullable<ReturnType<typeof readPieceName>>;
      return { entry, from, to };
    });
    const from = ranges.reduce((least, each) => (each.from < least ? each.from : least), ranges[0]?.from ?? 0n);
    const to = ranges.reduce((most, each) => (each.to > most ? each.to : most), from);
    const content = Buffer.alloc(Number(to - from));
    const waiting = [...ranges];
    const lane = async () => {
      for (let range = waiting.shift(); range; range = waiting.shift()) {
        this.ctx.signal.throwIfAborted();
        const bytes = await entryBytes(this.archive, range.entry);
        if (BigInt(bytes.length) !== range.to - range.from) {
          throw failure(
            'BackupCorrupt',
            `${range.entry.key} holds ${bytes.length} bytes instead of ${range.to - range.from}`,
          );
        }
        bytes.copy(content, Number(range.from - from));
      }
    };
    await Promise.all(Array.from({ length: Math.min(PARALLEL_SLICES, ranges.length) }, lane));
    return readRecords(content, from, pageBytesOf(content), next);
  }
}

/** Of WAL that begins with a segment, as its first page says it. */
export function pageBytesOf(content: Buffer): number {
  const isFirstOfSegment = content.length >= 40 && (content.readUInt16LE(2) & LONG_HEADER) !== 0;
  const said = isFirstOfSegment ? content.readUInt32LE(LONG_HEADER_PAGE_BYTES_AT) : 0;
  // Any power of two from 1 to 64 KiB (configure --with-wal-blocksize); other values are not a page's beginning.
  return said >= 1024 && said <= 65_536 && (said & (said - 1)) === 0 ? said : PAGE_BYTES;
}

function newestTime(records: readonly WalRecord[]): string | null {
  for (const record of records.toReversed()) {
    const mark = markOf(record);
    if (mark && mark.what === 'committed') return mark.time;
  }
  return null;
}
