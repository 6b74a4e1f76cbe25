import { promisify } from 'node:util';
import { zstdDecompress } from 'node:zlib';
import { ZstdUnpackLane } from './zstd-unpack-lane';
import { FRAME_BYTES } from './zstd-frames';

const decompress = promisify(zstdDecompress);

/** No frame of a volume is near this, stored or plain; larger ones would break the bound on memory. */
const MAX_FRAME_BYTES = 32 * 2 ** 20;
const PARALLEL_FRAMES = 3;
/** Enough for a frame of ours that shrank to half. */
const INITIAL_BUFFER_BYTES = 2 ** 20;
/** For frames that do not say how much they hold; Node's own 16 KiB would cost a turn of the thread pool each. */
const UNKNOWN_CONTENT_BYTES = 2 * 2 ** 20;
const FRAME_MAGIC = 0xfd2fb528;
const SKIPPABLE_MAGIC = 0x184d2a50;

/** What is wrong with a compressed stream; the caller says where it lies. */
export class ZstdFormatError extends Error {}

/**
 * Undoes `FrameCompressor`, several frames at once, in order. Throws ZstdFormatError for bytes that are not whole frames,
 * also when the stream ends in the middle of one.
 *
 * Node's own `createZstdDecompress` ends silently after the first frame (24.21), so frames are told apart here by walking
 * the block headers (RFC 8878 §3.1.1).
 *
 * `contentBytes`: what a frame may hold at most, for content that is one frame of a known size, such as a WAL segment.
 */
export async function* decompressFrames(
  stored: AsyncIterable<Buffer>,
  contentBytes = MAX_FRAME_BYTES,
): AsyncGenerator<Buffer, void> {
  // What does not compress is stored with 3 bytes more for every block of 128 KiB.
  const maxFrameBytes = Math.max(MAX_FRAME_BYTES, contentBytes + Math.ceil(contentBytes / 4096) + 1024);
  const inFlight: Promise<Buffer>[] = [];
  for await (const frame of splitFrames(stored, [], maxFrameBytes)) {
    inFlight.push(inOneGo(frame, maxFrameBytes));
    if (inFlight.length >= PARALLEL_FRAMES) yield await inFlight.shift()!;
  }
  while (inFlight.length > 0) yield await inFlight.shift()!;
}

/**
 * The same for a reader that is done with each chunk before it asks for the next: the chunk's bytes change then. For large
 * volumes; new buffers for every frame cost more than decompressing them, by page faults and by V8, which collects garbage
 * for every few megabytes that are allocated outside of its heap.
 */
