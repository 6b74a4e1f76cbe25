import { failure } from '../../../core/errors';
import { floorToSegment, formatLsn } from './lsn';

/** The part of one segment that has been received. `bytes` starts at the segment's first position. */
export interface SegmentPart {
  readonly start: bigint;
  readonly bytes: Buffer;
  /** First position not received. */
  readonly end: bigint;
  readonly whole: boolean;
}

/**
 * Puts streamed WAL together into segments. Memory: one buffer a segment that was not released yet; the caller pauses the
 * stream when `backlog` grows.
 */
export class WalCollector {
  readonly segmentBytes: bigint;
  private readonly complete: SegmentPart[] = [];
  /** The buffer to fill next: segments of 16 MB left to the garbage collector add up before it comes. */
  private spare: Buffer | null = null;
  private segmentStart: bigint;
  private buffer: Buffer;
  private next: bigint;

  /** `from` is the first position of a segment. */
  constructor(from: bigint, segmentBytes: bigint) {
    this.segmentBytes = segmentBytes;
    this.segmentStart = floorToSegment(from, segmentBytes);
    this.next = from;
    this.buffer = Buffer.allocUnsafe(Number(segmentBytes));
  }

  /** Complete segments that wait to be taken. */
  get backlog(): number {
    return this.complete.length;
  }

  /** First position not received. */
  get received(): bigint {
    return this.next;
  }

  add(at: bigint, bytes: Buffer): void {
    if (at !== this.next) {
      throw failure('LogGap', `the server sent WAL from ${formatLsn(at)} where ${formatLsn(this.next)} was next`);
    }
    for (let offset = 0; offset < bytes.length;) {
      const inSegment = Number(this.next - this.segmentStart);
      const copied = bytes.copy(this.buffer, inSegment, offset);
      offset += copied;
      this.next += BigInt(copied);
      if (this.next === this.segmentStart + this.segmentBytes) this.roll();
    }
  }

  /** The oldest complete segment, once. */
  takeSegment(): SegmentPart | null {
    return this.complete.shift() ?? null;
  }

  /** A segment that was taken is stored: its bytes may be overwritten. */
  release(part: SegmentPart): void {
    this.spare = part.bytes;
  }

  /** The incomplete segment as far as it was received. Its bytes do not change any more. */
  current(): SegmentPart {
    return { start: this.segmentStart, bytes: this.buffer, end: this.next, whole: false };
  }

  private roll(): void {
    this.complete.push({ start: this.segmentStart, bytes: this.buffer, end: this.next, whole: true });
    this.segmentStart = this.next;
    this.buffer = this.spare ?? Buffer.allocUnsafe(Number(this.segmentBytes));
    this.spare = null;
  }
}
