import { ListObjectsV2Command, type S3Client } from '@aws-sdk/client-s3';
import { createS3Client } from './s3-client';
import { s3Failure, type S3Place } from './s3-errors';
import type { S3RepositorySettings } from './settings';

/** Uploads, and beside them the reads and listings of several stores. */
const PARALLEL_REQUESTS = 32;

export interface S3Options {
  readonly name: string;
  readonly settings: S3RepositorySettings;
  /** `<prefix>/<application>`, without a slash at the end. */
  readonly prefix: string;
}

/** A repository's part of a bucket, and the one door to it. */
export interface S3Bucket {
  readonly client: S3Client;
  readonly bucket: string;
  readonly place: S3Place;
  readonly fullKey: (key: string) => string;
  readonly ownKey: (fullKey: string) => string;
  /** Runs the work with its errors turned into those of core. Before the first, the bucket is looked at. */
  readonly mapped: <T>(action: string, work: () => Promise<T>) => Promise<T>;
  /** Throws ConfigInvalid, AccessDenied or RepositoryUnavailable where the bucket cannot be used. */
  readonly check: () => Promise<void>;
}

/** Connects to nothing yet. */
export function openBucket({ name, settings, prefix }: S3Options): S3Bucket {
  const client = createS3Client(settings, PARALLEL_REQUESTS);
  const { bucket } = settings;
  const place: S3Place = {
    name,
    bucket,
    location: `s3://${bucket}/${prefix}`,
    region: settings.region,
    endpoint: settings.endpoint ?? `S3 in ${settings.region}`,
  };
  let usable: Promise<unknown> | null = null;

  /** Not HeadBucket: its errors have no body either. */
  async function check(): Promise<void> {
    try {
      await client.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: `${prefix}/`, MaxKeys: 1 }));
    } catch (error) {
      throw s3Failure(error, 'opening it', place);
    }
  }

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

  return {
    client,
    bucket,
    place,
    fullKey: (key) => `${prefix}/${key}`,
    ownKey: (full) => full.slice(prefix.length + 1),
    check,
    async mapped(action, work) {
      await ensureUsable();
      try {
        return await work();
      } catch (error) {
        throw s3Failure(error, action, place);
      }
    },
  };
}
