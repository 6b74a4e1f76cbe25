import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { freeLoopbackHost, freeLoopbackPort } from '../../lab/servers/loopback';
import { initiateReplicaSet, mongodCommand, mongodReady, mongoUrl } from '../../lab/servers/mongodb';
import { motoCommand, motoReady } from '../../lab/servers/moto';
import { initPostgres, postgresCommand, postgresReady } from '../../lab/servers/postgresql';
import { giveToServers, type ServerCommand, serverFile, serverFolder } from '../../lab/servers/process';
import { redisCommand, redisReady } from '../../lab/servers/redis';
import { RunningServer } from '../../lab/servers/running-server';
import { freeInnerPorts, removeSockets, seaweedCommand, seaweedReady } from '../../lab/servers/seaweedfs';
import { temporalCommand, temporalReady } from '../../lab/servers/temporal';
import { OLDEST_REDIS, oldestRedis } from '../../lab/runtime/oldest-redis';
import { projectRoot, serverBinaries, serversIndexFile } from '../../lab/runtime/servers';

export { postgresTool } from '../../lab/servers/postgresql';
export { giveToServers, waitUntil } from '../../lab/servers/process';
export { serverBinaries } from '../../lab/runtime/servers';

/**
 * A real server for one test file. `kill` and `server.start()` may be repeated; `stop` ends it and removes its state.
 * Each gets a loopback address of its own, so well-known ports never collide. It dies with the jest process.
 */
export interface TestServer {
  readonly host: string;
  readonly port: number;
  readonly dataDir: string;
  readonly server: RunningServer;
  readonly stop: () => Promise<void>;
}

interface Place {
  readonly host?: string;
  readonly port?: number;
  /** An existing folder, kept by `stop`; without one a temporary folder is made and removed. */
  readonly dataDir?: string;
}

type At = Pick<TestServer, 'host' | 'port' | 'dataDir'>;

/** What differs between the servers. */
interface ServerFacts {
  readonly name: string;
  readonly wellKnownPort: number;
  /** The folder is there and belongs to the servers' user. */
  command(at: At): ServerCommand | Promise<ServerCommand>;
  ready(at: At): Promise<void>;
  /** SIGKILL for one that keeps nothing a test needs and takes seconds for an orderly stop. */
  readonly stopSignal?: NodeJS.Signals;
}

const running = new Set<RunningServer>();
// setpriv covers a killed jest; this covers a test file that forgot its stop() in a process that goes on to the next file.
if (typeof afterAll === 'function')
  afterAll(async () => void (await Promise.all([...running].map((server) => server.stop()))));

/** Debian's package; CI installs it, a person's machine may lack it. */
const POSTGRES_15 = '/usr/lib/postgresql/15/bin';

/** The versions that this machine has, with the folder of their programs (undefined: the lab's own) for `describe.each`. */
export const postgresVersions: readonly { readonly version: number; readonly programs: string | undefined }[] = [
  { version: 18, programs: undefined },
  ...(fs.existsSync(path.join(POSTGRES_15, 'postgres')) || process.env['CI']
    ? [{ version: 15, programs: POSTGRES_15 }]
    : []),
];

/** What hardly differs between versions is tried on the others by `test:deep` alone: `npm test` has no time for it. */
export const postgresVersionsInDepth = process.env['DRCTL_EVERY_VERSION']
  ? postgresVersions
  : postgresVersions.slice(0, 1);

/** `programs`: the folder of another version's programs. */
export async function startPostgres(
  options: Place & {
    password?: string;
    settings?: Readonly<Record<string, string>>;
    programs?: string | undefined;
    segmentMebibytes?: number;
  } = {},
): Promise<TestServer & { user: string; password: string; url: string }> {
  const password = options.password ?? randomPassword();
  const started = await start(options, {
    name: 'PostgreSQL',
    wellKnownPort: 5432,
    async command(at) {
      const other = options.programs === undefined ? {} : { programs: options.programs };
      const { segmentMebibytes } = options;
      await initPostgres({
        dataDir: at.dataDir,
        password,
        ...other,
        ...(segmentMebibytes ? { segmentMebibytes } : {}),
      });
      return postgresCommand({ ...at, settings: options.settings, ...other });
    },
    ready: postgresReady,
    stopSignal: 'SIGINT',
  });
  const url = `postgresql://postgres:${password}@${started.host}:${started.port}/postgres`;
  return { ...started, user: 'postgres', password, url };
}

