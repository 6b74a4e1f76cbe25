import { promisify } from 'node:util';
import { constants, zstdCompress } from 'node:zlib';
import { type Frame, FramePool } from './frame-pool';

const compress = promisify(zstdCompress);

/**
 * Content bytes of one frame, which is what a reader must hold. Frames of 1, 2 and 4 MiB of a shop's rows came out within
 * 2 % of each other; eight are held twice over (content and frame) while two volumes are written.
 */
export const FRAME_BYTES = 2 ** 20;

/** Frames compressed at once for one volume: one more than the cores of a small machine, to keep them busy. */
const PARALLEL_FRAMES = 3;

export interface ZstdOptions {
  readonly level: number;
}

/**
 * One frame for small content, complete by itself: `zstd -d` accepts any number of them in a row. It carries zstd's own
 * checksum.
 */
export function zstdFrame(content: Uint8Array, { level }: ZstdOptions): Promise<Buffer> {
  const params = { [constants.ZSTD_c_compressionLevel]: level, [constants.ZSTD_c_checksumFlag]: 1 };
  // A buffer as long as the content would be empty for the most part; the pieces are joined, which costs less.
  return compress(content, { chunkSize: Math.min(content.byteLength + 1024, FRAME_BYTES), params });
}

/** One of each level, for the whole process. */
const pools = new Map<number, FramePool>();

function poolOf(level: number): FramePool {
  const pool = pools.get(level) ?? new FramePool(level, FRAME_BYTES);
  pools.set(level, pool);
  return pool;
}

/**
 * Cuts content into frames, compresses several at once on Node's thread pool, and emits them in order; what is emitted holds
 * until `emit` resolves. Memory is bounded: `write` and `end` resolve only when there is room. One caller at a time, as a
 * Writable guarantees. `close` it in the end.
 */
export class FrameCompressor {
  readonly #pool: FramePool;
  readonly #emit: (stored: Buffer) => Promise<void>;
  readonly #inFlight: { readonly frame: Frame; readonly stored: Promise<Buffer> }[] = [];
  /** Those that are being compressed or emitted, or failed at it: closed with the compressor, not given on. */
  readonly #busy = new Set<Frame>();
  #current: Frame | null = null;
  #filled = 0;
  #frames = 0;
  #closed = false;

  constructor({ level }: ZstdOptions, emit: (stored: Buffer) => Promise<void>) {
    this.#pool = poolOf(level);
    this.#pool.open();
    this.#emit = emit;
  }

  async write(chunk: Buffer): Promise<void> {
    for (let taken = 0; taken < chunk.length;) {
      this.#current ??= this.#pool.take();
      const copied = chunk.copy(this.#current.content, this.#filled, taken);
      taken += copied;
      this.#filled += copied;
      if (this.#filled === FRAME_BYTES) await this.#startFrame(this.#current);
    }
  }

  /** Emits what is left. Empty content makes one empty frame, because a file without a frame is not a zstd file. */
  async end(): Promise<void> {
    if (this.#filled > 0 || this.#frames === 0) await this.#startFrame(this.#current ?? this.#pool.take());
    while (this.#inFlight.length > 0) await this.#emitOldest();
  }

  /** Gives the contexts back; what is still being compressed is lost. May be repeated. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const { lane } of this.#busy) lane.close();
    if (this.#current) this.#pool.give(this.#current);
    this.#current = null;
    this.#pool.close();
  }

  async #startFrame(frame: Frame): Promise<void> {
    this.#busy.add(frame);
    const stored = frame.lane.compress(frame.content.subarray(0, this.#filled));
    // It may fail while nobody awaits it yet; #emitOldest meets the error when it is its turn.
    stored.catch(() => {});
    this.#inFlight.push({ frame, stored });
    this.#frames += 1;
    this.#current = null;
    this.#filled = 0;
    while (this.#inFlight.length >= PARALLEL_FRAMES) await this.#emitOldest();
  }

  async #emitOldest(): Promise<void> {
    const oldest = this.#inFlight.shift();
    if (!oldest) return;
    await this.#emit(await oldest.stored);
    // A closed lane belongs to nobody any more.
    if (this.#closed) return;
    this.#busy.delete(oldest.frame);
    this.#pool.give(oldest.frame);
  }
}
