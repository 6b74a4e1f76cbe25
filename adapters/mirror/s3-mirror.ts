import { createReadStream } from 'node:fs';
import {
  DeleteObjectsCommand,
  HeadObjectCommand,
  type HeadObjectCommandOutput,
  paginateListObjectsV2,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import type { CallContext } from '../../core/call';
import { failure, hasCode } from '../../core/errors';
import type { AssetMirror, MirrorRequest, MirrorResult } from '../../core/mirror';
import { createS3Client } from '../repository/s3-client';
import { s3Failure, type S3Place } from '../repository/s3-errors';
import type { S3RepositorySettings } from '../repository/settings';
import { type AssetDigest, assetDigest, type AssetFile, assetFiles } from './asset-files';
import { contentTypeOf } from './content-type';

const FILES_AT_ONCE = 8;
/** The most that one DeleteObjects takes. */
const DELETIONS_AT_ONCE = 1_000;
const NAMES_SHOWN = 20;
/** Ours among the object's annotations: tells equal content where the ETag is no MD5 (KMS, multipart). */
const SHA256_METADATA = 'sha256';

export interface S3MirrorOptions {
  /** The repository's name in the config, for messages. */
  readonly name: string;
  readonly settings: S3RepositorySettings;
  /** Below the repository's own prefix. The mirror owns everything there. */
  readonly prefix: string;
  readonly from: string;
  readonly maxDeleteShare: number;
}

interface Stored {
  readonly etag: string;
  readonly sizeBytes: number;
}

/** Holds the names of all objects of the mirror in memory (about 200 bytes each), and no content. */
export function createS3Mirror({ name, settings, prefix, from, maxDeleteShare }: S3MirrorOptions): AssetMirror {
  const client = createS3Client(settings, FILES_AT_ONCE * 2);
  const { bucket: Bucket } = settings;
  const below = [settings.prefix, prefix].map((part) => part.replace(/^\/+|\/+$/g, '')).filter((part) => part !== '');
  const base = below.map((part) => `${part}/`).join('');
  const place: S3Place = {
    name,
    bucket: Bucket,
    location: `s3://${Bucket}/${base}`,
    region: settings.region,
    endpoint: settings.endpoint ?? `S3 in ${settings.region}`,
  };

  const attempt = async <T>(action: string, work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      throw s3Failure(error, action, place);
    }
  };

  const listStored = (signal: AbortSignal) =>
    attempt('listing the mirror', async () => {
      const stored = new Map<string, Stored>();
      for await (const page of paginateListObjectsV2({ client }, { Bucket, Prefix: base }, { abortSignal: signal })) {
        for (const { Key, ETag, Size } of page.Contents ?? []) {
          // Consoles store an empty object for the folder itself; it is nobody's file.
          if (Key?.startsWith(base) && Key !== base)
            stored.set(Key.slice(base.length), { etag: ETag ?? '', sizeBytes: Size ?? 0 });
        }
      }
      return stored;
    });

  const head = (file: AssetFile, signal: AbortSignal): Promise<HeadObjectCommandOutput> =>
    attempt(`looking at ${file.name}`, () =>
      client.send(new HeadObjectCommand({ Bucket, Key: base + file.name }), { abortSignal: signal }),
    );

  /** Null when the object has this content already; else its attributes, which an upload keeps. */
  const changed = async (file: AssetFile, digest: AssetDigest, stored: Stored | undefined, signal: AbortSignal) => {
    if (!stored) return {};
    if (stored.sizeBytes === digest.sizeBytes && stored.etag.replaceAll('"', '') === digest.md5) return null;
    const found = await head(file, signal);
    const equal =
      found.ContentLength === digest.sizeBytes && found.Metadata?.[SHA256_METADATA] === digest.sha256.toString('hex');
    return equal ? null : found;
  };

  const upload = (file: AssetFile, digest: AssetDigest, kept: Partial<HeadObjectCommandOutput>, signal: AbortSignal) =>
    attempt(`storing ${file.name}`, () =>
      client.send(
        new PutObjectCommand({
          Bucket,
          Key: base + file.name,
          Body: createReadStream(file.path, { end: Math.max(0, digest.sizeBytes - 1) }),
          ContentLength: digest.sizeBytes,
          ContentType: kept.ContentType ?? contentTypeOf(file.name),
          CacheControl: kept.CacheControl,
          ContentEncoding: kept.ContentEncoding,
          ChecksumSHA256: digest.sha256.toString('base64'),
          Metadata: { ...kept.Metadata, [SHA256_METADATA]: digest.sha256.toString('hex') },
        }),
        { abortSignal: signal },
      ),
    );

  const remove = async (names: readonly string[], ctx: CallContext) => {
    for (let at = 0; at < names.length; at += DELETIONS_AT_ONCE) {
      const Objects = names.slice(at, at + DELETIONS_AT_ONCE).map((each) => ({ Key: base + each }));
      const { Errors = [] } = await attempt('deleting what is gone', () =>
        client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects, Quiet: true } }), {
          abortSignal: ctx.signal,
        }),
      );
      const [first] = Errors;
      if (first)
        throw failure('RepositoryUnavailable', `${place.location}${first.Key} was not deleted: ${first.Message}`);
      ctx.progress({ phase: 'deleting', doneItems: at + Objects.length, totalItems: names.length });
    }
  };

  return {
    from,
    to: place.location,
    async sync(request, ctx) {
      const tally = new Tally();
      const gone = await listStored(ctx.signal);
      const storedCount = gone.size;
      await eachAtOnce(
        assetFiles(from, (note) => tally.skip(note)),
        FILES_AT_ONCE,
        async (file) => {
          const stored = gone.get(file.name);
          gone.delete(file.name);
          await tally.tell(file, ctx, async () => {
            for (let again = false; ; again = true) {
              const digest = await assetDigest(file.path, ctx.signal);
              const kept = await changed(file, digest, stored, ctx.signal);
              if (kept === null) return null;
              if (request.dryRun) return digest.sizeBytes;
              try {
                await upload(file, digest, kept, ctx.signal);
                return digest.sizeBytes;
              } catch (error) {
                // The file was written to between digest and upload; a second time is no coincidence.
                if (again || !hasCode(error, 'BackupCorrupt')) throw error;
              }
            }
          });
        },
      );
      if (tally.files === 0)
        throw failure('TargetUnreachable', `${from} holds no file, so its mirror is left as it is`);
      const names = [...gone.keys()];
      requireModestDeletion(names, storedCount, request.maxDeleteShare ?? maxDeleteShare, place.location);
      if (!request.dryRun) await remove(names, ctx);
      return tally.result(request, from, place.location, names);
    },
  };
}

