import { createHash } from 'node:crypto';
import * as fs from 'node:fs/promises';
import { Readable } from 'node:stream';
import { GetObjectCommand, RestoreObjectCommand } from '@aws-sdk/client-s3';
import type { CallContext } from '../../core/call';
import { failure } from '../../core/errors';
import type { ObjectHead, Repository, UnfinishedUpload, UploadOptions } from '../../core/repository';
import { checkKey } from './keys';
import { readBody } from './s3-body';
import { openBucket, type S3Options } from './s3-bucket';
import { codeOf, isConflict, s3Failure } from './s3-errors';
import { createS3Listing } from './s3-listing';
import type { MultipartTarget } from './s3-multipart';
import { createS3Objects, type StoredContent } from './s3-objects';
import { compositeOf } from '../volumes/piece-digests';
import { uploadStreamInParts } from './s3-stream-upload';
import { PART_BYTES, sendGrowing, uploadFileInParts } from './s3-upload';
import { hasKnownParts, uploadRangesInParts } from './s3-upload-from';
import { PartBuffers } from './part-buffers';
import { Slots } from './slots';

const TIERS = { expedited: 'Expedited', standard: 'Standard', bulk: 'Bulk' } as const;

/** Parts in flight at once, over all uploads of the repository: this and one part for each open stream bound its memory. */
const PARALLEL_PARTS = 3;

