import { createHash } from 'node:crypto';
import * as fs from 'node:fs/promises';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { GetObjectCommand, HeadObjectCommand, ListObjectsV2Command, PutObjectCommand } from '@aws-sdk/client-s3';
import { failure } from '../../core/errors';
import type { ObjectHead, PutOptions, Repository, UnfinishedUpload } from '../../core/repository';
import { checkKey } from './keys';
import { readBody } from './s3-body';
import { createS3Client } from './s3-client';
import { codeOf, s3Failure, statusOf, type S3Place } from './s3-errors';
import { createS3Listing } from './s3-listing';
import type { MultipartTarget, ObjectAttributes } from './s3-multipart';
import { PART_BYTES, uploadFileInParts, uploadStreamInParts } from './s3-upload';
import type { S3RepositorySettings } from './settings';
import { PartBuffers } from './part-buffers';
import { Slots } from './slots';

/** Parts in flight at once, over all uploads of the repository: this and one part for each open stream bound its memory. */
const PARALLEL_PARTS = 4;

/** Uploads, and beside them the reads and listings of several stores. */
const PARALLEL_REQUESTS = 32;

/**
 * Ours among an object's annotations; not shown to callers. They were written before any byte was sent, so they prove
 * nothing alone: the digest counts where the server reports the very composite that belongs to it.
 */
const SHA256_METADATA = 'drctl-sha256';
const COMPOSITE_METADATA = 'drctl-sha256-parts';

/** Conflicts of two conditional writes at the same moment; each try waits a little longer. */
const CONFLICT_TRIES = 5;

interface StoredContent {
  readonly sizeBytes: number;
  /** Hexadecimal. */
  readonly sha256: string;
}

export interface S3Options {
  readonly name: string;
  readonly settings: S3RepositorySettings;
  /** `<prefix>/<application>`, without a slash at the end. */
  readonly prefix: string;
}

