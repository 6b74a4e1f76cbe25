import * as path from 'node:path';
import { serverBinaries } from '../runtime/servers';
import { answers, serverFile, type ServerCommand, waitUntil } from './process';

export interface S3Keys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** One SeaweedFS process with master, volume server, filer and S3 gateway. Its other ports lie on the same address. */
export function seaweedCommand(options: { dataDir: string; host: string; port: number; keys: S3Keys }): ServerCommand {
  const { dataDir, host, port, keys } = options;
  const config = serverFile(path.join(dataDir, 's3.json'), JSON.stringify(identities(keys)));
  const address = [`-ip=${host}`, `-ip.bind=${host}`, `-dir=${dataDir}`];
  const s3 = ['-s3', `-s3.port=${port}`, `-s3.config=${config}`, '-s3.port.iceberg=0', '-s3.port.lance=0'];
  // Its sockets default to /tmp/seaweedfs-…-<port>.sock, where two servers would meet.
  const sockets = [`-s3.localSocket=${dataDir}/s3.sock`, `-filer.localSocket=${dataDir}/filer.sock`];
  const volumes = ['-master.volumeSizeLimitMB=1024', '-volume.max=0', '-master.telemetry=false', '-volume.preStopSeconds=0'];
  const argv = [serverBinaries().weed, 'server', '-filer', ...address, ...s3, ...sockets, ...volumes];
  return { argv, cwd: dataDir, unprivileged: true };
}

function identities({ accessKeyId, secretAccessKey }: S3Keys): object {
  const credentials = [{ accessKey: accessKeyId, secretKey: secretAccessKey }];
  return { identities: [{ name: 'lab', credentials, actions: ['Admin', 'Read', 'Write', 'List', 'Tagging'] }] };
}

/** Resolves when the S3 gateway answers; the filer behind it is started before it. */
export async function seaweedReady({ host, port }: { host: string; port: number }): Promise<void> {
  await waitUntil(`S3 at ${host}:${port} answering`, () => answers(`http://${host}:${port}/healthz`), { deadlineMs: 60_000 });
}
