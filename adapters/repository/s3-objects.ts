import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { GetObjectCommand, HeadObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import { failure } from '../../core/errors';
import type { ObjectHead, PutOptions, ThawedCopy } from '../../core/repository';
import { isFrozenClass } from '../../core/storage-classes';
import { checkKey } from './keys';
import { readBody } from './s3-body';
import type { S3Bucket } from './s3-bucket';
import { codeOf, isConflict, statusOf } from './s3-errors';
import type { ObjectAttributes } from './s3-multipart';

/**
 * Ours among an object's annotations; not shown to callers. They were written before any byte was sent, so they prove
 * nothing alone: the digest counts where the server reports the very composite that belongs to it.
 */
const SHA256_METADATA = 'drctl-sha256';
const COMPOSITE_METADATA = 'drctl-sha256-parts';

/** Conflicts of two conditional writes at the same moment; each try waits a little longer. */
const CONFLICT_TRIES = 5;

export interface StoredContent {
  readonly sizeBytes: number;
  /** Hexadecimal. */
  readonly sha256: string;
  /** Of an object that was sent in parts, where its digests are known. */
  readonly composite?: string | null;
}

/**
 * Single objects of a bucket: their heads and digests, whole reads, writes of one request. Except for those of `head`, errors
 * come out as the SDK throws them: callers name the action, in `mapped`.
 */
export function createS3Objects({ client, bucket, place, fullKey, mapped }: S3Bucket) {
  function attributes({ metadata = {}, storageClass }: PutOptions, ours: Record<string, string>): ObjectAttributes {
    return {
      Metadata: { ...metadata, ...ours },
      // The SDK's type lists the classes it knew when it was made; S3 decides.
      ...(storageClass && storageClass !== 'STANDARD' ? { StorageClass: storageClass as 'STANDARD' } : {}),
    };
  }

  function headOf(
    key: string,
    found: Omit<Partial<ObjectHead>, 'key'> & Pick<ObjectHead, 'etag' | 'sizeBytes'>,
  ): ObjectHead {
    return {
      key,
      modifiedAt: new Date().toISOString(),
      metadata: {},
      sha256: null,
      composite: null,
      storageClass: 'STANDARD',
      ...found,
    };
  }

  function described(
    { metadata = {}, storageClass }: PutOptions,
    key: string,
    stored: StoredContent & { etag: string },
  ) {
    return headOf(key, { ...stored, metadata, ...(storageClass ? { storageClass } : {}) });
  }

  async function head(key: string): Promise<ObjectHead | null> {
    checkKey(key);
    return mapped(`looking at ${key}`, async () => {
      const request = { Bucket: bucket, Key: fullKey(key), ChecksumMode: 'ENABLED' as const };
      const found = await unlessMissing(client.send(new HeadObjectCommand(request)));
      if (found === null) return null;
      const { [SHA256_METADATA]: recorded, [COMPOSITE_METADATA]: composite, ...metadata } = found.Metadata ?? {};
      return headOf(key, {
        etag: found.ETag!,
        sizeBytes: found.ContentLength ?? 0,
        modifiedAt: found.LastModified!.toISOString(),
        metadata,
        composite: found.ChecksumSHA256?.includes('-') ? found.ChecksumSHA256 : null,
        sha256: confirmedDigest(found.ChecksumSHA256, recorded, composite),
        storageClass: found.StorageClass ?? 'STANDARD',
        ...(isFrozenClass(found.StorageClass ?? '') ? { copy: copyOf(found.Restore) } : {}),
      });
    });
  }

  /**
   * A conditional write that met another one at the same moment (409) is begun again from its first byte: a put is sent
   * again, a multipart upload is initiated anew (CompleteMultipartUpload, If-None-Match). `create` must be able to.
   */
  async function unlessConflict<T>(key: string, create: () => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await create();
      } catch (error) {
        if (!isConflict(error)) throw error;
        if (tries >= CONFLICT_TRIES) {
          throw failure('LockHeld', `${key} in ${place.location}: another writer stores it at the same moment`, {
            cause: error,
          });
        }
        await delay(50 * tries + Math.random() * 100);
      }
    }
  }

  /** Stores a new artifact; the object that is there already counts as stored when its bytes are the same. */
  async function created(key: string, content: StoredContent, create: () => Promise<{ readonly etag: string }>) {
    try {
      return { ...content, etag: (await create()).etag };
    } catch (error) {
      // 412: there is an object. NoSuchUpload: an earlier try, whose answer was lost, completed it.
      const there = statusOf(error) === 412 || codeOf(error) === 'NoSuchUpload' ? await head(key) : null;
      if (there === null) throw error;
      return { ...content, etag: (await sameContent(there, content)).etag };
    }
  }

  /** Throws LockHeld for an object of other bytes. Where the server confirms no digest they are read. */
  async function sameContent(there: ObjectHead, content: StoredContent): Promise<ObjectHead> {
    const { sizeBytes, sha256, composite = null } = content;
    const confirmed = composite !== null && there.composite === composite;
    const isSame =
      there.sizeBytes === sizeBytes && (confirmed || (there.sha256 ?? (await digestOf(there.key))) === sha256);
    if (!isSame) throw otherContent(there.key);
    return { ...there, sha256 };
  }

  async function digestOf(key: string): Promise<string> {
    const { Body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: fullKey(key) }));
    const hash = createHash('sha256');
    for await (const chunk of readBody(Body as Readable, (error) => error)) hash.update(chunk);
    return hash.digest('hex');
  }

  function otherContent(key: string): Error {
    return failure('LockHeld', `${key} exists already in ${place.location} with other content`, { context: { key } });
  }

  async function putOnce(
    key: string,
    body: Uint8Array,
    options: PutOptions,
    signal?: AbortSignal,
  ): Promise<ObjectHead> {
    const digest = createHash('sha256').update(body).digest();
    const sha256 = digest.toString('hex');
    const request = {
      Bucket: bucket,
      Key: fullKey(key),
      Body: body,
      ContentLength: body.byteLength,
      ChecksumSHA256: digest.toString('base64'),
      ...(options.ifAbsent ? { IfNoneMatch: '*' } : {}),
      ...attributes(options, { [SHA256_METADATA]: sha256 }),
    };
    const { ETag } = await client.send(new PutObjectCommand(request), { abortSignal: signal });
    const { metadata = {}, storageClass = 'STANDARD' } = options;
    return headOf(key, { etag: ETag!, sizeBytes: body.byteLength, metadata, sha256, storageClass });
  }

  /** One of several writers gets the key; another with the same bytes finds its work done. */
  async function putIfAbsent(key: string, body: Uint8Array, options: PutOptions): Promise<ObjectHead> {
    for (;;) {
      try {
        return await unlessConflict(key, () => putOnce(key, body, options));
      } catch (error) {
        if (statusOf(error) !== 412) throw error;
      }
      const [existing, found] = [await unlessMissing(read(key)), await head(key)];
      if (existing === null || found === null) continue;
      if (existing.equals(body)) return found;
      throw otherContent(key);
    }
  }

  async function read(key: string): Promise<Buffer> {
    const { Body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: fullKey(key) }));
    const chunks: Buffer[] = [];
    for await (const chunk of readBody(Body as Readable, (error) => error)) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  return {
    head,
    read,
    putOnce,
    putIfAbsent,
    unlessConflict,
    created,
    sameContent,
    described,
    /** Of an object whose digest becomes known only while it is sent. */
    plainAttributes: (options: PutOptions) => attributes(options, {}),
    /** `composite`: see `confirmedDigest`. */
    digestAttributes: (options: PutOptions, sha256: string, composite: string) =>
      attributes(options, { [SHA256_METADATA]: sha256, [COMPOSITE_METADATA]: composite }),
  };
}

/** Null for an object that is not there. */
async function unlessMissing<T>(request: Promise<T>): Promise<T | null> {
  try {
    return await request;
  } catch (error) {
    if (statusOf(error) === 404) return null;
    throw error;
  }
}

/** Of the header `x-amz-restore`: `ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT"`. */
function copyOf(restore: string | undefined): ThawedCopy {
  if (restore?.includes('ongoing-request="true"')) return { state: 'asked', until: null };
  const until = /expiry-date="([^"]+)"/.exec(restore ?? '')?.[1];
  return until === undefined
    ? { state: 'none', until: null }
    : { state: 'readable', until: new Date(until).toISOString() };
}

/**
 * What the server itself says of the bytes it holds. The checksum of a multipart object is one of its parts' checksums,
 * marked by "-<parts>": it confirms the digest that was taken in the same pass as the parts'. Null: the bytes tell.
 */
function confirmedDigest(server: string | undefined, recorded?: string, composite?: string): string | null {
  if (server === undefined) return null;
  if (server.includes('-')) return server === composite ? (recorded ?? null) : null;
  return Buffer.from(server, 'base64').toString('hex');
}
