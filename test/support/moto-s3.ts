import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { createRepository } from '../../adapters/repository';
import type { S3RepositorySettings } from '../../adapters/repository/settings';
import type { Repository } from '../../core/repository';
import { Secret } from '../../core/secret';
import { startMoto } from './servers';

/** moto's S3: archive classes, RestoreObject and lifecycle rules, which SeaweedFS does not know. */
export interface MotoS3 {
  readonly endpoint: string;
  readonly admin: S3Client;
  bucket(): Promise<string>;
  /** Whose artifacts begin in this class. */
  repository(bucket: string, storageClass?: S3RepositorySettings['storageClass']): Repository;
  /** From here on an object that was asked back can be read when it was looked at so many times. */
  comesBackAfter(looks: number): Promise<void>;
  stop(): Promise<void>;
}

export async function startMotoS3(): Promise<MotoS3> {
  const server = await startMoto();
  const { endpoint, region } = server;
  const credentials = { accessKeyId: 'any', secretAccessKey: 'any' };
  const admin = new S3Client({ endpoint, region, forcePathStyle: true, credentials });
  let buckets = 0;
  return {
    endpoint,
    admin,
    async bucket() {
      const name = `backups-${(buckets += 1)}`;
      await admin.send(new CreateBucketCommand({ Bucket: name }));
      return name;
    },
    repository(bucket, storageClass = 'STANDARD') {
      const secrets = { accessKeyId: new Secret('any'), secretAccessKey: new Secret('any') };
      const settings: S3RepositorySettings = {
        ...{ kind: 's3', bucket, region, endpoint, prefix: '', credentials: secrets, storageClass },
      };
      return createRepository('cloud', settings, 'ultramarket');
    },
    async comesBackAfter(looks) {
      const transition = { progression: 'manual', times: looks };
      const answer = await fetch(`${endpoint}/moto-api/state-manager/set-transition`, {
        ...{ method: 'POST', body: JSON.stringify({ model_name: 's3::keyrestore', transition }) },
      });
      if (!answer.ok) throw new Error(`moto answered ${answer.status}`);
    },
    stop: () => server.stop(),
  };
}
