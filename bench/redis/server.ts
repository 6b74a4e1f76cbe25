import * as fs from 'node:fs';
import * as path from 'node:path';
import Redis from 'ioredis';
import { randomBytes } from 'node:crypto';
import { infoPosition, readInfo } from '../../adapters/engines/redis/info';
import { offsetOf } from '../../adapters/engines/redis/positions';
import { freeLoopbackHost } from '../../lab/servers/loopback';
import { serverFolder } from '../../lab/servers/process';
import { redisCommand, redisReady } from '../../lab/servers/redis';
import { RunningServer } from '../../lab/servers/running-server';
import type { Rig } from '../rig';

/** One primary without replicas: what is measured reads and archives it itself. */
export interface BenchRedis {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly password: string;
  readonly url: string;
  readonly client: Redis;
  readonly serverVersion: string;
  /** Where its replication stream ends now. */
  newest(): Promise<number>;
  stop(): Promise<void>;
}

export const SITE = 'primary';
const PORT = 6379;
/**
 * Nothing of its own on the disk, so that only what is measured writes there. A command of half a gigabyte has to fit into what
 * the server keeps for an archiver.
 */
const SETTINGS = {
  maxmemory: '0',
  save: '',
  'repl-backlog-size': '1gb',
  'client-output-buffer-limit': 'replica 0 0 0',
};

export async function startServer(rig: Rig, name: string): Promise<BenchRedis> {
  rig.say(`starting the server ${name}`);
  const at = { host: await freeLoopbackHost(PORT), port: PORT, password: randomBytes(18).toString('hex') };
  const folder = serverFolder(path.join(rig.folder, name));
  const dataDir = serverFolder(path.join(folder, 'data'));
  const server = new RunningServer({
    name: `Redis ${name}`,
    command: redisCommand({ dataDir, ...at, appendOnly: false, settings: SETTINGS }),
    logFile: path.join(folder, 'redis.log'),
    ready: () => redisReady(at),
  });
  const client = new Redis({ ...at, lazyConnect: true });
  const stop = async () => {
    client.disconnect();
    await server.kill();
    fs.rmSync(folder, { recursive: true, force: true });
  };
  rig.defer(stop);
  await server.start();
  await client.connect();
  const info = await readInfo(client, 'server');
  return {
    name,
    ...at,
    url: `redis://:${at.password}@${at.host}:${at.port}`,
    client,
    serverVersion: info.get('redis_version') ?? '',
    newest: () => streamEnd(client),
    stop,
  };
}

/** Where the server's replication stream ends, asked on this connection: behind everything that was acknowledged on it. */
export async function streamEnd(client: Redis): Promise<number> {
  const position = infoPosition(await readInfo(client, 'replication'));
  if (!position) throw new Error('the server does not say where its stream ends');
  return offsetOf(position);
}
