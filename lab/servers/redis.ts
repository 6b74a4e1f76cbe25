import * as path from 'node:path';
import { serverBinaries } from '../runtime/servers';
import { serverFile, type ServerCommand, waitUntil } from './process';

export interface RedisOptions {
  readonly dataDir: string;
  readonly host: string;
  readonly port: number;
  readonly password: string;
  /** Follow this server; both have the same password. */
  readonly replicaOf?: { readonly host: string; readonly port: number };
  readonly appendOnly?: boolean;
  readonly settings?: Readonly<Record<string, string>>;
  /** Left out: the lab's own. Valkey has its own data format: never start it on Redis's folder or the reverse. */
  readonly program?: string | undefined;
}

/** Writes the server's configuration beside its data when there is none, and returns its argv. */
export function redisCommand(options: RedisOptions): ServerCommand {
  const program = options.program ?? serverBinaries().redisServer;
  return { argv: [program, writeConfig(options)], cwd: options.dataDir, unprivileged: true };
}

/**
 * The password is in the file, not in argv, where every user would see it. Redis's own `CONFIG REWRITE` changes this file
 * (a promotion persists `replicaof no one` so), therefore the lab writes it once.
 */
function writeConfig({
  dataDir,
  host,
  port,
  password,
  replicaOf,
  appendOnly = true,
  settings = {},
}: RedisOptions): string {
  const all: Record<string, string> = {
    bind: host,
    port: `${port}`,
    dir: dataDir,
    requirepass: password,
    masterauth: password,
    appendonly: appendOnly ? 'yes' : 'no',
    appendfsync: 'everysec',
    maxmemory: '256mb',
    'maxmemory-policy': 'noeviction',
    'repl-diskless-sync-delay': '0', // the default waits 5 s for more replicas before the first sync
    'repl-backlog-size': '16mb',
    'shutdown-timeout': '2', // a stopping master waits for its replicas; the default of 10 s is for busy ones
    loglevel: 'notice',
    ...(replicaOf ? { replicaof: `${replicaOf.host} ${replicaOf.port}` } : {}),
    ...settings,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name} ${value === '' ? '""' : value}`);
  return serverFile(path.join(dataDir, 'redis.conf'), `${lines.join('\n')}\n`);
}

/** Resolves when the server has loaded its data and answers; a replica may still be syncing. */
export async function redisReady(options: { host: string; port: number; password: string }): Promise<void> {
  const { Redis } = await import('ioredis'); // heavy, and needed by this server alone
  await waitUntil(`Redis at ${options.host}:${options.port} answering`, async () => {
    const client = new Redis({
      ...options,
      lazyConnect: true,
      retryStrategy: null,
      maxRetriesPerRequest: 0,
      connectTimeout: 2000,
    });
    client.on('error', () => undefined); // the same error rejects the command below
    try {
      await client.connect();
      return (await client.ping()) === 'PONG';
    } finally {
      client.disconnect();
    }
  });
}
