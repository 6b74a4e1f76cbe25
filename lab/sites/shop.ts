import * as fs from 'node:fs';
import * as path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { projectRoot } from '../runtime/servers';
import { createSchema } from '../shop/schema';
import { SERVICE_NAMES } from '../shop/service-names';
import type { ProgramSpec } from '../supervisor/program';
import { type Address, type SiteAddresses, SITES, type SiteName } from './address-plan';
import { type LabBuild, STORES } from './build';
import { startCluster, startNode } from './kubernetes';
import { mongoSetUrl } from './mongodb';
import { postgresUrl } from './postgresql';
import { redisUrl } from './redis';
import { servicesAt } from './services';

/** A service needs its stores to answer and, after a start, MongoDB to elect a leader. */
const READY_DEADLINE_MS = 20_000;

/** Creates the shop's tables, collections and seed, at the site that is active when a lab is new. */
export async function seedShop(build: LabBuild): Promise<void> {
  await createSchema(postgresUrl(build, 'primary'), mongoSetUrl(build, 'application'), redisUrl(build, 'primary'));
}

/** What the supervisor calls the place of drills. */
export const BUBBLE = 'bubble';

/**
 * Declares the six services of both sites, as processes or in a cluster of each site, and starts the gateways; a new lab runs
 * one replica each at primary, none at DR.
 */
export async function startShop(build: LabBuild): Promise<void> {
  await Promise.all([...SITES.map((site) => startSite(build, site)), defineBubble(build)]);
}

async function startSite(build: LabBuild, site: SiteName): Promise<void> {
  fs.mkdirSync(path.join(build.folder, site), { recursive: true });
  const upstreamsFile = path.join(build.folder, site, 'upstreams.json');
  const addresses = build.plan.sites[site];
  const initialReplicas = site === 'primary' ? 1 : 0;
  if (build.kubernetes) await deployServices(build, { site, upstreamsFile, initialReplicas });
  else {
    const env = { ...serviceEnv(build, site, site), ...OWN_ADDRESS };
    await defineServices(build, { site, upstreamsFile, initialReplicas, env, service: addresses.service });
  }
  await build.supervisor.register(gatewayOf(build, { site, upstreamsFile, address: addresses.gateway }));
}

/** The same services once more, for drills: as at the DR site, but with the copies' addresses, and in a bubble. */
async function defineBubble(build: LabBuild): Promise<void> {
  const folder = path.join(build.folder, BUBBLE);
  const upstreamsFile = path.join(folder, 'upstreams.json');
  const { gateway, service } = build.plan.bubble;
  const env = {
    ...serviceEnv(build, 'dr', BUBBLE),
    ...OWN_ADDRESS,
    SHOP_PG_ADDRESS: `{copy:${STORES.postgresql}}`,
    SHOP_MONGO_ADDRESS: `{copy:${STORES.mongodb}}`,
    SHOP_REDIS_ADDRESS: `{copy:${STORES.redis}}`,
  };
  const gatewaySpec = gatewayOf(build, { site: BUBBLE, upstreamsFile, address: gateway });
  await build.supervisor.defineBubble({ site: BUBBLE, folder, programs: [gatewaySpec] });
  await defineServices(build, { site: BUBBLE, upstreamsFile, initialReplicas: 0, env, service });
}

/** What the supervisor fills in for each replica. */
const OWN_ADDRESS = { SHOP_HOST: '{host}', SHOP_PORT: '{port}' };

/** As the application at a site has it; `called` is what its replies name as their site. */
function serviceEnv(build: LabBuild, site: SiteName, called: string): Record<string, string> {
  return {
    SHOP_SITE: called,
    SHOP_PG_URL_FILE: build.secrets.write(`url-postgresql-${site}`, postgresUrl(build, site)),
    SHOP_MONGO_URL_FILE: build.secrets.write(`url-mongodb-${site}`, mongoSetUrl(build, 'application')),
    SHOP_REDIS_URL_FILE: build.secrets.write(`url-redis-${site}`, redisUrl(build, site)),
  };
}

interface ServicesPlace {
  readonly site: string;
  readonly upstreamsFile: string;
  readonly initialReplicas: number;
  readonly env: Readonly<Record<string, string>>;
  readonly service: SiteAddresses['service'];
}

const SERVICE_PROGRAM = [process.execPath, path.join(projectRoot(), 'dist/lab/shop/service.js')];

async function deployServices(
  build: LabBuild,
  { site, upstreamsFile, initialReplicas }: { site: SiteName; upstreamsFile: string; initialReplicas: number },
): Promise<void> {
  if (!(await startCluster(build, site))) return;
  const env = serviceEnv(build, site, site);
  const { port } = build.plan.sites[site].service(0);
  const services = SERVICE_NAMES.map((name) => ({
    ...{ name, port, initialReplicas, argv: SERVICE_PROGRAM },
    env: { ...env, SHOP_SERVICE: name },
  }));
  await startNode(build, { site, upstreamsFile, services });
}

async function defineServices(build: LabBuild, { service, env, ...place }: ServicesPlace): Promise<void> {
  const define = (name: string, index: number) => {
    const { host, port: firstPort } = service(index);
    const own = { ...env, SHOP_SERVICE: name };
    const program = { argv: SERVICE_PROGRAM, env: own, cwd: build.folder };
    return build.supervisor.defineService({ ...place, ...program, name, host, firstPort });
  };
  await Promise.all(SERVICE_NAMES.map(define));
}

function gatewayOf(
  build: LabBuild,
  { site, upstreamsFile, address }: { site: string; upstreamsFile: string; address: Address },
): ProgramSpec {
  return {
    name: `gateway-${site}`,
    site,
    kind: 'gateway',
    argv: [process.execPath, path.join(projectRoot(), 'dist/lab/shop/gateway.js')],
    env: {
      GATEWAY_HOST: address.host,
      GATEWAY_PORT: `${address.port}`,
      GATEWAY_UPSTREAMS_FILE: upstreamsFile,
      GATEWAY_SITE: site,
    },
    cwd: build.folder,
    restart: true,
  };
}

/** Waits until every service that should run answers healthy and names those that do not; a fenced or dead site has none. */
export async function unreadyServices(build: LabBuild): Promise<string[]> {
  const perSite = await Promise.all(SITES.map((site) => unreadyAt(build, site)));
  return perSite.flat();
}

async function unreadyAt(build: LabBuild, site: SiteName): Promise<string[]> {
  const gateway = (await build.supervisor.processes()).find(({ name }) => name === `gateway-${site}`);
  if (gateway?.state !== 'running' || (await build.supervisor.fenceOf(site)) !== null) return [];
  const deadline = Date.now() + READY_DEADLINE_MS;
  for (;;) {
    const services = await servicesAt(build, site);
    const waiting = services.filter(({ desiredReplicas, readyReplicas }) => readyReplicas < desiredReplicas);
    if (waiting.length === 0 || Date.now() > deadline) return waiting.map(({ name }) => `${name} at ${site}`);
    await delay(100);
  }
}