/** A repository in an S3 bucket: Amazon's, or any server that knows SHA-256 checksums and If-None-Match. */
export function createS3Repository({ name, settings, prefix }: S3Options): Repository {
  const s3 = openBucket({ name, settings, prefix });
  const { client, bucket, place, fullKey, mapped } = s3;
  const objects = createS3Objects(s3);
  const listing = createS3Listing(s3);
  const slots = new Slots(PARALLEL_PARTS);
  // Those being sent, and, in stream mode, one being filled for each of two volumes.
  const buffers = new PartBuffers(PART_BYTES, PARALLEL_PARTS + 2);

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

  async function uploadFile(key: string, file: string, options: UploadOptions, ctx: CallContext): Promise<ObjectHead> {
    checkKey(key);
    const { sha256, pieces } = options;
    const artifact = { storageClass: settings.storageClass, ...options, ifAbsent: true };
    return mapped(`uploading ${key}`, async () => {
      const { size: sizeBytes } = await fs.stat(file);
      const already = await objects.head(key);
      const content = { sha256, sizeBytes, composite: pieces ? compositeOf(pieces.sha256) : null };
      if (already) return objects.sameContent(already, content);
      if (sizeBytes <= PART_BYTES) {
        const bytes = await fs.readFile(file);
        checkFile(file, bytes, sha256);
        const giveBack = await slots.take();
        const put = () => objects.unlessConflict(key, () => objects.putOnce(key, bytes, artifact, ctx.signal));
        return objects.described(artifact, key, await objects.created(key, content, put).finally(giveBack));
      }
      const target = multipartTarget(key, ctx.signal);
      const ofFile = (composite: string) => objects.digestAttributes(artifact, sha256, composite);
      const upload = { target, attributes: ofFile, key, file, sizeBytes, sha256, pieces };
      const send = async () => uploadFileInParts({ ...upload, unfinished: await unfinishedUploadOf(key) }, ctx);
      const stored = await objects.created(key, content, () => objects.unlessConflict(key, send));
      return objects.described(artifact, key, stored);
    });
  }

  const uploadStream: Repository['uploadStream'] = async (key, source, options, ctx) => {
    checkKey(key);
    const artifact = { storageClass: settings.storageClass, ...options, ifAbsent: true };
    return mapped(`uploading ${key}`, async () => {
      const putSmall = (bytes: Buffer) => objects.putOnce(key, bytes, artifact, ctx.signal);
      const upload = {
        target: multipartTarget(key, ctx.signal),
        attributes: objects.plainAttributes(artifact),
        key,
        putSmall,
        created: (content: StoredContent, create: () => Promise<{ etag: string }>) =>
          objects.created(key, content, create),
      };
      const stored = await uploadStreamInParts(source, upload, ctx);
      return { ...objects.described(artifact, key, stored), sha256: stored.sha256 };
    });
  };

  return {
    name,
    kind: 's3',
    location: place.location,
    head: objects.head,

    async put(key, body, options = {}) {
      checkKey(key);
      return mapped(`storing ${key}`, () =>
        options.ifAbsent ? objects.putIfAbsent(key, body, options) : objects.putOnce(key, body, options),
      );
    },

    uploadFile,

    async uploadGrowing(key, file, options, ctx) {
      checkKey(key);
      const artifact = { storageClass: settings.storageClass, ...options, ifAbsent: true };
      return mapped(`uploading ${key}`, async () => {
        const growing = {
          target: multipartTarget(key, ctx.signal),
          attributes: objects.plainAttributes(artifact),
          key,
          file,
          unfinished: await unfinishedUploadOf(key),
        };
        const sent = await sendGrowing(growing, ctx);
        const whole = file.whole();
        if (sent === null) return uploadFile(key, file.paths.at(-1)!, { ...options, sha256: whole.sha256 }, ctx);
        const content = { ...whole, composite: sent.composite };
        try {
          return objects.described(artifact, key, await objects.created(key, content, sent.complete));
        } catch (error) {
          if (!isConflict(error)) throw error;
          // The file is complete by now: it is sent again as such.
          return uploadFile(key, file.paths.at(-1)!, { ...options, sha256: whole.sha256 }, ctx);
        }
      });
    },

    uploadStream,

    async uploadFrom(key, source, options, ctx) {
      checkKey(key);
      // Without what its parts are together there is nothing to go on from.
      if (!hasKnownParts(source)) {
        const bytes = Readable.from(source.whole(), { objectMode: false, highWaterMark: 2 ** 20 });
        return uploadStream(key, bytes, options, ctx);
      }
      const artifact = { storageClass: settings.storageClass, ...options, ifAbsent: true };
      const { sizeBytes, sha256, composite } = source;
      return mapped(`uploading ${key}`, async () => {
        const content = { sizeBytes, sha256, composite };
        const already = await objects.head(key);
        if (already) return objects.sameContent(already, content);
        const attributes = objects.digestAttributes(artifact, sha256, composite);
        const upload = { target: multipartTarget(key, ctx.signal), attributes, key, source };
        const send = async () => uploadRangesInParts({ ...upload, unfinished: await unfinishedUploadOf(key) }, ctx);
        const stored = await objects.created(key, content, () => objects.unlessConflict(key, send));
        return objects.described(artifact, key, stored);
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
        // Chunks are objects here, so that nothing joins them: see s3-body.ts.
        return Readable.from(bytes, { objectMode: true, highWaterMark: 4 });
      });
    },

    async read(key) {
      checkKey(key);
      return mapped(`reading ${key}`, () => objects.read(key));
    },

    async thaw(key, { tier, days }) {
      checkKey(key);
      const Tier = TIERS[tier];
      const RestoreRequest = { Days: days, GlacierJobParameters: { Tier } };
      await mapped(`asking for ${key} back from the archive`, async () => {
        const request = { Bucket: bucket, Key: fullKey(key), RestoreRequest };
        await client.send(new RestoreObjectCommand(request)).catch((error: unknown) => {
          if (codeOf(error) !== 'RestoreAlreadyInProgress') throw error;
        });
      });
    },

    ...listing,
    check: s3.check,
  };
}

function checkFile(file: string, bytes: Buffer, sha256: string): void {
  const found = createHash('sha256').update(bytes).digest('hex');
  if (found !== sha256) {
    throw failure('BackupCorrupt', `${file} changed since it was written: its SHA-256 is ${found}, not ${sha256}`);
  }
}
