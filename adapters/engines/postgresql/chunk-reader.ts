/**
 * Takes bytes of a stream as they are asked for. What it gives holds until it is asked again: nothing is copied. Throws the
 * signal's reason once that is aborted.
 */
export class ChunkReader {
  private readonly chunks: AsyncIterator<Buffer>;
  private readonly signal: AbortSignal;
  private rest: Buffer = Buffer.alloc(0);

  constructor(stream: AsyncIterable<Buffer>, signal: AbortSignal) {
    this.signal = signal;
    this.chunks = stream[Symbol.asyncIterator]();
  }

  /** At least one and at most `limit` bytes; null at the end. */
  async some(limit: number): Promise<Buffer | null> {
    while (this.rest.length === 0) {
      this.signal.throwIfAborted();
      const next = await this.chunks.next();
      if (next.done) return null;
      this.rest = next.value;
    }
    const taken = this.rest.subarray(0, limit);
    this.rest = this.rest.subarray(taken.length);
    return taken;
  }

  /** Null when the stream ends before; for headers, which are small. */
  async exactly(length: number): Promise<Buffer | null> {
    if (this.rest.length >= length) return this.some(length);
    const gathered = Buffer.allocUnsafe(length);
    for (let filled = 0; filled < length;) {
      const part = await this.some(length - filled);
      if (part === null) return null;
      filled += part.copy(gathered, filled);
    }
    return gathered;
  }

  /** False when the stream ends before. */
  async skip(length: number): Promise<boolean> {
    for (let left = length; left > 0;) {
      const part = await this.some(left);
      if (part === null) return false;
      left -= part.length;
    }
    return true;
  }

  /** Ends the stream, whether it was read to its end or not. */
  async close(): Promise<void> {
    await this.chunks.return?.();
  }
}
