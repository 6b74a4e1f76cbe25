import * as path from 'node:path';
import { freeLoopbackHost } from '../../lab/servers/loopback';
import { mongodCommand, mongodReady } from '../../lab/servers/mongodb';
import { serverFolder } from '../../lab/servers/process';
import { RunningServer } from '../../lab/servers/running-server';
import { restoredUrl } from './restored-copy';

const PORT = 27017;

/** An empty server that belongs to no set, started as drctl starts the one that it loads. */
export async function startEmptyServer(folder: string) {
  const at = { host: await freeLoopbackHost(PORT), port: PORT };
  const dataDir = serverFolder(path.join(serverFolder(folder), 'db'));
  const extra = ['--setParameter', 'ttlMonitorEnabled=false'];
  const server = new RunningServer({
    name: 'the empty server',
    command: mongodCommand({ dataDir, ...at, replicaSet: null, cacheGigabytes: 0.5, extra }),
    logFile: path.join(folder, 'mongod.log'),
    ready: () => mongodReady(at),
  });
  await server.start();
  return { ...at, url: restoredUrl(at.host, PORT), kill: () => server.kill() };
}
