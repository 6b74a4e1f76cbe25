import { randomInt } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { serverBinaries } from '../runtime/servers';
import { answers, serverFile, type ServerCommand, waitUntil } from './process';

export interface S3Keys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** One SeaweedFS process with master, volume server, filer and S3 gateway, at eight consecutive `innerPorts` and `port`. */
export function seaweedCommand(options: {
  dataDir: string;
  host: string;
  port: number;
  /** First of eight ports for its own parts; see `freeInnerPorts`. */
  innerPorts: number;
  keys: S3Keys;
  /** The same data by TLS at a port of its own; the server's user must be able to read the files. */
  tls?: { readonly port: number; readonly certFile: string; readonly keyFile: string };
}): ServerCommand {
  const { dataDir, host, port, innerPorts: inner, keys, tls } = options;
  const config = serverFile(path.join(dataDir, 's3.json'), JSON.stringify(identities(keys)));
  const address = [`-ip=${host}`, `-ip.bind=${host}`, `-dir=${dataDir}`];
  // `none` makes it the only master, which leads at once; by default it waits 1.5 s for others.
  const master = [`-master.port=${inner}`, `-master.port.grpc=${inner + 1}`, '-master.peers=none'];
  const volume = [
    `-volume.port=${inner + 2}`,
    `-volume.port.grpc=${inner + 3}`,
    '-volume.max=0',
    '-volume.preStopSeconds=0',
  ];
  const filer = [
    '-filer',
    `-filer.port=${inner + 4}`,
    `-filer.port.grpc=${inner + 5}`,
    `-filer.localSocket=${dataDir}/filer.sock`,
  ];
  const s3 = [
    '-s3',
    `-s3.port=${port}`,
    `-s3.port.grpc=${inner + 6}`,
    `-s3.config=${config}`,
    `-s3.localSocket=${dataDir}/s3.sock`,
    ...(tls ? [`-s3.port.https=${tls.port}`, `-s3.cert.file=${tls.certFile}`, `-s3.key.file=${tls.keyFile}`] : []),
  ];
  const off = ['-s3.port.iceberg=0', '-s3.port.lance=0', '-master.telemetry=false', '-master.volumeSizeLimitMB=1024'];
  const argv = [serverBinaries().weed, 'server', ...address, ...master, ...volume, ...filer, ...s3, ...off];
  return { argv, cwd: dataDir, unprivileged: true };
}

/**
 * SeaweedFS 4.48 also listens on /tmp/seaweedfs-<part>-grpc-<port>.sock, whatever its address, and its parts prefer that way
 * to each other: two processes with equal gRPC ports on different addresses would mix their data. Hence ports, not addresses,
 * keep two of them apart.
 */
export function freeInnerPorts(): number {
  for (;;) {
    const first = 12_000 + 10 * randomInt(0, 1900); // below Linux's ephemeral ports
    const taken = fs.readFileSync('/proc/net/unix', 'utf8');
    if (!socketFiles(first).some((file) => taken.includes(file))) return first;
  }
}

/** Removes the socket files that a killed SeaweedFS leaves in /tmp. Only after it is gone. */
export function removeSockets(innerPorts: number): void {
  for (const file of socketFiles(innerPorts)) fs.rmSync(file, { force: true });
}

function socketFiles(inner: number): string[] {
  const parts = Object.entries({ master: 1, volume: 3, filer: 5, s3: 6 });
  return parts.map(([part, offset]) => `/tmp/seaweedfs-${part}-grpc-${inner + offset}.sock`);
}

function identities({ accessKeyId, secretAccessKey }: S3Keys): object {
  const credentials = [{ accessKey: accessKeyId, secretKey: secretAccessKey }];
  return { identities: [{ name: 'lab', credentials, actions: ['Admin', 'Read', 'Write', 'List', 'Tagging'] }] };
}

/** Resolves when the S3 gateway answers; the filer behind it is started before it. */
export async function seaweedReady({ host, port }: { host: string; port: number }): Promise<void> {
  await waitUntil(`S3 at ${host}:${port} answering`, () => answers(`http://${host}:${port}/healthz`), {
    deadlineMs: 60_000,
  });
}
