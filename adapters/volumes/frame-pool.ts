import { ZstdLane } from './zstd-lane';

/** A lane and the content that it compresses, or that is being gathered for it. */
export interface Frame {
  readonly lane: ZstdLane;
  readonly content: Buffer;
}

/**
 * Lanes and buffers that pass from one volume to the next: a dump of small files ends a volume every second or two, and the
 * 6 to 8 MiB of each would pile up faster than the garbage collector comes (2 GB with 60,000 small files: 30 MiB more at
 * the peak). Kept only while some volume is open, so that an idle worker holds none.
 */
export class FramePool {
  readonly #level: number;
  readonly #frameBytes: number;
  readonly #free: Frame[] = [];
  #users = 0;

  constructor(level: number, frameBytes: number) {
    this.#level = level;
    this.#frameBytes = frameBytes;
  }

  open(): void {
    this.#users += 1;
  }

  take(): Frame {
    const free = this.#free.pop();
    if (free) return free;
    const lane = new ZstdLane(this.#level, this.#frameBytes);
    return { lane, content: Buffer.allocUnsafeSlow(this.#frameBytes) };
  }

  /** Takes back what nothing reads or writes any more. A lane that failed, or was left in the middle, is closed instead. */
  give(frame: Frame): void {
    this.#free.push(frame);
  }

  /** Once for each `open`. */
  close(): void {
    this.#users -= 1;
    if (this.#users === 0) for (const { lane } of this.#free.splice(0)) lane.close();
  }
}
