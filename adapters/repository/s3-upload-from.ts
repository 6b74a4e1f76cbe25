import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { CallContext } from '../../core/call';
import { failure } from '../../core/errors';
import type { RangedSource } from '../../core/repository';
import { compositeOf } from '../volumes/piece-digests';
import { isSamePart, type MultipartTarget, type ObjectAttributes } from './s3-multipart';
import { beginOrResume, MAX_PARTS, PART_BYTES } from './s3-upload';

export interface RangedUpload {
  readonly target: MultipartTarget;
  readonly attributes: ObjectAttributes;
  readonly key: string;
  readonly source: RangedSource & { readonly composite: string };
  /** An upload that an earlier try began and did not complete. */
  readonly unfinished: string | null;
}

/** Whether the digests of the object's parts are known together, so that parts that are there need not be read again. */
export function hasKnownParts(source: RangedSource): source is RangedUpload['source'] {
  const parts = Math.ceil(source.sizeBytes / PART_BYTES);
  return parts > 1 && parts <= MAX_PARTS && (source.composite?.endsWith(`-${parts}`) ?? false);
}

/**
 * Sends an object of another repository part by part, each read by its range. Parts that an earlier try stored are counted by the
 * checksum that S3 has of them: what all of them together must be, the source says.
 */
export async function uploadRangesInParts(upload: RangedUpload, ctx: CallContext): Promise<{ etag: string }> {
  const { target, source, key, unfinished } = upload;
  const { sizeBytes } = source;
  const { upload: multipart, there } = await beginOrResume(target, unfinished, () => upload.attributes);
  const digests: string[] = [];
  let doneBytes = 0;
  const done = (bytes: number) => {
    doneBytes += bytes;
    ctx.progress({ phase: 'copying', doneBytes, totalBytes: sizeBytes, note: key });
  };
  try {
    for (let [number, at] = [1, 0]; at < sizeBytes; number += 1, at += PART_BYTES) {
      ctx.signal.throwIfAborted();
      const partBytes = Math.min(PART_BYTES, sizeBytes - at);
      const stored = there.get(number);
      if (stored?.sizeBytes === partBytes && stored.sha256 !== null) {
        multipart.adopt({ number, etag: stored.etag, checksum: stored.sha256 });
        digests.push(stored.sha256);
        done(partBytes);
        continue;
      }
      const giveBack = await multipart.slot();
      const buffer = target.buffers.take(partBytes);
      const release = () => {
        target.buffers.give(buffer);
        giveBack();
      };
      const bytes = buffer.subarray(0, partBytes);
      try {
        await fill(bytes, await source.read(at, at + partBytes), key);
      } catch (error) {
        release();
        throw error;
      }
      const checksum = createHash('sha256').update(bytes).digest('base64');
      digests.push(checksum);
      if (isSamePart(there, number, bytes, checksum)) {
        // Servers that do not list the checksum: the bytes were compared, and are not sent again.
        multipart.adopt({ number, etag: stored!.etag, checksum });
        release();
        done(partBytes);
      } else {
        multipart.send(number, bytes, checksum, () => {
          release();
          done(partBytes);
        });
      }
    }
    const composite = compositeOf(digests);
    if (composite === source.composite) return await multipart.complete();
    // Parts of other bytes must not be counted by the next try.
    await multipart.abort();
    throw failure('BackupCorrupt', `${key} cannot be copied: its parts are ${composite}, not ${source.composite}`, {
      context: { key },
    });
  } finally {
    // Parts in flight would outlive the call.
    await multipart.settled();
  }
}

async function fill(into: Buffer, body: Readable, key: string): Promise<void> {
  let filled = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) filled += chunk.copy(into, filled);
  if (filled < into.length) throw failure('BackupCorrupt', `${key} is shorter than it should be`, { context: { key } });
}