/** A repository in an S3 bucket: Amazon's, or any server that knows SHA-256 checksums and If-None-Match. */
export function createS3Repository({ name, settings, prefix }: S3Options): Repository {
  const client = createS3Client(settings, PARALLEL_REQUESTS);
  const slots = new Slots(PARALLEL_PARTS);
  // Those being sent, and one being filled for each of two volumes.
  const buffers = new PartBuffers(PART_BYTES, PARALLEL_PARTS + 2);
  const { bucket } = settings;
  const place: S3Place = {
    name,
    bucket,
    location: `s3://${bucket}/${prefix}`,
    region: settings.region,
    endpoint: settings.endpoint ?? `S3 in ${settings.region}`,
  };
  const fullKey = (key: string) => `${prefix}/${key}`;
  const ownKey = (full: string) => full.slice(prefix.length + 1);

  const listing = createS3Listing({ client, bucket, fullKey, ownKey, mapped, place });
  let usable: Promise<unknown> | null = null;

  /**
   * Once before the first request, because a refused HEAD has no body that says why, a HEAD in a missing bucket looks like
   * a missing object, and some servers create the bucket that a PUT names.
   */
  async function ensureUsable(): Promise<void> {
    usable ??= check();
    try {
      await usable;
    } catch (error) {
      usable = null;
      throw error;
    }
  }

  /** Not HeadBucket: its errors have no body either. */
  async function check(): Promise<void> {
    try {
      await client.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: `${prefix}/`, MaxKeys: 1 }));
    } catch (error) {
      throw s3Failure(error, 'opening it', place);
    }
  }

  async function mapped<T>(action: string, work: () => Promise<T>): Promise<T> {
    await ensureUsable();
    try {
      return await work();
    } catch (error) {
      throw s3Failure(error, action, place);
    }
  }

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
    await ensureUsable();
    try {
      const request = { Bucket: bucket, Key: fullKey(key), ChecksumMode: 'ENABLED' as const };
      const found = await client.send(new HeadObjectCommand(request));
      const { [SHA256_METADATA]: recorded, [COMPOSITE_METADATA]: composite, ...metadata } = found.Metadata ?? {};
      return headOf(key, {
        etag: found.ETag!,
        sizeBytes: found.ContentLength ?? 0,
        modifiedAt: found.LastModified!.toISOString(),
        metadata,
        sha256: confirmedDigest(found.ChecksumSHA256, recorded, composite),
        storageClass: found.StorageClass ?? 'STANDARD',
      });
    } catch (error) {
      if (statusOf(error) === 404) return null;
      throw s3Failure(error, `looking at ${key}`, place);
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
  async function sameContent(there: ObjectHead, { sizeBytes, sha256 }: StoredContent): Promise<ObjectHead> {
    const isSame = there.sizeBytes === sizeBytes && (there.sha256 ?? (await digestOf(there.key))) === sha256;
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
    for (let tries = 1; ; tries += 1) {
      try {
        return await putOnce(key, body, options);
      } catch (error) {
        if (codeOf(error) === 'ConditionalRequestConflict' || statusOf(error) === 409) {
          if (tries < CONFLICT_TRIES) {
            await delay(50 * tries + Math.random() * 100);
            continue;
          }
          throw failure('LockHeld', `${key} in ${place.location}: another writer stores it at the same moment`, {
            cause: error,
          });
        }
        if (statusOf(error) !== 412) throw error;
      }
      const [existing, found] = [await readIfThere(key), await head(key)];
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

  async function readIfThere(key: string): Promise<Buffer | null> {
    try {
      return await read(key);
    } catch (error) {
      if (statusOf(error) === 404) return null;
      throw error;
    }
  }

  function multipartTarget(key: string, signal: AbortSignal): MultipartTarget {
    return { client, bucket, fullKey: fullKey(key), slots, buffers, signal };
  }

  /** The newest, should several tries have begun one each; the others go with the sweep of the attempt. */
  async function unfinishedUploadOf(key: string): Promise<string | null> {
    let newest: UnfinishedUpload | null = null;
    for await (const upload of listing.unfinishedUploads(key)) {
      if (upload.key === key && (newest === null || upload.startedAt >= newest.startedAt)) newest = upload;
    }
    return newest?.uploadId ?? null;
  }

  return {
    name,
    kind: 's3',
    location: place.location,
    head,

    async put(key, body, options = {}) {
      checkKey(key);
      return mapped(`storing ${key}`, () =>
        options.ifAbsent ? putIfAbsent(key, body, options) : putOnce(key, body, options),
      );
    },

    async uploadFile(key, file, options, ctx) {
      checkKey(key);
      const { sha256 } = options;
      const artifact = { storageClass: settings.storageClass, ...options, ifAbsent: true };
      return mapped(`uploading ${key}`, async () => {
        const { size: sizeBytes } = await fs.stat(file);
        const already = await head(key);
        if (already) return sameContent(already, { sha256, sizeBytes });
        if (sizeBytes <= PART_BYTES) {
          const bytes = await fs.readFile(file);
          checkFile(file, bytes, sha256);
          const giveBack = await slots.take();
          const put = () => putOnce(key, bytes, artifact, ctx.signal).finally(giveBack);
          return described(artifact, key, await created(key, { sha256, sizeBytes }, put));
        }
        const target = multipartTarget(key, ctx.signal);
        const unfinished = await unfinishedUploadOf(key);
        const ofFile = (composite: string) =>
          attributes(artifact, { [SHA256_METADATA]: sha256, [COMPOSITE_METADATA]: composite });
        const upload = { target, attributes: ofFile, key, file, sizeBytes, sha256, unfinished };
        const stored = await created(key, { sha256, sizeBytes }, () => uploadFileInParts(upload, ctx));
        return described(artifact, key, stored);
      });
    },

    async uploadStream(key, source, options, ctx) {
      checkKey(key);
      const artifact = { storageClass: settings.storageClass, ...options, ifAbsent: true };
      return mapped(`uploading ${key}`, async () => {
        const putSmall = (bytes: Buffer) => putOnce(key, bytes, artifact, ctx.signal);
        const upload = {
          target: multipartTarget(key, ctx.signal),
          attributes: attributes(artifact, {}),
          key,
          putSmall,
          created: (content: StoredContent, create: () => Promise<{ etag: string }>) => created(key, content, create),
        };
        const stored = await uploadStreamInParts(source, upload, ctx);
        return { ...described(artifact, key, stored), sha256: stored.sha256 };
      });
    },

    async get(key, range) {
      checkKey(key);
      return mapped(`reading ${key}`, async () => {
        if (range && range.end <= range.start)
          throw failure('UsageInvalid', `range ${range.start}-${range.end} of ${key} is empty`);
        const Range = range ? `bytes=${range.start}-${range.end - 1}` : undefined;
        const { Body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: fullKey(key), Range }));
        const bytes = readBody(Body as Readable, (error) => s3Failure(error, `reading ${key}`, place));
        return Readable.from(bytes, { objectMode: false, highWaterMark: 2 ** 18 });
      });
    },

    async read(key) {
      checkKey(key);
      return mapped(`reading ${key}`, () => read(key));
    },

    ...listing,
    check,
  };
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

function checkFile(file: string, bytes: Buffer, sha256: string): void {
  const found = createHash('sha256').update(bytes).digest('hex');
  if (found !== sha256) {
    throw failure('BackupCorrupt', `${file} changed since it was written: its SHA-256 is ${found}, not ${sha256}`);
  }
}
