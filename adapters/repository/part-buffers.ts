/**
 * Memory for the parts of multipart uploads, shared by all uploads of a repository: buffers left to the garbage collector
 * with each volume pile up faster than it comes (8 MiB each, a collection only after tens of megabytes).
 */
export class PartBuffers {
  readonly #sizeBytes: number;
  readonly #keep: number;
  readonly #free: Buffer[] = [];

  /** Keeps up to `keep` buffers of the usual size; larger parts, of very large objects, are allocated each time. */
  constructor(sizeBytes: number, keep: number) {
    this.#sizeBytes = sizeBytes;
    this.#keep = keep;
  }

  /** A buffer of the usual size, or of exactly this one where it is larger; its content is whatever was there. */
  take(sizeBytes: number): Buffer {
    if (sizeBytes > this.#sizeBytes) return Buffer.allocUnsafeSlow(sizeBytes);
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(this.#sizeBytes);
  }

  /** Gives a buffer back that nobody reads or writes any more. */
  give(buffer: Buffer): void {
    if (buffer.length === this.#sizeBytes && this.#free.length < this.#keep) this.#free.push(buffer);
  }
}