function requireModestDeletion(names: readonly string[], storedCount: number, share: number, location: string): void {
  if (names.length <= storedCount * share) return;
  const percent = Math.round(share * 100);
  throw failure(
    'DeletionRefused',
    `sync to ${location} would delete ${names.length} of ${storedCount} objects, more than the ${percent} % allowed: ` +
      names.slice(0, NAMES_SHOWN).join(', '),
    { data: 'Nothing was deleted; new and changed files were stored.' },
  );
}

class Tally {
  files = 0;
  #uploaded = 0;
  #uploadedBytes = 0;
  readonly #uploadedNames: string[] = [];
  readonly #notes: string[] = [];

  skip(note: string): void {
    if (this.#notes.length < NAMES_SHOWN) this.#notes.push(note);
  }

  /** `store` answers the bytes it stored, null where nothing was to do. */
  async tell(file: AssetFile, ctx: CallContext, store: () => Promise<number | null>): Promise<void> {
    const bytes = await store();
    this.files++;
    if (bytes !== null) {
      this.#uploaded++;
      this.#uploadedBytes += bytes;
      if (this.#uploadedNames.length < NAMES_SHOWN) this.#uploadedNames.push(file.name);
    }
    ctx.progress({ phase: 'mirroring', doneItems: this.files, doneBytes: this.#uploadedBytes, note: file.name });
  }

  result({ site, dryRun }: MirrorRequest, from: string, to: string, deleted: readonly string[]): MirrorResult {
    return {
      site,
      from,
      to,
      dryRun,
      uploaded: this.#uploaded,
      uploadedBytes: this.#uploadedBytes,
      unchanged: this.files - this.#uploaded,
      deleted: deleted.length,
      uploadedNames: this.#uploadedNames,
      deletedNames: deleted.slice(0, NAMES_SHOWN),
      notes: this.#notes,
    };
  }
}

/** Runs `work` for each, so many at a time; after a failure nothing new is begun and what runs is awaited. */
async function eachAtOnce<T>(all: AsyncIterable<T>, atOnce: number, work: (each: T) => Promise<void>): Promise<void> {
  const running = new Set<Promise<void>>();
  try {
    for await (const each of all) {
      while (running.size >= atOnce) await Promise.race(running);
      const one = work(each).finally(() => running.delete(one));
      one.catch(() => undefined); // awaited through the set
      running.add(one);
    }
    await Promise.all(running);
  } finally {
    await Promise.allSettled(running);
  }
}
