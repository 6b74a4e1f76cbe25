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

  /** A buffer of exactly this size; its content is whatever was there. */
  take(sizeBytes: number): Buffer {
    return (sizeBytes === this.#sizeBytes ? this.#free.pop() : undefined) ?? Buffer.allocUnsafeSlow(sizeBytes);
  }

  /** Gives a buffer back that nobody reads or writes any more. */
  give(buffer: Buffer): void {
    if (buffer.length === this.#sizeBytes && this.#free.length < this.#keep) this.#free.push(buffer);
  }
}
