import type { MongoClient, MongoServerError } from 'mongodb';
import { serverBinaries } from '../runtime/servers';
import { type ServerCommand, waitUntil } from './process';

export interface MongoMember {
  readonly host: string;
  readonly port: number;
  /** 0 never leads; of the others the highest leads when it is up to date. */
  readonly priority?: number;
  readonly hidden?: boolean;
  readonly tags?: Readonly<Record<string, string>>;
}

export interface MongoCredentials {
  readonly user: string;
  readonly password: string;
}

/** The argv of one member, or of a server that belongs to no set; with a key file the set asks for authentication. */
export function mongodCommand(options: {
  dataDir: string;
  host: string;
  port: number;
  replicaSet: string | null;
  keyFile?: string;
  cacheGigabytes?: number | undefined;
  extra?: readonly string[];
}): ServerCommand {
  const { replicaSet, cacheGigabytes = 0.25 } = options;
  const address = ['--bind_ip', options.host, '--port', `${options.port}`, '--nounixsocket'];
  const storage = ['--dbpath', options.dataDir, '--wiredTigerCacheSizeGB', `${cacheGigabytes}`];
  const set = replicaSet === null ? [] : ['--replSet', replicaSet, '--oplogSize', '990'];
  const replication = [...set, ...(options.keyFile ? ['--keyFile', options.keyFile] : [])];
  // Diagnostic sampling writes some MB an hour and wakes every second, five times over in one lab.
  const quiet = ['--setParameter', 'diagnosticDataCollectionEnabled=false'];
  // A stopping leader waits this long for a successor (default 15 s); when a whole lab stops there is none.
  const stop = ['--setParameter', 'shutdownTimeoutMillisForSignaledShutdown=1000'];
  const argv = [
    serverBinaries().mongod,
    ...address,
    ...storage,
    ...replication,
    ...quiet,
    ...stop,
    ...(options.extra ?? []),
  ];
  return { argv, cwd: options.dataDir, unprivileged: true };
}

/** Resolves when the member answers, before it belongs to any set. */
export async function mongodReady({ host, port }: { host: string; port: number }): Promise<void> {
  await waitUntil(`MongoDB at ${host}:${port} answering`, () =>
    withDirect({ host, port }, async (client) => (await client.db('admin').command({ ping: 1 })).ok === 1),
  );
}

/** Makes the members one replica set, waits for its leader and creates the root user; a repeat changes nothing. */
export async function initiateReplicaSet(options: {
  name: string;
  members: readonly MongoMember[];
  root?: MongoCredentials;
}): Promise<void> {
  const first = options.members[0];
  if (!first) throw new Error('a replica set needs at least one member');
  const config = {
    _id: options.name,
    // Elections in the lab are for real failures, and a person waits for them: 2 s instead of the default 10.
    settings: { electionTimeoutMillis: 2000, heartbeatIntervalMillis: 500 },
    members: options.members.map(({ host, port, priority = 1, hidden = false, tags = {} }, index) => ({
      _id: index,
      host: `${host}:${port}`,
      priority,
      hidden,
      tags,
    })),
  };
  await withDirect(first, async (client) => {
    try {
      // Without a user yet, a loopback client may do this and create the first user ("localhost exception").
      await client.db('admin').command({ replSetInitiate: config });
    } catch (error) {
      if (!isOneOf(error, ['AlreadyInitialized', 'Unauthorized'])) throw error;
    }
  });
  if (options.root) await createRoot(options.members, options.root);
}

/** The root user must be created at the leader itself, whichever member that is. */
async function createRoot(members: readonly MongoMember[], { user, password }: MongoCredentials): Promise<void> {
  let leader: MongoMember | undefined;
  await waitUntil('the replica set electing its leader', async () => {
    leader = await findLeader(members);
    return leader !== undefined;
  });
  await withDirect(leader as MongoMember, async (client) => {
    try {
      await client
        .db('admin')
        .command({ createUser: user, pwd: password, roles: ['root'], writeConcern: { w: 'majority' } });
    } catch (error) {
      // Once a user exists the exception is over: a repeated call is refused, and there is nothing left to do.
      if (!isOneOf(error, ['Unauthorized', 'Location51003'])) throw error;
    }
  });
}

async function findLeader(members: readonly MongoMember[]): Promise<MongoMember | undefined> {
  for (const member of members) {
    const hello = await withDirect(member, (client) => client.db('admin').command({ hello: 1 }));
    // A member names itself the primary a moment before it takes writes.
    if (hello['isWritablePrimary'] === true) return member;
  }
  return undefined;
}

/** A connection string for the whole set. */
export function mongoUrl(
  name: string,
  members: readonly MongoMember[],
  credentials?: MongoCredentials,
  database = '',
): string {
  const hosts = members.map(({ host, port }) => `${host}:${port}`).join(',');
  const login = credentials
    ? `${encodeURIComponent(credentials.user)}:${encodeURIComponent(credentials.password)}@`
    : '';
  const query = new URLSearchParams({ replicaSet: name, ...(credentials ? { authSource: 'admin' } : {}) });
  return `mongodb://${login}${hosts}/${database}?${query.toString()}`;
}

async function withDirect<T>(
  { host, port }: { host: string; port: number },
  use: (client: MongoClient) => Promise<T>,
): Promise<T> {
  const { MongoClient } = await import('mongodb'); // heavy, and needed by this server alone
  const limits = { directConnection: true, serverSelectionTimeoutMS: 2000, connectTimeoutMS: 2000 };
  const client = new MongoClient(`mongodb://${host}:${port}/`, limits);
  try {
    return await use(await client.connect());
  } finally {
    await client.close();
  }
}

function isOneOf(error: unknown, names: readonly string[]): boolean {
  return error instanceof Error && names.includes((error as MongoServerError).codeName ?? '');
}
