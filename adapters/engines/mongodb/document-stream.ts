import type { Readable } from 'node:stream';
import { failure } from '../../../core/errors';

/** The greatest document a server makes (16 MB and 16 KB for its own); a longer length means damaged bytes. */
const MAX_DOCUMENT_BYTES = 16 * 1024 * 1024 + 64 * 1024;

/** Bytes of a stream, taken by length, gathered without copying more than the piece that crosses two chunks. */
export class ByteReader {
  private readonly chunks: AsyncIterator<Buffer>;
  private readonly what: string;
  private held: Buffer = Buffer.alloc(0);

  constructor(chunks: AsyncIterator<Buffer>, what: string) {
    this.chunks = chunks;
    this.what = what;
  }

  /** False at a clean end of the stream; throws BackupCorrupt when it ends within `count` bytes. */
  async has(count: number): Promise<boolean> {
    if (this.held.length >= count) return true;
    const parts = [this.held];
    let length = this.held.length;
    while (length < count) {
      const next = await this.chunks.next();
      if (next.done) {
        if (length === 0) return false;
        throw failure('BackupCorrupt', `${this.what} ends in the middle of a document`);
      }
      parts.push(next.value);
      length += next.value.length;
    }
    this.held = Buffer.concat(parts, length);
    return true;
  }

  async take(count: number): Promise<Buffer> {
    if (!(await this.has(count))) throw failure('BackupCorrupt', `${this.what} ends too early`);
    const taken = this.held.subarray(0, count);
    this.held = this.held.subarray(count);
    return taken;
  }

  /** One document; null at the terminator of a block or at the end of the stream. */
  async document(): Promise<Buffer | null> {
    if (!(await this.has(4))) return null;
    const length = this.held.readInt32LE(0);
    if (length === -1) {
      await this.take(4);
      return null;
    }
    this.check(length);
    return this.take(length);
  }

  /** As many whole documents as lie together in memory, at least one; null as for `document`. */
  async documents(): Promise<Buffer | null> {
    if (!(await this.has(4))) return null;
    const first = this.held.readInt32LE(0);
    if (first === -1) {
      await this.take(4);
      return null;
    }
    this.check(first);
    await this.has(first);
    let endAt = first;
    while (this.held.length >= endAt + 4) {
      const length = this.held.readInt32LE(endAt);
      if (length === -1) break;
      this.check(length);
      if (this.held.length < endAt + length) break;
      endAt += length;
    }
    return this.take(endAt);
  }

  private check(length: number): void {
    if (length < 5 || length > MAX_DOCUMENT_BYTES) {
      throw failure('BackupCorrupt', `${this.what} holds a document of impossible length ${length}`);
    }
  }
}

/** The chunks of a stream, for a `ByteReader` or to be read to the end past one that gave up. */
export function chunksOf(stream: Readable): AsyncIterator<Buffer> {
  return stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
}
