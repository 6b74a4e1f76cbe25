import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { CallContext } from '../../core/call';
import { failure } from '../../core/errors';
import { MultipartUpload, type MultipartTarget, type ObjectAttributes } from './s3-multipart';
import { MAX_PARTS, PART_BYTES } from './s3-upload';

export interface StreamUpload {
  readonly target: MultipartTarget;
  readonly attributes: ObjectAttributes;
  readonly key: string;
  /** Stores what fits into one part in one request. */
  putSmall(bytes: Buffer): Promise<{ etag: string }>;
  /** Runs what creates the object; one that is there already with the same content is as good. */
  created(content: Omit<StreamUploaded, 'etag'>, create: () => Promise<{ etag: string }>): Promise<StreamUploaded>;
}

export interface StreamUploaded {
  readonly etag: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

/** Sends a stream of unknown length: one part is being filled while others are sent. Aborts what it began when it fails. */
export async function uploadStreamInParts(
  source: Readable,
  upload: StreamUpload,
  ctx: CallContext,
): Promise<StreamUploaded> {
  const hash = createHash('sha256');
  const { buffers } = upload.target;
  let multipart: MultipartUpload | null = null;
  let [sizeBytes, number, filled] = [0, 1, 0];
  let buffer: Buffer = buffers.take(streamPartBytes(number));
  const flush = async () => {
    multipart ??= await MultipartUpload.begin(upload.target, upload.attributes);
    const sent = buffer;
    const bytes = sent.subarray(0, filled);
    const checksum = createHash('sha256').update(bytes).digest('base64');
    const giveBack = await multipart.slot();
    multipart.send(number, bytes, checksum, () => {
      buffers.give(sent);
      giveBack();
    });
    number += 1;
    filled = 0;
    buffer = buffers.take(streamPartBytes(number));
  };
  try {
    for await (const chunk of source as AsyncIterable<Buffer>) {
      ctx.signal.throwIfAborted();
      hash.update(chunk);
      sizeBytes += chunk.length;
      for (let taken = 0; taken < chunk.length;) {
        if (filled === buffer.length) await flush();
        const copied = chunk.copy(buffer, filled, taken);
        taken += copied;
        filled += copied;
      }
      ctx.progress({ phase: 'uploading', doneBytes: sizeBytes, note: upload.key });
    }
    const content = { sizeBytes, sha256: hash.digest('hex') };
    if (multipart === null) return await upload.created(content, () => upload.putSmall(buffer.subarray(0, filled)));
    await flush();
    return await upload.created(content, () => (multipart as MultipartUpload).complete());
  } catch (error) {
    // Where even this fails, the sweep of the attempt finds the upload; the first error says what went wrong.
    await (multipart as MultipartUpload | null)?.abort().catch(() => {});
    throw error;
  } finally {
    buffers.give(buffer);
  }
}

/**
 * Parts grow with the stream, so that 10,000 of them reach 800 GB while an ordinary volume needs little memory. What is
 * larger than that is to be cut into volumes or spooled.
 */
function streamPartBytes(number: number): number {
  if (number <= 2_000) return PART_BYTES;
  if (number <= 5_000) return 4 * PART_BYTES;
  if (number <= MAX_PARTS) return 16 * PART_BYTES;
  throw failure(
    'UsageInvalid',
    'a stream is larger than one S3 object can be when its length is not known beforehand',
    {
      next: 'Use backup mode "spool", or smaller volumes.',
    },
  );
}
