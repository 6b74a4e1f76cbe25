import { failure } from '../../../core/errors';
import type { SocketReader } from './socket-reader';

const MARK_BYTES = 40;

/**
 * The RDB that follows `+FULLRESYNC`, in both forms of the protocol (redis, replication.c `readSyncBulkPayload`): `$<len>`
 * from a file, or `$EOF:<40 bytes>` from a diskless sync, which ends where the same 40 bytes come again. The server sends
 * nothing behind the mark before a replica's first acknowledgement, which we never send, so the mark ends a chunk.
 * Throws BackupIncomplete for what is no whole RDB.
 */
export async function* receiveRdb(reader: SocketReader, peer: string): AsyncGenerator<Buffer, void, undefined> {
  const header = await reader.line();
  const check = new RdbShape(peer);
  const fixed = /^\$(\d+)$/.exec(header)?.[1];
  const mark = /^\$EOF:(.{40})$/.exec(header)?.[1];
  if (fixed !== undefined) {
    for await (const part of take(reader, Number(fixed))) yield check.see(part);
  } else if (mark !== undefined) {
    for await (const part of takeUntil(reader, Buffer.from(mark, 'latin1'))) yield check.see(part);
  } else {
    throw failure('TargetUnreachable', `Redis at ${peer} announced no RDB but "${header.slice(0, 200)}"`);
  }
  check.finish();
}

async function* take(reader: SocketReader, length: number): AsyncGenerator<Buffer> {
  for (let left = length; left > 0;) {
    const chunk = await reader.chunk();
    if (chunk.length > left) reader.unread(chunk.subarray(left));
    const part = chunk.length > left ? chunk.subarray(0, left) : chunk;
    left -= part.length;
    yield part;
  }
}

async function* takeUntil(reader: SocketReader, mark: Buffer): AsyncGenerator<Buffer> {
  let held: Buffer = Buffer.alloc(0);
  for (;;) {
    const chunk = await reader.chunk();
    const seen = Buffer.concat([held, chunk]);
    const cut = Math.max(0, seen.length - MARK_BYTES);
    held = seen.subarray(cut);
    if (cut > 0) yield seen.subarray(0, cut);
    if (held.equals(mark)) return;
  }
}

/** First and last bytes of an RDB: magic, and the end opcode before the 8 bytes of its own CRC-64 (rdb.c `rdbSaveRio`). */
class RdbShape {
  readonly #peer: string;
  #head: Buffer = Buffer.alloc(0);
  #tail: Buffer = Buffer.alloc(0);

  constructor(peer: string) {
    this.#peer = peer;
  }

  see(part: Buffer): Buffer {
    if (this.#head.length < 9) this.#head = Buffer.concat([this.#head, part.subarray(0, 9 - this.#head.length)]);
    this.#tail = Buffer.concat([this.#tail, part.subarray(-9)]).subarray(-9);
    return part;
  }

  finish(): void {
    const magic = /^(REDIS\d{4}|VALKEY\d{3})$/.test(this.#head.toString('latin1'));
    if (magic && this.#tail.length === 9 && this.#tail[0] === 0xff) return;
    throw failure('BackupIncomplete', `the dump that Redis at ${this.#peer} sent is not a whole RDB`);
  }
}