export async function* lendFrames(stored: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void> {
  const free: Buffer[] = [];
  const idle = Array.from({ length: PARALLEL_FRAMES }, () => new ZstdUnpackLane(FRAME_BYTES));
  const lanes = [...idle];
  const inFlight: { readonly content: Promise<Buffer>; readonly lane: ZstdUnpackLane | null }[] = [];
  const start = (frame: Buffer) => {
    const sizeBytes = contentSize(frame);
    const fits = sizeBytes !== null && sizeBytes <= FRAME_BYTES;
    const lane = fits ? (idle.pop() as ZstdUnpackLane) : null;
    const content = (lane ? inLane(lane, frame, sizeBytes as number) : inOneGo(frame)).finally(() =>
      free.push(Buffer.from(frame.buffer)),
    );
    content.catch(() => {}); // reported when its turn comes
    inFlight.push({ content, lane });
  };
  try {
    for await (const frame of splitFrames(stored, free)) {
      if (inFlight.length === PARALLEL_FRAMES) {
        const { content, lane } = inFlight.shift()!;
        yield await content;
        if (lane) idle.push(lane);
      }
      start(frame);
    }
    for (const { content } of inFlight) yield await content;
  } finally {
    // Not under the thread that still works for it.
    await Promise.allSettled(inFlight.map((each) => each.content));
    for (const lane of lanes) lane.close();
  }
}

function inOneGo(frame: Buffer, maxFrameBytes = MAX_FRAME_BYTES): Promise<Buffer> {
  const chunkSize = Math.min(Math.max((contentSize(frame) ?? UNKNOWN_CONTENT_BYTES) + 1, 64), maxFrameBytes);
  const content = decompress(frame, { maxOutputLength: maxFrameBytes, chunkSize }).catch((error: Error) => {
    throw new ZstdFormatError(`zstd: ${error.message}`);
  });
  // It may fail while an earlier frame is awaited; its own await reports it.
  content.catch(() => {});
  return content;
}

async function inLane(lane: ZstdUnpackLane, frame: Buffer, sizeBytes: number): Promise<Buffer> {
  const content = await lane.decompress(frame).catch((error: Error) => {
    throw new ZstdFormatError(`zstd: ${error.message}`);
  });
  if (content.length !== sizeBytes)
    throw new ZstdFormatError(`a frame holds ${content.length} bytes instead of ${sizeBytes}`);
  return content;
}

/** Whole frames, skippable ones left out. Buffers are taken from `free`, where the reader puts those it is done with. */
export async function* splitFrames(
  stored: AsyncIterable<Buffer>,
  free: Buffer[] = [],
  maxFrameBytes = MAX_FRAME_BYTES,
): AsyncGenerator<Buffer, void> {
  let buffer: Buffer = free.pop() ?? Buffer.allocUnsafeSlow(INITIAL_BUFFER_BYTES);
  let filled = 0;
  let needed = 4;
  for await (const chunk of stored) {
    if (filled + chunk.length > buffer.length) buffer = moved(buffer.subarray(0, filled), filled + chunk.length);
    filled += chunk.copy(buffer, filled);
    while (filled >= needed) {
      const end = frameEnd(buffer.subarray(0, filled));
      if (!end.complete) {
        if (end.needed > maxFrameBytes) throw new ZstdFormatError(`a frame is larger than ${maxFrameBytes} bytes`);
        needed = end.needed;
        break;
      }
      // The frame given away keeps the buffer; what follows it moves to another one.
      const rest = moved(buffer.subarray(end.length, filled), INITIAL_BUFFER_BYTES, free.pop());
      if (!end.skippable) yield buffer.subarray(0, end.length);
      buffer = rest;
      filled -= end.length;
      needed = 4;
    }
  }
  if (filled > 0) throw new ZstdFormatError('it ends in the middle of a zstd frame');
}

/** Throws ZstdFormatError unless these bytes are one frame from its beginning to its end. Its content is not looked at. */
export function requireOneFrame(stored: Buffer): void {
  const end = stored.length < 4 ? null : frameEnd(stored);
  if (!end?.complete) throw new ZstdFormatError('it ends in the middle of a zstd frame');
  if (end.skippable || end.length < stored.length) throw new ZstdFormatError('it is not one zstd frame');
}

function moved(bytes: Buffer, capacity: number, free?: Buffer): Buffer {
  const reused = free && free.length >= Math.max(capacity, bytes.length) ? free : null;
  const larger =
    reused ?? Buffer.allocUnsafeSlow(Math.max(capacity, bytes.length, Math.min(2 * bytes.length, MAX_FRAME_BYTES)));
  bytes.copy(larger);
  return larger;
}

type FrameEnd =
  | { readonly complete: true; readonly length: number; readonly skippable: boolean }
  | { readonly complete: false; readonly needed: number };

/** Where the frame at the start of the buffer ends, or how many bytes are needed to know more. */
function frameEnd(buffer: Buffer): FrameEnd {
  const magic = buffer.readUInt32LE(0);
  if ((magic & 0xfffffff0) >>> 0 === SKIPPABLE_MAGIC) {
    if (buffer.length < 8) return { complete: false, needed: 8 };
    const length = 8 + buffer.readUInt32LE(4);
    return buffer.length < length ? { complete: false, needed: length } : { complete: true, length, skippable: true };
  }
  if (magic !== FRAME_MAGIC) throw new ZstdFormatError('there are bytes that are no zstd frame');
  if (buffer.length < 5) return { complete: false, needed: 5 };
  const descriptor = buffer[4]!;
  const singleSegment = (descriptor & 0x20) !== 0;
  const contentSizeBytes = [singleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6]!;
  const headerBytes = 5 + (singleSegment ? 0 : 1) + [0, 1, 2, 4][descriptor & 3]! + contentSizeBytes;
  for (let at = headerBytes; ;) {
    if (buffer.length < at + 3) return { complete: false, needed: at + 3 };
    const header = buffer.readUIntLE(at, 3);
    const isLast = (header & 1) === 1;
    const isRunLength = ((header >> 1) & 3) === 1;
    at += 3 + (isRunLength ? 1 : header >> 3);
    if (!isLast) continue;
    const length = at + ((descriptor & 4) !== 0 ? 4 : 0);
    return buffer.length < length ? { complete: false, needed: length } : { complete: true, length, skippable: false };
  }
}

/** What the frame's header says it holds, which may be damaged; null where it does not say. */
function contentSize(frame: Buffer): number | null {
  const descriptor = frame[4]!;
  const singleSegment = (descriptor & 0x20) !== 0;
  const at = 5 + (singleSegment ? 0 : 1) + [0, 1, 2, 4][descriptor & 3]!;
  const kind = descriptor >> 6;
  if (kind === 0) return singleSegment ? frame[at]! : null;
  if (kind === 1) return frame.readUInt16LE(at) + 256;
  return kind === 2 ? frame.readUInt32LE(at) : Number(frame.readBigUInt64LE(at));
}
