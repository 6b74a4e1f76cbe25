import {
  AbortMultipartUploadCommand,
  DeleteObjectsCommand,
  ListMultipartUploadsCommand,
  type ListMultipartUploadsCommandOutput,
  ListObjectsV2Command,
  type ListObjectsV2CommandOutput,
  paginateListObjectsV2,
} from '@aws-sdk/client-s3';
import type { Repository } from '../../core/repository';
import { checkKey, checkPrefix } from './keys';
import type { S3Bucket } from './s3-bucket';
import { codeOf, s3Failure } from './s3-errors';

/** S3 deletes no more in one request. */
const KEYS_PER_DELETE = 1_000;

const KEYS_OF_A_FIRST_LOOK = 10;

/** What lies in a bucket, and its removal. */
export function createS3Listing(
  s3: S3Bucket,
): Pick<Repository, 'list' | 'folders' | 'delete' | 'unfinishedUploads' | 'abortUpload'> {
  const { client, bucket, place } = s3;
  return {
    async *list(prefix, { after } = {}) {
      checkPrefix(prefix);
      const from = after ? { StartAfter: s3.fullKey(after) } : {};
      try {
        for await (const page of paginateListObjectsV2(
          { client },
          { Bucket: bucket, Prefix: s3.fullKey(prefix), ...from },
        )) {
          for (const { Key, Size, LastModified, StorageClass = 'STANDARD' } of page.Contents ?? []) {
            const modifiedAt = LastModified!.toISOString();
            yield { key: s3.ownKey(Key!), sizeBytes: Size ?? 0, modifiedAt, storageClass: StorageClass };
          }
        }
      } catch (error) {
        throw s3Failure(error, `listing ${prefix}`, place);
      }
    },

    async folders(prefix) {
      checkPrefix(prefix);
      const names: string[] = [];
      const request = { Bucket: bucket, Prefix: s3.fullKey(prefix), Delimiter: '/' };
      try {
        // A folder that holds objects says so with a few of them; one that holds folders is mostly told by the first page, too.
        let more: { MaxKeys?: number; ContinuationToken?: string } | null = { MaxKeys: KEYS_OF_A_FIRST_LOOK };
        while (more !== null) {
          const page: ListObjectsV2CommandOutput = await client.send(new ListObjectsV2Command({ ...request, ...more }));
          for (const each of page.CommonPrefixes ?? []) names.push(s3.ownKey(each.Prefix!).slice(prefix.length, -1));
          if (page.Contents?.length) return { names, hasObjects: true };
          more = page.NextContinuationToken ? { ContinuationToken: page.NextContinuationToken } : null;
        }
      } catch (error) {
        throw s3Failure(error, `listing the folders of ${prefix}`, place);
      }
      return { names, hasObjects: false };
    },

    async delete(keys, signal) {
      keys.forEach(checkKey);
      await s3.mapped('deleting objects', async () => {
        for (let at = 0; at < keys.length; at += KEYS_PER_DELETE) {
          const Objects = keys.slice(at, at + KEYS_PER_DELETE).map((key) => ({ Key: s3.fullKey(key) }));
          const command = new DeleteObjectsCommand({ Bucket: bucket, Delete: { Objects, Quiet: true } });
          const { Errors = [] } = await client.send(command, signal ? { abortSignal: signal } : {});
          const first = Errors.find((each) => each.Code !== 'NoSuchKey');
          if (!first) continue;
          // Named as the SDK would name it, so that it is mapped as any other.
          throw Object.assign(new Error(`${first.Key}: ${first.Message}`), { name: first.Code ?? 'InternalError' });
        }
      });
    },

    async *unfinishedUploads(prefix) {
      checkPrefix(prefix);
      try {
        let from: { KeyMarker?: string; UploadIdMarker?: string } | null = {};
        while (from !== null) {
          const request = { Bucket: bucket, Prefix: s3.fullKey(prefix), ...from };
          const page: ListMultipartUploadsCommandOutput = await client.send(new ListMultipartUploadsCommand(request));
          for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
            const startedAt = (Initiated ?? new Date(0)).toISOString();
            yield { key: s3.ownKey(Key!), uploadId: UploadId!, startedAt };
          }
          const { NextKeyMarker: KeyMarker, NextUploadIdMarker: UploadIdMarker } = page;
          from = page.IsTruncated ? { KeyMarker, UploadIdMarker } : null;
        }
      } catch (error) {
        throw s3Failure(error, `listing unfinished uploads below ${prefix}`, place);
      }
    },

    async abortUpload(key, uploadId) {
      checkKey(key);
      await s3.mapped(`aborting the upload of ${key}`, async () => {
        const request = { Bucket: bucket, Key: s3.fullKey(key), UploadId: uploadId };
        await client.send(new AbortMultipartUploadCommand(request)).catch((error: unknown) => {
          if (codeOf(error) !== 'NoSuchUpload') throw error;
        });
      });
    },
  };
}