export interface TestReplicaSet {
  readonly name: string;
  /** The whole set, as root when authentication is on. */
  readonly url: string;
  readonly user: string;
  readonly password: string;
  readonly keyFile: string | null;
  readonly members: readonly TestServer[];
  readonly stop: () => Promise<void>;
}

export async function startMongoReplicaSet(
  options: {
    members?: number;
    name?: string;
    auth?: boolean;
    port?: number;
    /** One a member; the first leads unless it fails. */
    priorities?: readonly number[];
    extra?: readonly string[];
  } = {},
): Promise<TestReplicaSet> {
  ensureServers();
  // The driver imports `os` dynamically; where jest cannot, it sends no metadata and every connection fails obscurely.
  if (!process.execArgv.includes('--experimental-vm-modules') && !process.env['NODE_OPTIONS']?.includes('vm-modules'))
    throw new Error('MongoDB in jest needs NODE_OPTIONS=--experimental-vm-modules (npm test sets it)');
  const { members: count = 1, name = 'rs0', auth = true, port = 27017, priorities, extra } = options;
  const base = serverFolder(fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-mongodb-')));
  const keyFile = auth ? serverFile(path.join(base, 'keyfile'), randomBytes(48).toString('base64')) : null;
  const facts: ServerFacts = {
    name: 'MongoDB',
    wellKnownPort: 27017,
    command: (at) => mongodCommand({ ...at, replicaSet: name, keyFile: keyFile ?? undefined, extra }),
    ready: mongodReady,
  };
  const startMember = async (_: unknown, index: number): Promise<TestServer> => {
    const at = { host: await freeLoopbackHost(port), port, dataDir: serverFolder(path.join(base, `member-${index}`)) };
    const server = await run(facts, at, path.join(base, `member-${index}.log`));
    return { ...at, server, stop: () => server.stop() };
  };
  const members = await Promise.all(Array.from({ length: count }, startMember));
  const credentials = { user: 'root', password: randomPassword() };
  const voters = members.map(({ host }, index) => ({
    host,
    port,
    priority: priorities?.[index] ?? (index === 0 ? 2 : 1),
  }));
  await initiateReplicaSet({ name, members: voters, root: auth ? credentials : undefined });
  const stop = async () => {
    await Promise.all(members.map((member) => member.stop()));
    fs.rmSync(base, { recursive: true, force: true });
  };
  return { name, url: mongoUrl(name, voters, auth ? credentials : undefined), ...credentials, keyFile, members, stop };
}

export type RedisFlavour = 'redis' | `redis ${typeof OLDEST_REDIS}` | 'valkey';

/** The ones that this machine has, for `describe.each`; in CI all. */
export function redisFlavours(): readonly RedisFlavour[] {
  const isThere = oldestRedis() !== null || process.env['CI'];
  return ['redis', ...(isThere ? ([`redis ${OLDEST_REDIS}`] as const) : []), 'valkey'];
}

export function redisProgram(flavour: RedisFlavour): string {
  if (flavour === 'redis') return serverBinaries().redisServer;
  if (flavour === 'valkey') return serverBinaries().valkeyServer;
  const oldest = oldestRedis();
  if (oldest === null) throw new Error(`Debian's packages of Redis ${OLDEST_REDIS} cannot be had here`);
  return oldest;
}

export async function startRedis(
  options: Place & {
    password?: string;
    replicaOf?: { host: string; port: number };
    appendOnly?: boolean;
    settings?: Readonly<Record<string, string>>;
    flavour?: RedisFlavour;
  } = {},
): Promise<TestServer & { password: string; url: string }> {
  const password = options.password ?? randomPassword();
  const { flavour = 'redis', ...rest } = options;
  const started = await start(options, {
    name: 'Redis',
    wellKnownPort: 6379,
    command: (at) => redisCommand({ ...rest, ...at, password, program: redisProgram(flavour) }),
    ready: (at) => redisReady({ ...at, password }),
  });
  return { ...started, password, url: `redis://:${password}@${started.host}:${started.port}` };
}

/** SeaweedFS; `endpoint`, keys and path-style addressing are all that an S3 client needs. It has no buckets yet. */
export async function startS3(
  options: Place = {},
): Promise<TestServer & { endpoint: string; region: string; accessKeyId: string; secretAccessKey: string }> {
  const keys = { accessKeyId: 'drctl-test', secretAccessKey: randomPassword() };
  const innerPorts = freeInnerPorts();
  const started = await start(options, {
    name: 'SeaweedFS',
    wellKnownPort: 9000,
    command: (at) => seaweedCommand({ ...at, innerPorts, keys }),
    ready: seaweedReady,
    stopSignal: 'SIGKILL',
  });
  const stop = async () => {
    await started.stop();
    removeSockets(innerPorts);
  };
  return { ...started, endpoint: `http://${started.host}:${started.port}`, region: 'us-east-1', ...keys, stop };
}

/** moto: Route 53, SNS, CloudWatch and S3's control plane; it takes any credentials. */
export async function startMoto(options: Place = {}): Promise<TestServer & { endpoint: string; region: string }> {
  const started = await start(options, {
    name: 'moto',
    wellKnownPort: 5000,
    command: motoCommand,
    ready: motoReady,
    stopSignal: 'SIGKILL',
  });
  return { ...started, endpoint: `http://${started.host}:${started.port}`, region: 'us-east-1' };
}

/** Temporal's development server, in memory unless `databaseFile` is given, with drctl's search attributes. */
export async function startTemporalDev(
  options: Place & { uiPort?: number; databaseFile?: string } = {},
): Promise<TestServer & { address: string; namespace: string }> {
  // Its parts reach each other at 127.0.0.1 whatever --ip says (temporalite issue 121), so it gets a port of its own instead.
  const local = { host: '127.0.0.1', port: options.port ?? (await freeLoopbackPort('127.0.0.1')) };
  const started = await start(
    { ...options, ...local },
    {
      name: 'Temporal',
      wellKnownPort: 7233,
      command: (at) => temporalCommand({ ...at, uiPort: options.uiPort, databaseFile: options.databaseFile }),
      ready: temporalReady,
      stopSignal: 'SIGKILL',
    },
  );
  return { ...started, address: `${started.host}:${started.port}`, namespace: 'default' };
}

/** Installs the servers where a test is run without `npm test`, which did it beforehand. */
function ensureServers(): void {
  if (fs.existsSync(serversIndexFile())) return void serverBinaries();
  execFileSync(process.execPath, [path.join(projectRoot(), 'scripts/lab-servers.mjs')], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

/** One server in a place of its own; what it needs besides is in its facts. */
async function start(options: Place, facts: ServerFacts): Promise<TestServer> {
  ensureServers();
  const port = options.port ?? facts.wellKnownPort;
  const host = options.host ?? (await freeLoopbackHost(port));
  const base = serverFolder(fs.mkdtempSync(path.join(os.tmpdir(), `drctl-${facts.name.toLowerCase()}-`)));
  const dataDir = serverFolder(options.dataDir ?? path.join(base, 'data'));
  if (options.dataDir) await giveToServers(dataDir); // it may hold what a test wrote or restored as another user
  const at = { host, port, dataDir };
  const server = await run(facts, at, path.join(base, 'server.log'));
  const stop = async () => {
    await server.stop();
    running.delete(server);
    fs.rmSync(base, { recursive: true, force: true });
  };
  return { ...at, server, stop };
}

async function run(facts: ServerFacts, at: At, logFile: string): Promise<RunningServer> {
  const { name, stopSignal } = facts;
  const command = await facts.command(at);
  const server = new RunningServer({ name, command, logFile, ready: () => facts.ready(at), stopSignal });
  running.add(server);
  try {
    return await server.start();
  } catch (error) {
    await server.kill('SIGKILL');
    throw error;
  }
}

function randomPassword(): string {
  return randomBytes(18).toString('hex');
}
