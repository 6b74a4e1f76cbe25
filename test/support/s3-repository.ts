import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { createRepository } from '../../adapters/repository';
import type { S3RepositorySettings } from '../../adapters/repository/settings';
import type { Repository } from '../../core/repository';
import { Secret } from '../../core/secret';
import { startS3, type TestServer } from './servers';

export interface TestS3 {
  readonly server: TestServer & { readonly endpoint: string };
  readonly admin: S3Client;
  settings(prefix: string, changes?: Partial<S3RepositorySettings>): S3RepositorySettings;
  repository(prefix: string, application?: string): Repository;
}

/** SeaweedFS with the bucket `backups` in it. */
export async function startTestS3(): Promise<TestS3> {
  const server = await startS3();
  const { endpoint, region, accessKeyId, secretAccessKey } = server;
  const admin = new S3Client({ endpoint, region, forcePathStyle: true, credentials: { accessKeyId, secretAccessKey } });
  await admin.send(new CreateBucketCommand({ Bucket: 'backups' }));
  const settings: TestS3['settings'] = (prefix, changes = {}) => ({
    kind: 's3',
    bucket: 'backups',
    region,
    endpoint,
    prefix,
    credentials: { accessKeyId: new Secret(accessKeyId), secretAccessKey: new Secret(secretAccessKey) },
    storageClass: 'STANDARD',
    ...changes,
  });
  const repository = (prefix: string, application = 'shop') => createRepository('cloud', settings(prefix), application);
  return { server, admin, settings, repository };
}
