import { CreateBucketCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { randomBytes } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { cacheFolder } from '../lab/runtime/servers';
import { freeLoopbackHost, freeLoopbackPort } from '../lab/servers/loopback';
import { giveToServers, serverFolder } from '../lab/servers/process';
import { RunningServer } from '../lab/servers/running-server';
import { freeInnerPorts, removeSockets, type S3Keys, seaweedCommand, seaweedReady } from '../lab/servers/seaweedfs';
import { temporalCommand, temporalReady } from '../lab/servers/temporal';

/** One S3 for everybody: pgBackRest speaks it by TLS only, so that ours and every peer use the same TLS endpoint. */
export interface RigS3 {
  readonly endpoint: string;
  /** The same without TLS, for what is not measured. */
  readonly plainEndpoint: string;
  readonly host: string;
  readonly tlsPort: number;
  readonly region: string;
  readonly keys: S3Keys;
  /** The certificate that signs itself, as PEM. */
  readonly authorityFile: string;
  /** Ours and the peers' bucket. */
  readonly buckets: { readonly ours: string; readonly peers: string };
  /** What lies below a prefix of the peers' bucket. */
  storedBytes(prefix: string): Promise<number>;
}

/** What a measurement stands on: S3, Temporal and a folder, of its own and gone after it. */
export interface Rig {
  readonly folder: string;
  readonly s3: RigS3;
  readonly temporal: string;
  readonly say: (line: string) => void;
  /** Undone when the rig ends, the last first. */
  readonly defer: (undo: () => Promise<void>) => void;
}

const S3_PORT = 9000;
const S3_TLS_PORT = 9443;
const REGION = 'us-east-1';
const BUCKETS = { ours: 'ours', peers: 'peers' } as const;

/** Runs `work` on a new rig and takes everything away after it, whatever happened. */
export async function withRig<T>(say: (line: string) => void, work: (rig: Rig) => Promise<T>): Promise<T> {
  const undo: (() => Promise<void>)[] = [];
  const defer = (each: () => Promise<void>) => void undo.push(each);
  const interrupted = Promise.withResolvers<never>();
  const stop = (signal: NodeJS.Signals) => interrupted.reject(new Error(`interrupted by ${signal}`));
  process.once('SIGINT', stop).once('SIGTERM', stop);
  try {
    return await Promise.race([start(say, defer).then(work), interrupted.promise]);
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop);
    for (const each of undo.toReversed()) await each();
  }
}

async function start(say: (line: string) => void, defer: Rig['defer']): Promise<Rig> {
  const parent = path.join(cacheFolder(), 'bench'); // beside the fixtures: a file system that can may share their blocks
  fs.mkdirSync(parent, { recursive: true });
  const folder = path.join(parent, randomBytes(3).toString('hex'));
  fs.mkdirSync(folder, { mode: 0o755 });
  defer(() => fs.promises.rm(folder, { recursive: true, force: true }));
  say(`starting S3 and Temporal below ${folder}`);
  const s3 = await startS3(folder, defer);
  const temporal = await startTemporal(folder, defer);
  return { folder, s3, temporal, say, defer };
}

async function startS3(folder: string, defer: Rig['defer']): Promise<RigS3> {
  const dataDir = serverFolder(path.join(folder, 's3'));
  const host = await freeLoopbackHost(S3_PORT);
  const { certFile, keyFile } = await selfSigned(folder, host);
  const keys = { accessKeyId: 'bench', secretAccessKey: randomBytes(18).toString('hex') };
  const innerPorts = freeInnerPorts();
  const tls = { port: S3_TLS_PORT, certFile, keyFile };
  const server = new RunningServer({
    name: 'SeaweedFS',
    command: seaweedCommand({ dataDir, host, port: S3_PORT, innerPorts, keys, tls }),
    logFile: path.join(folder, 's3.log'),
    ready: () => seaweedReady({ host, port: S3_PORT }),
  });
  defer(async () => {
    await server.kill();
    removeSockets(innerPorts);
  });
  await server.start();
  const plainEndpoint = `http://${host}:${S3_PORT}`;
  const client = new S3Client({ endpoint: plainEndpoint, region: REGION, credentials: keys, forcePathStyle: true });
  defer(async () => client.destroy());
  for (const Bucket of Object.values(BUCKETS)) await client.send(new CreateBucketCommand({ Bucket }));
  return {
    endpoint: `https://${host}:${S3_TLS_PORT}`,
    plainEndpoint,
    host,
    tlsPort: S3_TLS_PORT,
    region: REGION,
    keys,
    authorityFile: certFile,
    buckets: BUCKETS,
    storedBytes: (prefix) => storedBytes(client, prefix),
  };
}

async function storedBytes(client: S3Client, Prefix: string): Promise<number> {
  let bytes = 0;
  for (let ContinuationToken: string | undefined; ;) {
    const page = await client.send(new ListObjectsV2Command({ Bucket: BUCKETS.peers, Prefix, ContinuationToken }));
    for (const { Size = 0 } of page.Contents ?? []) bytes += Size;
    ContinuationToken = page.NextContinuationToken;
    if (ContinuationToken === undefined) return bytes;
  }
}

/** Node, pgBackRest and boto are each told to trust it. */
async function selfSigned(folder: string, host: string): Promise<{ certFile: string; keyFile: string }> {
  const tls = serverFolder(path.join(folder, 'tls'));
  const [certFile, keyFile] = [path.join(tls, 'certificate.pem'), path.join(tls, 'key.pem')];
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '7'];
  const subject = ['-subj', `/CN=${host}`, '-addext', `subjectAltName=IP:${host},DNS:${host}`];
  execFileSync('openssl', ['req', '-x509', ...kind, '-keyout', keyFile, '-out', certFile, ...subject], {
    stdio: 'pipe',
  });
  await giveToServers(tls);
  return { certFile, keyFile };
}

async function startTemporal(folder: string, defer: Rig['defer']): Promise<string> {
  const dataDir = serverFolder(path.join(folder, 'temporal'));
  const at = { host: '127.0.0.1', port: await freeLoopbackPort('127.0.0.1') };
  const server = new RunningServer({
    name: 'Temporal',
    command: temporalCommand({ dataDir, ...at, databaseFile: path.join(dataDir, 'temporal.db') }),
    logFile: path.join(folder, 'temporal.log'),
    ready: () => temporalReady(at),
  });
  defer(() => server.kill());
  await server.start();
  return `${at.host}:${at.port}`;
}
