import { writeSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { failure } from '../../../core/errors';

/** basebackup_incremental.h INCREMENTAL_MAGIC. */
const MAGIC = 0xd3ae1f0d;
/** Magic, number of blocks, truncation length; the numbers of the blocks follow. A file without changes is no longer. */
const FIXED_BYTES = 12;
const BLOCK_BYTES = 8_192;
/** pg_config.h RELSEG_SIZE: a file has no more blocks than this. */
const MOST_BLOCKS = 131_072;
/** Runs shorter than this are written at once: that takes microseconds, and a turn of the thread pool many times that. */
const AT_ONCE_BYTES = 64 * 1024;

/**
 * Writes the blocks of one `INCREMENTAL.…` file over the file that the earlier backups of its chain gave, while its bytes go
 * by. The result is byte by byte what pg_combinebackup makes (reconstruct.c), without another copy of everything that did
 * not change: only the newest backup settles how long the file is.
 */
export class ChangedBlocks {
  private readonly file: FileHandle;
  private readonly last: boolean;
  private readonly where: string;
  private header: Buffer = Buffer.alloc(FIXED_BYTES);
  private headerFilled = 0;
  private numbers: Uint32Array | null = null;
  /** Of the content behind the header, already written. */
  private written = 0;

  constructor(file: FileHandle, options: { readonly last: boolean; readonly where: string }) {
    this.file = file;
    this.last = options.last;
    this.where = options.where;
  }

  async write(bytes: Buffer): Promise<void> {
    let at = 0;
    while (this.numbers === null && at < bytes.length) {
      const copied = bytes.copy(this.header, this.headerFilled, at);
      at += copied;
      this.headerFilled += copied;
      if (this.headerFilled === this.header.length) await this.readHeader();
    }
    while (at < bytes.length) {
      const { position, length } = this.run(bytes.length - at);
      if (length <= AT_ONCE_BYTES) writeWholly(this.file.fd, bytes.subarray(at, at + length), position);
      else await writeAll(this.file, bytes.subarray(at, at + length), position);
      at += length;
      this.written += length;
    }
  }

  /** Throws BackupCorrupt for a file that ended before its last block. */
  end(): void {
    if (this.numbers === null || this.written !== this.numbers.length * BLOCK_BYTES)
      throw this.corrupt('it is cut off');
  }

  /** The header is gathered twice: first its fixed part, then, as long as that says, all of it. */
  private async readHeader(): Promise<void> {
    const count = this.header.readUInt32LE(4);
    const truncated = this.header.readUInt32LE(8);
    if (this.header.readUInt32LE(0) !== MAGIC || count > MOST_BLOCKS || truncated > MOST_BLOCKS) {
      throw this.corrupt('it does not begin as a file of changed blocks does');
    }
    const length = count === 0 ? FIXED_BYTES : roundedUp(FIXED_BYTES + 4 * count);
    if (this.header.length < length) {
      this.header = Buffer.concat([this.header, Buffer.alloc(length - FIXED_BYTES)]);
      return;
    }
    const numbers = new Uint32Array(count);
    for (let each = 0; each < count; each += 1) numbers[each] = this.header.readUInt32LE(FIXED_BYTES + 4 * each);
    if (numbers.some((each) => each >= MOST_BLOCKS)) throw this.corrupt('it names a block that no file has');
    if (this.last) {
      const blocks = numbers.reduce((most, each) => Math.max(most, each + 1), truncated);
      const { size } = await this.file.stat();
      // First shorter, so that no earlier block lies between those that came later.
      if (size > truncated * BLOCK_BYTES) await this.file.truncate(truncated * BLOCK_BYTES);
      if (size !== blocks * BLOCK_BYTES) await this.file.truncate(blocks * BLOCK_BYTES);
    }
    this.numbers = numbers;
  }

  /** Where the next bytes go, and how many of them in a row. */
  private run(available: number): { position: number; length: number } {
    const numbers = this.numbers as Uint32Array;
    const first = Math.floor(this.written / BLOCK_BYTES);
    if (first >= numbers.length) throw this.corrupt('it is longer than its header says');
    const within = this.written % BLOCK_BYTES;
    let length = BLOCK_BYTES - within;
    for (let next = first + 1; length < available && numbers[next] === (numbers[next - 1] as number) + 1; next += 1) {
      length += BLOCK_BYTES;
    }
    return { position: (numbers[first] as number) * BLOCK_BYTES + within, length: Math.min(length, available) };
  }

  private corrupt(why: string): Error {
    return failure('BackupCorrupt', `${this.where}: ${why}`);
  }
}

/** Whether nothing is to be done for a file of this size, of which there are hundreds in every incremental backup. */
export function saysNothing(sizeBytes: number, last: boolean): boolean {
  return sizeBytes === FIXED_BYTES && !last;
}

export async function writeAll(handle: FileHandle, chunk: Buffer, position: number): Promise<void> {
  for (let at = 0; at < chunk.length;) {
    at += (await handle.write(chunk, at, chunk.length - at, position + at)).bytesWritten;
  }
}

function writeWholly(fd: number, chunk: Buffer, position: number): void {
  for (let at = 0; at < chunk.length;) at += writeSync(fd, chunk, at, chunk.length - at, position + at);
}

function roundedUp(bytes: number): number {
  return Math.ceil(bytes / BLOCK_BYTES) * BLOCK_BYTES;
}
