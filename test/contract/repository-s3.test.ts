import { CreateBucketCommand, GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { createRepository } from '../../adapters/repository';
import type { S3RepositorySettings } from '../../adapters/repository/settings';
import { Secret } from '../../core/secret';
import { startS3 } from '../support/servers';
import { describeRepository } from './repository.contract';

describeRepository('S3 (SeaweedFS)', async () => {
  const server = await startS3();
  const { accessKeyId, secretAccessKey } = server;
  const admin = new S3Client({
    endpoint: server.endpoint,
    region: server.region,
    forcePathStyle: true,
    credentials: { accessKeyId, secretAccessKey },
  });
  await admin.send(new CreateBucketCommand({ Bucket: 'backups' }));
  let count = 0;
  const settings = (prefix: string): S3RepositorySettings => ({
    kind: 's3',
    bucket: 'backups',
    region: server.region,
    endpoint: server.endpoint,
    prefix,
    credentials: { accessKeyId: new Secret(accessKeyId), secretAccessKey: new Secret(secretAccessKey) },
    storageClass: 'STANDARD',
  });
  return {
    async empty() {
      count += 1;
      return createRepository('cloud', settings(`test-${count}`), 'shop');
    },
    neighbour: () => createRepository('cloud', settings(`test-${count}`), 'shop-2'),
    async alter(repository, key, change) {
      const object = { Bucket: 'backups', Key: `${repository.location.slice('s3://backups/'.length)}/${key}` };
      const { Body } = await admin.send(new GetObjectCommand(object));
      await admin.send(
        new PutObjectCommand({ ...object, Body: change(Buffer.from(await Body!.transformToByteArray())) }),
      );
    },
  };
});
