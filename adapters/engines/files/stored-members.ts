import { Transform } from 'node:stream';
import { failure } from '../../../core/errors';
import { plainName } from './archive-gate';
import type { AsFound } from './as-found';
import { readPaxRecords, readTarHeader, TAR_BLOCK } from './tar-member';
import { printable } from './tree-walk';

/**
 * Passes on what tar writes, except members that are not what the walk found: a file may have been replaced by a link or a
 * directory since, and a volume with such a member would be refused as a whole; or a directory above it by a link, which tar
 * follows to wherever it points.
 */
export class StoredMembers extends Transform {
  readonly replaced: Buffer[] = [];
  readonly #volume: string;
  readonly #found: AsFound;
  /** Of a header that is not complete. */
  #held: Buffer = Buffer.alloc(0);
  #extendedBytes = 0;
  #bodyBytes = 0;
  #isPassed = true;

  constructor(volume: string, found: AsFound) {
    super();
    this.#volume = volume;
    this.#found = found;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    try {
      let rest = chunk;
      while (rest.length > 0) rest = this.#bodyBytes > 0 ? this.#body(rest) : this.#header(rest);
      done();
    } catch (error) {
      done(error as Error);
    }
  }

  #body(rest: Buffer): Buffer {
    const part = rest.subarray(0, this.#bodyBytes);
    this.#bodyBytes -= part.length;
    if (this.#isPassed) this.push(part);
    return rest.subarray(part.length);
  }

  /** An extended header is held until the member that it is of is known. */
  #header(rest: Buffer): Buffer {
    const whole = this.#extendedBytes + TAR_BLOCK;
    const wanted = whole - this.#held.length;
    const part = rest.subarray(0, wanted);
    this.#held = this.#held.length === 0 ? part : Buffer.concat([this.#held, part]);
    if (this.#held.length === whole) this.#judge(this.#held);
    return rest.subarray(wanted);
  }

  #judge(held: Buffer): void {
    const block = held.subarray(this.#extendedBytes);
    if (block[0] === 0 && block[156] === 0) {
      this.#isPassed = true; // the end, and what fills tar's last record
      return this.#pass(held, 0);
    }
    const header = readTarHeader(block, this.#volume);
    if (header.type === 'x') {
      // One whole record: the header itself, its content, and then the member's own header.
      this.#extendedBytes = TAR_BLOCK + padded(header.sizeBytes);
      return;
    }
    const records = this.#extendedBytes > 0 ? readPaxRecords(contentOf(held, this.#volume), this.#volume) : null;
    const name = plainName(records?.get('GNU.sparse.name') ?? records?.get('path') ?? header.name);
    this.#isPassed = this.#found.isAsFound(name, header.type);
    if (this.#isPassed && header.type === '1') this.#requireStored(records?.get('linkpath') ?? header.linkName);
    if (!this.#isPassed) this.replaced.push(Buffer.from(name, 'latin1'));
    this.#pass(held, padded(Number(records?.get('size') ?? header.sizeBytes)));
  }

  /** The other name of a hard link. With it left out no restore could make this one; the next attempt finds what is there then. */
  #requireStored(linkName: string): void {
    const other = Buffer.from(plainName(linkName), 'latin1');
    if (!this.replaced.some((each) => each.equals(other))) return;
    throw failure('BackupIncomplete', `/${printable(other)} was replaced while another name of the same file was read`);
  }

  #pass(held: Buffer, bodyBytes: number): void {
    if (this.#isPassed) this.push(held);
    [this.#held, this.#extendedBytes, this.#bodyBytes] = [Buffer.alloc(0), 0, bodyBytes];
  }
}

function contentOf(held: Buffer, volume: string): Buffer {
  const { sizeBytes } = readTarHeader(held.subarray(0, TAR_BLOCK), volume);
  return held.subarray(TAR_BLOCK, TAR_BLOCK + sizeBytes);
}

const padded = (sizeBytes: number) => Math.ceil(sizeBytes / TAR_BLOCK) * TAR_BLOCK;
