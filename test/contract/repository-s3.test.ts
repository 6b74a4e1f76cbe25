import { GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import { startTestS3 } from '../support/s3-repository';
import { describeRepository } from './repository.contract';

describeRepository('S3 (SeaweedFS)', async () => {
  const s3 = await startTestS3();
  let count = 0;
  return {
    async empty() {
      count += 1;
      return s3.repository(`test-${count}`);
    },
    neighbour: () => s3.repository(`test-${count}`, 'shop-2'),
    async alter(repository, key, change) {
      const object = { Bucket: 'backups', Key: `${repository.location.slice('s3://backups/'.length)}/${key}` };
      const { Body } = await s3.admin.send(new GetObjectCommand(object));
      const bytes = Buffer.from(await Body!.transformToByteArray());
      await s3.admin.send(new PutObjectCommand({ ...object, Body: change(bytes) }));
    },
  };
});
