import { createHash } from 'node:crypto';
import { requireOneFrame, ZstdFormatError } from './zstd-frame-reader';
import { ZstdUnpackLane } from './zstd-unpack-lane';

/** An archiver completes a segment every few seconds under load; a buffer that is idle for longer is given back. */
const IDLE_MILLISECONDS = 60_000;

let held: { readonly lane: ZstdUnpackLane; readonly contentBytes: number } | null = null;
let idle: NodeJS.Timeout | undefined;
let last: Promise<unknown> = Promise.resolve();

/**
 * The SHA-256 of what one stored frame of `contentBytes` holds. Throws ZstdFormatError for a damaged one. One buffer serves
 * the whole process, one frame after the other: a new one of 16 MiB for every WAL segment stays until V8 collects it, and
 * three of them were the peak of a worker's memory.
 */
export function provenDigest(frame: Buffer, contentBytes: number): Promise<string> {
  const proven = last.then(() => prove(frame, contentBytes));
  last = proven.catch(() => {});
  return proven;
}

async function prove(frame: Buffer, contentBytes: number): Promise<string> {
  // A lane gives content as it comes: without the frame's end it says nothing of the checksum there, and takes the beginning of
  // the next frame for it.
  requireOneFrame(frame);
  clearTimeout(idle);
  if (held?.contentBytes !== contentBytes) release();
  held ??= { lane: new ZstdUnpackLane(contentBytes), contentBytes };
  try {
    const content = await held.lane.decompress(frame);
    if (content.length !== contentBytes)
      throw new ZstdFormatError(`it holds ${content.length} bytes instead of ${contentBytes}`);
    return createHash('sha256').update(content).digest('hex');
  } catch (error) {
    // A lane that failed is not used again.
    release();
    throw error instanceof ZstdFormatError ? error : new ZstdFormatError(`zstd: ${(error as Error).message}`);
  } finally {
    idle = setTimeout(release, IDLE_MILLISECONDS).unref();
  }
}

function release(): void {
  held?.lane.close();
  held = null;
}
