import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { freeLoopbackHost, freeLoopbackPort } from '../../lab/servers/loopback';
import { initiateReplicaSet, mongodCommand, mongodReady, mongoUrl } from '../../lab/servers/mongodb';
import { motoCommand, motoReady } from '../../lab/servers/moto';
import { initPostgres, postgresCommand, postgresReady } from '../../lab/servers/postgresql';
import { giveToServers, serverFile, serverFolder } from '../../lab/servers/process';
import { redisCommand, redisReady } from '../../lab/servers/redis';
import { RunningServer, type RunningServerOptions } from '../../lab/servers/running-server';
import { freeInnerPorts, removeSockets, seaweedCommand, seaweedReady } from '../../lab/servers/seaweedfs';
import { temporalCommand, temporalReady } from '../../lab/servers/temporal';
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

const running = new Set<RunningServer>();
// setpriv covers a killed jest; this covers a test file that forgot its stop() in a process that goes on to the next file.
if (typeof afterAll === 'function')
  afterAll(async () => void (await Promise.all([...running].map((server) => server.stop()))));

export async function startPostgres(
  options: Place & { password?: string; settings?: Readonly<Record<string, string>> } = {},
): Promise<TestServer & { user: string; password: string; url: string }> {
  ensureServers();
  const { host, port, base, dataDir } = await place('postgresql', 5432, options);
  const password = options.password ?? randomPassword();
  if (options.dataDir && fs.existsSync(dataDir)) await giveToServers(dataDir);
  await initPostgres({ dataDir, password });
  const command = postgresCommand({ dataDir, host, port, settings: options.settings });
  const ready = () => postgresReady({ host, port });
  const server = await run({
    name: 'PostgreSQL',
    command,
    logFile: path.join(base, 'server.log'),
    ready,
    stopSignal: 'SIGINT',
  });
  const url = `postgresql://postgres:${password}@${host}:${port}/postgres`;
  return { host, port, dataDir, server, user: 'postgres', password, url, stop: () => dispose(server, base) };
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
  const start = async (_: unknown, index: number): Promise<TestServer> => {
    const host = await freeLoopbackHost(port);
    const dataDir = serverFolder(path.join(base, `member-${index}`));
    const command = mongodCommand({ dataDir, host, port, replicaSet: name, keyFile: keyFile ?? undefined, extra });
    const logFile = path.join(base, `member-${index}.log`);
    const server = await run({ name: 'MongoDB', command, logFile, ready: () => mongodReady({ host, port }) });
    return { host, port, dataDir, server, stop: () => server.stop() };
  };
  const members = await Promise.all(Array.from({ length: count }, start));
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

export async function startRedis(
  options: Place & {
    password?: string;
    replicaOf?: { host: string; port: number };
    appendOnly?: boolean;
    settings?: Readonly<Record<string, string>>;
    flavour?: 'redis' | 'valkey';
  } = {},
): Promise<TestServer & { password: string; url: string }> {
  ensureServers();
  const { host, port, base, dataDir } = await place('redis', 6379, options);
  serverFolder(dataDir);
  if (options.dataDir) await giveToServers(dataDir);
  const password = options.password ?? randomPassword();
  const command = redisCommand({ ...options, dataDir, host, port, password });
  const ready = () => redisReady({ host, port, password });
  const server = await run({ name: 'Redis', command, logFile: path.join(base, 'server.log'), ready });
  return {
    host,
    port,
    dataDir,
    server,
    password,
    url: `redis://:${password}@${host}:${port}`,
    stop: () => dispose(server, base),
  };
}

/** SeaweedFS; `endpoint`, keys and path-style addressing are all that an S3 client needs. It has no buckets yet. */
export async function startS3(
  options: Place = {},
): Promise<TestServer & { endpoint: string; region: string; accessKeyId: string; secretAccessKey: string }> {
  ensureServers();
  const { host, port, base, dataDir } = await place('s3', 9000, options);
  serverFolder(dataDir);
  const keys = { accessKeyId: 'drctl-test', secretAccessKey: randomPassword() };
  const innerPorts = freeInnerPorts();
  const command = seaweedCommand({ dataDir, host, port, innerPorts, keys });
  const ready = () => seaweedReady({ host, port });
  // A killed SeaweedFS loses nothing these tests keep, and its orderly stop takes seconds.
  const server = await run({
    name: 'SeaweedFS',
    command,
    logFile: path.join(base, 'server.log'),
    ready,
    stopSignal: 'SIGKILL',
  });
  const stop = async () => {
    await dispose(server, base);
    removeSockets(innerPorts);
  };
  return { host, port, dataDir, server, endpoint: `http://${host}:${port}`, region: 'us-east-1', ...keys, stop };
}

/** moto: Route 53, SNS, CloudWatch and S3's control plane; it takes any credentials. */
export async function startMoto(options: Place = {}): Promise<TestServer & { endpoint: string; region: string }> {
  ensureServers();
  const { host, port, base, dataDir } = await place('moto', 5000, options);
  serverFolder(dataDir);
  const command = motoCommand({ dataDir, host, port });
  const ready = () => motoReady({ host, port });
  const server = await run({
    name: 'moto',
    command,
    logFile: path.join(base, 'server.log'),
    ready,
    stopSignal: 'SIGKILL',
  });
  return {
    host,
    port,
    dataDir,
    server,
    endpoint: `http://${host}:${port}`,
    region: 'us-east-1',
    stop: () => dispose(server, base),
  };
}

/** Temporal's development server, in memory unless `databaseFile` is given, with drctl's search attributes. */
export async function startTemporalDev(
  options: Place & { uiPort?: number; databaseFile?: string } = {},
): Promise<TestServer & { address: string; namespace: string }> {
  ensureServers();
  // Its parts reach each other at 127.0.0.1 whatever --ip says (temporalite issue 121), so it gets a port of its own instead.
  const local = { host: '127.0.0.1', port: options.port ?? (await freeLoopbackPort('127.0.0.1')) };
  const { host, port, base, dataDir } = await place('temporal', 7233, { ...options, ...local });
  serverFolder(dataDir);
  const command = temporalCommand({ dataDir, host, port, uiPort: options.uiPort, databaseFile: options.databaseFile });
  const ready = () => temporalReady({ host, port });
  const server = await run({
    name: 'Temporal',
    command,
    logFile: path.join(base, 'server.log'),
    ready,
    stopSignal: 'SIGKILL',
  });
  return {
    host,
    port,
    dataDir,
    server,
    address: `${host}:${port}`,
    namespace: 'default',
    stop: () => dispose(server, base),
  };
}

/** Installs the servers where a test is run without `npm test`, which did it beforehand. */
function ensureServers(): void {
  if (fs.existsSync(serversIndexFile())) return void serverBinaries();
  execFileSync(process.execPath, [path.join(projectRoot(), 'scripts/lab-servers.mjs')], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

async function place(kind: string, wellKnownPort: number, options: Place) {
  const port = options.port ?? wellKnownPort;
  const host = options.host ?? (await freeLoopbackHost(port));
  const base = serverFolder(fs.mkdtempSync(path.join(os.tmpdir(), `drctl-${kind}-`)));
  return { host, port, base, dataDir: options.dataDir ?? path.join(base, 'data') };
}

async function run(options: RunningServerOptions): Promise<RunningServer> {
  const server = new RunningServer(options);
  running.add(server);
  try {
    return await server.start();
  } catch (error) {
    await server.kill('SIGKILL');
    throw error;
  }
}

async function dispose(server: RunningServer, base: string): Promise<void> {
  await server.stop();
  running.delete(server);
  fs.rmSync(base, { recursive: true, force: true });
}

function randomPassword(): string {
  return randomBytes(18).toString('hex');
}
