import { createHash } from 'node:crypto';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  paginateListParts,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import type { PartBuffers } from './part-buffers';
import { codeOf, isConflict, statusOf } from './s3-errors';
import type { Slots } from './slots';

export interface UploadedPart {
  readonly number: number;
  readonly etag: string;
  /** SHA-256, base64. */
  readonly checksum: string;
}

export interface MultipartTarget {
  readonly client: S3Client;
  readonly bucket: string;
  /** The whole key, prefix included. */
  readonly fullKey: string;
  readonly slots: Slots;
  readonly buffers: PartBuffers;
  readonly signal: AbortSignal;
}

export interface ObjectAttributes {
  readonly Metadata: Record<string, string>;
  readonly StorageClass?: 'STANDARD';
}

/**
 * One multipart upload, every part of which is verified by the other side with its SHA-256. Parts may be sent in any
 * order, several at once; the slots of the repository bound how many.
 */
export class MultipartUpload {
  readonly uploadId: string;
  readonly #target: MultipartTarget;
  readonly #parts = new Map<number, UploadedPart>();
  readonly #inFlight = new Set<Promise<void>>();
  #error: unknown = null;

  private constructor(target: MultipartTarget, uploadId: string) {
    this.#target = target;
    this.uploadId = uploadId;
  }

  static async begin(target: MultipartTarget, attributes: ObjectAttributes): Promise<MultipartUpload> {
    const { client, bucket, fullKey, signal } = target;
    const request = { Bucket: bucket, Key: fullKey, ChecksumAlgorithm: 'SHA256' as const, ...attributes };
    const { UploadId } = await client.send(new CreateMultipartUploadCommand(request), { abortSignal: signal });
    return new MultipartUpload(target, UploadId!);
  }

  /** Takes up an upload that another process began; null when it is gone. */
  static async resume(
    target: MultipartTarget,
    uploadId: string,
  ): Promise<{ upload: MultipartUpload; there: PartsThere } | null> {
    const there: PartsThere = new Map();
    try {
      const request = { Bucket: target.bucket, Key: target.fullKey, UploadId: uploadId };
      for await (const page of paginateListParts({ client: target.client }, request)) {
        for (const part of page.Parts ?? []) {
          there.set(part.PartNumber!, { etag: part.ETag!, sizeBytes: part.Size!, sha256: part.ChecksumSHA256 ?? null });
        }
      }
    } catch (error) {
      if (codeOf(error) === 'NoSuchUpload') return null;
      throw error;
    }
    return { upload: new MultipartUpload(target, uploadId), there };
  }

  get parts(): UploadedPart[] {
    return [...this.#parts.values()].toSorted((a, b) => a.number - b.number);
  }

  /** Counts a part that is there already. */
  adopt(part: UploadedPart): void {
    this.#parts.set(part.number, part);
  }

  /**
   * Resolves once another part may be sent, with what gives its place back; to be called once. Throws the error of an
   * earlier part. Whoever fills a buffer only then holds no more of them than are being sent.
   */
  async slot(): Promise<() => void> {
    const giveBack = await this.#target.slots.take();
    if (this.#error === null) return giveBack;
    giveBack();
    throw this.#error;
  }

  /** Sends a part in the background. The slot and the bytes belong to the upload until it calls `release`. */
  send(number: number, bytes: Buffer, checksum: string, release: () => void): void {
    const sending = this.#send(number, bytes, checksum)
      .catch((error: unknown) => {
        this.#error ??= error;
      })
      .finally(() => {
        release();
        this.#inFlight.delete(sending);
      });
    this.#inFlight.add(sending);
  }

  /**
   * Waits for the parts in flight, then makes the object of them. Where there is one already (412), or is being made (409),
   * the parts go: after a conflict S3 wants a new upload.
   */
  async complete(): Promise<{ etag: string }> {
    await this.settled();
    if (this.#error !== null) throw this.#error;
    const { client, bucket, fullKey, signal } = this.#target;
    const Parts = this.parts.map(({ number, etag, checksum }) => ({
      PartNumber: number,
      ETag: etag,
      ChecksumSHA256: checksum,
    }));
    const request = {
      Bucket: bucket,
      Key: fullKey,
      UploadId: this.uploadId,
      MultipartUpload: { Parts },
      IfNoneMatch: '*',
    };
    const completed = client.send(new CompleteMultipartUploadCommand(request), { abortSignal: signal });
    const { ETag } = await completed.catch(async (error: unknown) => {
      if (statusOf(error) === 412 || isConflict(error)) await this.abort();
      throw error;
    });
    return { etag: ETag! };
  }

  async settled(): Promise<void> {
    await Promise.all(this.#inFlight);
  }

  /** Removes the parts, once none is in flight any more: one that arrives later would stay. */
  async abort(): Promise<void> {
    await this.settled();
    const { client, bucket, fullKey } = this.#target;
    await client.send(new AbortMultipartUploadCommand({ Bucket: bucket, Key: fullKey, UploadId: this.uploadId }));
  }

  async #send(number: number, bytes: Buffer, checksum: string): Promise<void> {
    const { client, bucket, fullKey, signal } = this.#target;
    const part = { Bucket: bucket, Key: fullKey, UploadId: this.uploadId, PartNumber: number };
    const command = new UploadPartCommand({
      ...part,
      Body: bytes,
      ContentLength: bytes.length,
      ChecksumSHA256: checksum,
    });
    const { ETag } = await client.send(command, { abortSignal: signal });
    this.#parts.set(number, { number, etag: ETag!, checksum });
  }
}

export type PartsThere = Map<
  number,
  { readonly etag: string; readonly sizeBytes: number; readonly sha256: string | null }
>;

/** Whether the part that the repository has is made of these very bytes. */
export function isSamePart(there: PartsThere, number: number, bytes: Buffer, checksum: string): boolean {
  const part = there.get(number);
  if (!part || part.sizeBytes !== bytes.length) return false;
  if (part.sha256 !== null) return part.sha256 === checksum;
  // Servers that do not list the checksum show the MD5 as the part's ETag.
  return part.etag.replaceAll('"', '') === createHash('md5').update(bytes).digest('hex');
}
