/**
 * Reads the records of a stretch of WAL, as far as choosing a recovery target needs them. Layouts: access/xlogrecord.h,
 * xlog_internal.h, xact.h, xlog_internal.h (xl_restore_point) and storage/standbydefs.h, the same in PostgreSQL 15 to 18.
 * All numbers are little-endian: what another machine wrote could not be restored here either.
 */
export interface WalRecord {
  /** Where it begins: what `recovery_target_lsn` is compared with. */
  readonly start: bigint;
  /** A position after it: the first one, or where it reaches into the next segment some bytes later. */
  readonly end: bigint;
  readonly resourceManager: number;
  readonly info: number;
  readonly xid: number;
  /** Its main data, or the beginning of it; empty for a record that describes blocks first. */
  readonly data: Buffer;
  /** All of it, or the beginning: its header, what it says of blocks, its data. */
  readonly bytes: Buffer;
}

export interface WalStretch {
  /** Whole records in log order. One that is still open at the end of the stretch is not among them. */
  readonly records: readonly WalRecord[];
  /** The rest of a record that began before this stretch: what completes the last one of the stretch before. */
  readonly head: Buffer;
}

const PAGE_HEADER_BYTES = 24;
/** configure --with-wal-blocksize */
const SMALLEST_PAGE_BYTES = 1024;
const FIRST_IS_CONTINUATION = 0x1;
const LONG_HEADER = 0x2;
const LONG_PAGE_HEADER_BYTES = 40;
export const RECORD_HEADER_BYTES = 24;
const RESOURCE_MANAGER_XLOG = 0;
const XLOG_SWITCH = 0x40;

/** xlogrecord.h: how the main data is announced, after what may stand before it. */
const DATA_SHORT = 255;
const DATA_LONG = 254;
export const ORIGIN = 253;
export const TOPLEVEL_XID = 252;

/** Enough of a record's data for what is asked of it; a commit of thousands of subtransactions is not kept whole. */
const KEPT_BYTES = 64 * 1024;

const align = (length: number) => (length + 7) & ~7;

/**
 * `content` is the WAL from `from` on, of one timeline and at most one segment. `next` is the `head` of the stretch after it:
 * with it the last record is whole too. Stops at what is not WAL any more (zeros after a switch or at the log's end).
 */
export function readRecords(content: Buffer, from: bigint, pageBytes: number, next: Buffer | null): WalStretch {
  const reader = new RecordReader();
  const first = Number((BigInt(pageBytes) - (from % BigInt(pageBytes))) % BigInt(pageBytes));
  for (let at = first; at + PAGE_HEADER_BYTES <= content.length && !reader.ended; at += pageBytes) {
    const page = content.subarray(at, at + pageBytes);
    const address = from + BigInt(at);
    if (page.readUInt16LE(0) === 0 || page.readBigUInt64LE(8) !== address) break;
    reader.page(page, address);
  }
  if (next && next.length > 0) reader.complete(next);
  return { records: reader.records, head: Buffer.concat(reader.head) };
}

interface OpenRecord {
  readonly start: bigint;
  readonly length: number;
  readonly parts: Buffer[];
  missing: number;
}

class RecordReader {
  readonly records: WalRecord[] = [];
  readonly head: Buffer[] = [];
  ended = false;
  private open: OpenRecord | null = null;
  private begun = false;

  page(page: Buffer, address: bigint): void {
    const flags = page.readUInt16LE(2);
    const continued = (flags & FIRST_IS_CONTINUATION) !== 0;
    const rest = page.readUInt32LE(16);
    let at = (flags & LONG_HEADER) === 0 ? PAGE_HEADER_BYTES : LONG_PAGE_HEADER_BYTES;
    // A record that a crash cut off is not continued: the page then begins with another one.
    if (this.open && (!continued || rest !== this.open.missing)) this.open = null;
    if (continued) {
      const part = page.subarray(at, at + rest);
      if (this.open) this.add(part, address + BigInt(align(at + part.length)));
      else if (!this.begun) this.head.push(part);
      if (part.length < rest) return;
      at = align(at + rest);
    }
    this.begun = true;
    while (at + 4 <= page.length && !this.ended) {
      const length = page.readUInt32LE(at);
      if (length < RECORD_HEADER_BYTES) {
        this.ended = true; // zeros: nothing was written here
        return;
      }
      const start = address + BigInt(at);
      const part = page.subarray(at, at + length);
      this.open = { start, length, parts: [], missing: length };
      this.add(part, address + BigInt(align(at + length)));
      at = align(at + length);
    }
  }

  /** Completes the last record with what the next stretch begins with. Its end is not exact then, and never too early. */
  complete(next: Buffer): void {
    const { open } = this;
    if (!open || open.missing !== next.length) return;
    const pages = BigInt(Math.ceil(open.length / SMALLEST_PAGE_BYTES) + 1);
    this.add(next, open.start + BigInt(align(open.length)) + pages * BigInt(LONG_PAGE_HEADER_BYTES));
  }

  private add(part: Buffer, end: bigint): void {
    const open = this.open as OpenRecord;
    const kept = open.length - open.missing;
    if (kept < KEPT_BYTES) open.parts.push(part);
    open.missing -= part.length;
    if (open.missing > 0) return;
    this.open = null;
    const record = parse(open, end);
    this.records.push(record);
    // The rest of its segment is empty.
    if (record.resourceManager === RESOURCE_MANAGER_XLOG && (record.info & 0xf0) === XLOG_SWITCH) this.ended = true;
  }
}

function parse({ start, parts }: OpenRecord, end: bigint): WalRecord {
  const bytes = parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
  return {
    start,
    end,
    xid: bytes.readUInt32LE(4),
    info: bytes.readUInt8(16),
    resourceManager: bytes.readUInt8(17),
    data: mainData(bytes),
    bytes,
  };
}

function mainData(bytes: Buffer): Buffer {
  for (let at = RECORD_HEADER_BYTES; at + 2 <= bytes.length;) {
    switch (bytes[at]) {
      case ORIGIN:
        at += 3;
        break;
      case TOPLEVEL_XID:
        at += 5;
        break;
      case DATA_SHORT:
        return bytes.subarray(at + 2);
      case DATA_LONG:
        return bytes.subarray(at + 5);
      default:
        return Buffer.alloc(0);
    }
  }
  return Buffer.alloc(0);
}
