import { Transform } from 'node:stream';
import { admittedTypes, plainName, type VolumeRole } from './archive-gate';
import { readPaxRecords, readTarHeader, TAR_BLOCK } from './tar-member';

/**
 * Passes on what tar writes, except members that no restore would take: between the walk and the reading a file may have been
 * replaced by a link or a directory, and a volume with such a member would be refused as a whole. Notes what it passed, which
 * is what the volume holds.
 */
export class StoredMembers extends Transform {
  /** Names in bytes as latin1, without a slash at the end. */
  readonly stored = new Set<string>();
  readonly replaced: Buffer[] = [];
  readonly #volume: string;
  readonly #types: string;
  /** Of a header that is not complete. */
  #held: Buffer = Buffer.alloc(0);
  #extendedBytes = 0;
  #bodyBytes = 0;
  #isPassed = true;

  constructor(volume: string, role: VolumeRole, devices: boolean) {
    super();
    this.#volume = volume;
    this.#types = admittedTypes(role, devices);
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
    if (block[0] === 0 && block[156] === 0) return this.#pass(held, 0); // the end, and what fills tar's last record
    const header = readTarHeader(block, this.#volume);
    if (header.type === 'x') {
      // One whole record: the header itself, its content, and then the member's own header.
      this.#extendedBytes = TAR_BLOCK + padded(header.sizeBytes);
      return;
    }
    const records = this.#extendedBytes > 0 ? readPaxRecords(contentOf(held, this.#volume), this.#volume) : null;
    const name = plainName(records?.get('GNU.sparse.name') ?? records?.get('path') ?? header.name);
    this.#isPassed = this.#types.includes(header.type);
    if (this.#isPassed) this.stored.add(name);
    else this.replaced.push(Buffer.from(name, 'latin1'));
    this.#pass(held, padded(Number(records?.get('size') ?? header.sizeBytes)));
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
