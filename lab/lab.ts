import * as fs from 'node:fs';
import * as path from 'node:path';
import { failure } from '../core/errors';
import { writeApplicationConfig } from './application-config';
import { removeSockets } from './servers/seaweedfs';
import { addressPlan, type SiteAddresses, type SiteName, SITES } from './sites/address-plan';
import type { LabBuild } from './sites/build';
import { createFileTrees } from './sites/files';
import { type LabDescription, labFolder, LabSecrets, readLab, writeLab } from './sites/lab-folder';
import { withLabLock } from './sites/lab-lock';
import { startMongoSites } from './sites/mongodb';
import { claimNetwork, releaseNetwork } from './sites/networks';
import { startPostgresSites } from './sites/postgresql';
import { startRedisSites } from './sites/redis';
import { servicesAt } from './sites/services';
import {
  BUCKETS,
  PUBLIC_NAME,
  REGION,
  saveRecords,
  startAwsAndDns,
  startS3,
  startTemporal,
} from './sites/shared-servers';
import { seedShop, startShop, unreadyServices } from './sites/shop';
import { startWorkers } from './sites/workers';
import { endLeftovers, startSupervisor, supervisorOf, supervisorRuns, supervisorToken } from './supervisor/of-lab';
import type { ProgramStatus } from './supervisor/program';
import type { ServiceStatus } from './supervisor/services';

export { applicationConfigFile } from './application-config';
export type { LabDescription } from './sites/lab-folder';
export { supervisorOf } from './supervisor/of-lab';

export interface LabUpOptions {
  readonly name?: string;
  /** n of 127.n.0.0/16; the first free one from 20 when left out. */
  readonly network?: number;
  /** How long each name server goes on with the old zone after a change; also changes those of a lab that runs. */
  readonly dnsDelaysMs?: readonly number[];
  /** A new lab's services run as Deployments in a cluster of each site; one that is there stays as it is. */
  readonly kubernetes?: boolean;
  /** One calm line for the person who waits. */
  readonly onProgress?: (line: string) => void;
}

/** The state of a lab. A lab that is down has no processes. */
export interface LabStatus {
  readonly lab: LabDescription;
  readonly running: boolean;
  readonly processes: readonly ProgramStatus[];
  readonly services: Readonly<Record<string, readonly ServiceStatus[]>>;
}

/**
 * Brings a lab up, new or as it was left: what a failover changed stays changed. Safe to repeat, also after it was
 * interrupted. Resolves when every server and every service that should run answers.
 */
export async function labUp(options: LabUpOptions = {}): Promise<LabDescription> {
  return locked(options.name, () => up(options));
}

async function up({
  name = 'default',
  network: wanted,
  dnsDelaysMs,
  kubernetes,
  onProgress = () => {},
}: LabUpOptions): Promise<LabDescription> {
  const folder = labFolder(name);
  fs.mkdirSync(folder, { recursive: true, mode: 0o755 });
  const known = readLab(name);
  if (known && kubernetes && !known.kubernetes)
    throw failure('UsageInvalid', `lab ${name} runs its services as processes`, {
      next: `Give the new one another name, or remove this one: drctl lab destroy --name ${name}`,
    });
  const network = known?.network ?? (await claimNetwork(folder, wanted));
  const secrets = new LabSecrets(folder);
  const lab = known ?? writeLab({ ...describe(name, folder, network, secrets), kubernetes: kubernetes === true });
  const build: LabBuild = {
    folder,
    plan: addressPlan(network),
    secrets,
    supervisor: supervisorOf(lab),
    kubernetes: lab.kubernetes === true,
    dnsDelaysMs,
    progress: onProgress,
  };
  await startSupervisor(lab, secrets, onProgress);

  const seconds = stopwatch();
  const step = async <T>(what: string, work: Promise<T>): Promise<T> => {
    const result = await work;
    onProgress(`${what} (${seconds()})`);
    return result;
  };
  const [aws] = await Promise.all([
    step('Route 53, SNS and CloudWatch emulator, name servers', startAwsAndDns(build)),
    step('PostgreSQL: primary and streaming standby', startPostgresSites(build)),
    step('MongoDB: replica set of five over three places', startMongoSites(build)),
    step('Redis: primary and replica', startRedisSites(build)),
    step('Temporal with its Web UI', startTemporal(build)),
    step('S3 with its buckets', startS3(build)),
  ]);
  if (!lab.seeded) await step('the shop is seeded', seedShop(build));
  createFileTrees(build);
  const described = writeLab({ ...lab, aws: { ...lab.aws, ...aws }, seeded: true });
  await step('the shop: services and gateways', shopReady(build, lab.seeded));
  await startWorkers(build, writeApplicationConfig(described));
  return described;
}

/** A new lab must work; one that was used may have services that cannot, such as writers beside a standby. */
async function shopReady(build: LabBuild, used: boolean): Promise<void> {
  await startShop(build);
  const unready = await unreadyServices(build);
  if (unready.length === 0) return;
  const message = `not ready: ${unready.join(', ')}; their logs are in ${build.folder}/supervisor/logs`;
  if (!used) throw new Error(message);
  build.progress(message);
}

