import { GetObjectCommand, CreateBucketCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { ListHostedZonesCommand, Route53Client } from '@aws-sdk/client-route-53';
import Redis from 'ioredis';
import { MongoClient } from 'mongodb';
import * as servers from '../support/servers';
import { openPostgres } from '../../lab/servers/postgresql-client';

test('PostgreSQL keeps what was committed over a kill, and answers on its own address', async () => {
  const postgres = await servers.startPostgres();
  const write = await openPostgres(postgres.url);
  await write.query('CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)');
  await postgres.server.kill('SIGKILL');
  expect(postgres.server.pid).toBeNull();
  await postgres.server.start();
  const read = await openPostgres(postgres.url);
  expect((await read.query('SELECT n FROM kept')).rows).toEqual([{ n: 7 }]);
  await read.end();
  await postgres.stop();
});

test('a MongoDB replica set of three acknowledges majority writes with authentication', async () => {
  const set = await servers.startMongoReplicaSet({ members: 3 });
  const client = await new MongoClient(set.url).connect();
  await client
    .db('shop')
    .collection('kept')
    .insertOne({ n: 7 }, { writeConcern: { w: 'majority' } });
  expect(
    await client
      .db('shop')
      .collection('kept')
      .findOne({}, { projection: { _id: 0 } }),
  ).toEqual({ n: 7 });
  await client.close();
  const stranger = await new MongoClient(set.url.replace(set.password, 'wrong'))
    .connect()
    .catch((error: Error) => error);
  expect(stranger).toBeInstanceOf(Error);
  await set.stop();
});

test.each(['redis', 'valkey'] as const)('a %s replica follows its master', async (flavour) => {
  const master = await servers.startRedis({ flavour });
  const replica = await servers.startRedis({ flavour, replicaOf: master, password: master.password });
  const [write, read] = [new Redis(master.url), new Redis(replica.url)];
  await write.set('kept', '7');
  await servers.waitUntil('the replica having the key', async () => (await read.get('kept')) === '7');
  expect(await read.info('replication')).toContain('role:slave');
  write.disconnect();
  read.disconnect();
  await Promise.all([master.stop(), replica.stop()]);
});

test('S3 stores and returns an object', async () => {
  const s3 = await servers.startS3();
  const { endpoint, region, accessKeyId, secretAccessKey } = s3;
  const client = new S3Client({
    endpoint,
    region,
    credentials: { accessKeyId, secretAccessKey },
    forcePathStyle: true,
  });
  await client.send(new CreateBucketCommand({ Bucket: 'kept' }));
  await client.send(new PutObjectCommand({ Bucket: 'kept', Key: 'a/b', Body: 'seven' }));
  const stored = await client.send(new GetObjectCommand({ Bucket: 'kept', Key: 'a/b' }));
  expect(await stored.Body?.transformToString()).toBe('seven');
  client.destroy();
  await s3.stop();
});

test('moto answers for Route 53', async () => {
  const { endpoint, region, stop } = await servers.startMoto();
  const client = new Route53Client({ endpoint, region, credentials: { accessKeyId: 'any', secretAccessKey: 'any' } });
  expect((await client.send(new ListHostedZonesCommand({}))).HostedZones).toEqual([]);
  client.destroy();
  await stop();
});

test('Temporal has its namespace and our search attributes', async () => {
  const { address, namespace, stop } = await servers.startTemporalDev();
  const { Connection } = await import('@temporalio/client');
  const connection = await Connection.connect({ address });
  const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
  expect(Object.keys(customAttributes ?? {})).toEqual(expect.arrayContaining(['DrApplication', 'DrEpoch', 'DrPhase']));
  await connection.close();
  await stop();
});
