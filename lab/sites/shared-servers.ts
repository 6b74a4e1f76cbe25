import {
  CreateHostedZoneCommand,
  ChangeResourceRecordSetsCommand,
  ListResourceRecordSetsCommand,
  type ResourceRecordSet,
  Route53Client,
} from '@aws-sdk/client-route-53';
import { CreateBucketCommand, HeadBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { CreateTopicCommand, SNSClient } from '@aws-sdk/client-sns';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { motoCommand, motoReady } from '../servers/moto';
import { seaweedCommand, seaweedReady } from '../servers/seaweedfs';
import { temporalCommand, temporalReady } from '../servers/temporal';
import type { ProgramSpec } from '../supervisor/program';
import { type LabBuild, runServer, storeFolder } from './build';
import { projectRoot } from '../runtime/servers';

export const REGION = 'us-east-1';
export const BUCKETS = ['ultramarket-backups', 'ultramarket-offsite', 'ultramarket-cdn-backup'] as const;
export const PUBLIC_NAME = 'api.ultramarket.com';
/** There only while a drill runs. */
export const DRILL_NAME = 'drill.ultramarket.com';
const ZONE = 'ultramarket.com';
const TTL_SECONDS = 60;
/** A change reaches Route 53's own servers one after another too. */
const DNS_DELAYS_MS = [800, 1_500];
/** What an emulator takes for credentials. */
const ANY = { accessKeyId: 'lab', secretAccessKey: 'lab' };

export async function startTemporal(build: LabBuild): Promise<void> {
  const { host, port, uiPort } = build.plan.temporal;
  const dataDir = storeFolder(build, 'shared', 'temporal');
  const command = temporalCommand({ dataDir, host, port, uiPort, databaseFile: path.join(dataDir, 'temporal.db') });
  await runServer(build, infrastructure('temporal', command), () => temporalReady({ host, port }));
}

/** Starts S3 and creates the buckets; the keys are the secrets `s3-access-key-id` and `s3-secret-access-key`. */
export async function startS3(build: LabBuild): Promise<void> {
  const { host, port, innerPorts } = build.plan.s3;
  const keys = {
    accessKeyId: build.secrets.password('s3-access-key-id'),
    secretAccessKey: build.secrets.password('s3-secret-access-key'),
  };
  const command = seaweedCommand({ dataDir: storeFolder(build, 'shared', 's3'), host, port, innerPorts, keys });
  await runServer(build, infrastructure('s3', command), () => seaweedReady({ host, port }));
  const client = new S3Client({
    endpoint: `http://${host}:${port}`,
    region: REGION,
    credentials: keys,
    forcePathStyle: true,
  });
  try {
    await Promise.all(BUCKETS.map((bucket) => createBucket(client, bucket)));
  } finally {
    client.destroy();
  }
}

async function createBucket(client: S3Client, bucket: string): Promise<void> {
  try {
    await client.send(new HeadBucketCommand({ Bucket: bucket }));
  } catch (error) {
    if ((error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode !== 404) throw error;
    await client.send(new CreateBucketCommand({ Bucket: bucket }));
  }
}

/** Starts the AWS emulator with the zone, whose records are those of the last `down`, and the name servers that serve it. */
export async function startAwsAndDns(build: LabBuild): Promise<{ zoneId: string; topicArn: string }> {
  const { aws, dns } = build.plan;
  const endpoint = `http://${aws.host}:${aws.port}`;
  const command = motoCommand({ dataDir: storeFolder(build, 'shared', 'aws'), ...aws });
  await runServer(build, infrastructure('aws', command), () => motoReady(aws));
  const zoneId = await createZone(build, endpoint);
  const sns = new SNSClient({ endpoint, region: REGION, credentials: ANY });
  const { TopicArn: topicArn = '' } = await sns.send(new CreateTopicCommand({ Name: 'ultramarket-dr' }));
  sns.destroy();
  const program = path.join(projectRoot(), 'dist/lab/dns/main.js');
  const env = {
    DNS_HOSTS: dns.map(({ host }) => host).join(','),
    DNS_PORT: `${dns[0].port}`,
    DNS_ROUTE53_ENDPOINT: endpoint,
    DNS_ZONE_ID: zoneId,
    DNS_DELAY_MS: (build.dnsDelaysMs ?? DNS_DELAYS_MS).join(','),
    DNS_RESOLVER_HOSTS: build.plan.resolver.host,
  };
  await build.supervisor.register(infrastructure('dns', { argv: [process.execPath, program], env, cwd: build.folder }));
  return { zoneId, topicArn };
}

async function createZone(build: LabBuild, endpoint: string): Promise<string> {
  const client = new Route53Client({ endpoint, region: REGION, credentials: ANY });
  try {
    const CallerReference = `${Date.now()}`;
    const { HostedZone } = await client.send(new CreateHostedZoneCommand({ Name: ZONE, CallerReference }));
    const zoneId = (HostedZone?.Id ?? '').replace('/hostedzone/', '');
    const Changes = savedRecords(build).map((record) => ({ Action: 'UPSERT' as const, ResourceRecordSet: record }));
    await client.send(new ChangeResourceRecordSetsCommand({ HostedZoneId: zoneId, ChangeBatch: { Changes } }));
    return zoneId;
  } finally {
    client.destroy();
  }
}

function recordsFile({ folder }: { folder: string }): string {
  return path.join(folder, 'dns-records.json');
}

function savedRecords(build: LabBuild): ResourceRecordSet[] {
  const file = recordsFile(build);
  if (fs.existsSync(file)) return JSON.parse(fs.readFileSync(file, 'utf8')) as ResourceRecordSet[];
  const ResourceRecords = [{ Value: build.plan.sites.primary.gateway.host }];
  return [{ Name: `${PUBLIC_NAME}.`, Type: 'A', TTL: TTL_SECONDS, ResourceRecords }];
}

/** Keeps the zone's records for the next `up`: the emulator forgets them, and a failover's change must not be lost. */
export async function saveRecords(lab: { folder: string; aws: { endpoint: string; zoneId: string } }): Promise<void> {
  const client = new Route53Client({ endpoint: lab.aws.endpoint, region: REGION, credentials: ANY, maxAttempts: 1 });
  try {
    const { ResourceRecordSets = [] } = await client.send(
      new ListResourceRecordSetsCommand({ HostedZoneId: lab.aws.zoneId }),
    );
    const ours = ResourceRecordSets.filter(({ Type }) => Type !== 'NS' && Type !== 'SOA');
    if (ours.length > 0) fs.writeFileSync(recordsFile(lab), JSON.stringify(ours, null, 2));
  } finally {
    client.destroy();
  }
}

function infrastructure(name: string, command: Omit<ProgramSpec, 'name' | 'site' | 'kind' | 'restart'>): ProgramSpec {
  return { ...command, name, site: 'shared', kind: 'infrastructure', restart: true };
}
