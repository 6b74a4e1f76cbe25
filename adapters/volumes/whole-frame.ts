import { createHash } from 'node:crypto';
import { SpareLanes } from './spare-lanes';
import { requireOneFrame, ZstdFormatError } from './zstd-frame-reader';
import { ZstdLane } from './zstd-lane';
import { ZstdUnpackLane } from './zstd-unpack-lane';

/** By level. One store's archiver stores one segment after the other. */
const packing = new Map<number, SpareLanes<ZstdLane>>();
/** A restore fetches four segments at once (wal-feed.ts). */
const unpacking = new SpareLanes((contentBytes) => new ZstdUnpackLane(contentBytes), 4);

let lastProof: Promise<unknown> = Promise.resolve();

/** Compresses content into one frame, whose bytes hold until `use` resolves. */
export function packWhole<T>(content: Uint8Array, level: number, use: (stored: Buffer) => Promise<T>): Promise<T> {
  const lanes = packing.get(level) ?? new SpareLanes((contentBytes) => new ZstdLane(level, contentBytes), 1);
  packing.set(level, lanes);
  return lanes.lend(content.byteLength, async (lane) => use(await lane.compress(content)));
}

/** What one stored frame of `contentBytes` holds, until `use` resolves. Throws ZstdFormatError for a damaged one. */
export async function unpackWhole<T>(
  frame: Buffer,
  contentBytes: number,
  use: (content: Buffer) => Promise<T>,
): Promise<T> {
  // A lane gives content as it comes: without the frame's end it says nothing of the checksum there, and takes the beginning of
  // the next frame for it.
  requireOneFrame(frame);
  return unpacking.lend(contentBytes, async (lane) => {
    const content = await lane.decompress(frame).catch((error: Error) => {
      throw new ZstdFormatError(`zstd: ${error.message}`);
    });
    if (content.length !== contentBytes)
      throw new ZstdFormatError(`it holds ${content.length} bytes instead of ${contentBytes}`);
    return use(content);
  });
}

/**
 * The SHA-256 of what one stored frame of `contentBytes` holds. Throws ZstdFormatError for a damaged one. One after the other,
 * whoever asks: three buffers of 16 MiB at once were the peak of a worker's memory.
 */
export function provenDigest(frame: Buffer, contentBytes: number): Promise<string> {
  const digest = async (content: Buffer) => createHash('sha256').update(content).digest('hex');
  const proven = lastProof.then(() => unpackWhole(frame, contentBytes, digest));
  lastProof = proven.catch(() => {});
  return proven;
}