/** Throws when there is no such lab. */
export async function labStatus({ name = 'default' }: { name?: string } = {}): Promise<LabStatus> {
  const lab = existing(name);
  const supervisor = supervisorOf(lab);
  let processes: ProgramStatus[];
  try {
    processes = await supervisor.processes();
  } catch (error) {
    if (supervisorRuns(lab)) throw error; // it is up and does not answer: that is not "down"
    return { lab, running: false, processes: [], services: {} };
  }
  const services = await Promise.all(SITES.map(async (site) => [site, await servicesOf(lab, site)] as const));
  return { lab, running: true, processes, services: Object.fromEntries(services) };
}

/** Of a cluster that is down with its site nothing can be said. */
async function servicesOf(lab: LabDescription, site: SiteName): Promise<ServiceStatus[]> {
  const { folder, kubernetes = false } = lab;
  const asked = servicesAt({ folder, kubernetes, supervisor: supervisorOf(lab) }, site);
  return kubernetes ? asked.catch(() => []) : asked;
}

/** Stops every process of the lab and keeps its data; also when its supervisor was killed. Safe to repeat. */
export async function labDown(options: Omit<LabUpOptions, 'network'> = {}): Promise<void> {
  return locked(options.name, () => down(options));
}

async function down({ name = 'default', onProgress = () => {} }: Omit<LabUpOptions, 'network'>): Promise<void> {
  const lab = existing(name);
  if (supervisorRuns(lab)) {
    onProgress('stopping services, then stores, then the rest');
    // Losing the emulator's records only matters to the next `up`, which then points at primary; it must not block a stop.
    if (lab.aws.zoneId)
      await saveRecords(lab).catch((error: Error) => onProgress(`DNS records not kept: ${error.message}`));
    await supervisorOf(lab)
      .shutdown()
      .catch((error: Error) => onProgress(`the supervisor did not stop in order: ${error.message}`));
  }
  await endLeftovers(lab);
  removeSockets(addressPlan(lab.network).s3.innerPorts);
  onProgress(`lab ${name} is down; its data stay in ${lab.folder}`);
}

/** Takes the lab down and removes its data. Nothing of it is left. */
export async function labDestroy(options: Omit<LabUpOptions, 'network'> = {}): Promise<void> {
  return locked(options.name, () => destroy(options));
}

async function destroy({ name = 'default', onProgress = () => {} }: Omit<LabUpOptions, 'network'>): Promise<void> {
  const lab = readLab(name);
  if (lab) {
    await down({ name, onProgress });
    releaseNetwork(lab.network, lab.folder);
  }
  fs.rmSync(labFolder(name), { recursive: true, force: true });
  onProgress(`lab ${name} is removed`);
}

/** Connection strings of the shop's own users, as its services have them; each carries a password. */
export function storeUrls(lab: LabDescription, site: SiteName): { postgresql: string; mongodb: string; redis: string } {
  const read = (store: string) =>
    fs.readFileSync(new LabSecrets(lab.folder).file(`url-${store}-${site}`), 'utf8').trim();
  return { postgresql: read('postgresql'), mongodb: read('mongodb'), redis: read('redis') };
}

async function locked<T>(name: string | undefined, work: () => Promise<T>): Promise<T> {
  const folder = labFolder(name ?? 'default');
  fs.mkdirSync(path.dirname(folder), { recursive: true, mode: 0o755 });
  return withLabLock(folder, work);
}

function describe(name: string, folder: string, network: number, secrets: LabSecrets): LabDescription {
  const { supervisor, temporal, s3, aws, dns, sites, witness } = addressPlan(network);
  return {
    name,
    folder,
    network,
    createdAt: new Date().toISOString(),
    supervisor: { url: `http://${supervisor.host}:${supervisor.port}`, tokenFile: supervisorToken(secrets) },
    temporal: { address: `${temporal.host}:${temporal.port}`, webUi: `http://${temporal.host}:${temporal.uiPort}` },
    s3: { endpoint: `http://${s3.host}:${s3.port}`, region: REGION, buckets: BUCKETS },
    aws: { endpoint: `http://${aws.host}:${aws.port}`, region: REGION, zoneId: '', topicArn: '' },
    dns: {
      servers: dns.map(({ host, port }) => `${host}:${port}`),
      name: PUBLIC_NAME,
      gatewayPort: sites.primary.gateway.port,
    },
    sites: { primary: describeSite(sites.primary), dr: describeSite(sites.dr) },
    witness: text(witness),
    seeded: false,
  };
}

function describeSite({ postgresql, mongodb, redis, gateway }: SiteAddresses): LabDescription['sites'][SiteName] {
  return {
    postgresql: text(postgresql),
    mongodb: mongodb.map(text),
    redis: text(redis),
    gateway: `http://${text(gateway)}`,
  };
}

function text({ host, port }: { host: string; port: number }): string {
  return `${host}:${port}`;
}

function existing(name: string): LabDescription {
  const lab = readLab(name);
  if (!lab) throw failure('NotFound', `there is no lab ${name}`, { next: `Create it: drctl lab up --name ${name}` });
  return lab;
}

function stopwatch(): () => string {
  const started = Date.now();
  return () => `${((Date.now() - started) / 1000).toFixed(1)} s`;
}
