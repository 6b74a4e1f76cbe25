import * as fs from 'node:fs';
import * as path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { projectRoot } from '../runtime/servers';
import { createSchema } from '../shop/schema';
import { SERVICE_NAMES } from '../shop/service-names';
import { SITES, type SiteName } from './address-plan';
import type { LabBuild } from './build';
import { mongoSetUrl } from './mongodb';
import { postgresUrl } from './postgresql';
import { redisUrl } from './redis';

/** A service needs its stores to answer and, after a start, MongoDB to elect a leader. */
const READY_DEADLINE_MS = 20_000;

/** Creates the shop's tables, collections and seed, at the site that is active when a lab is new. */
export async function seedShop(build: LabBuild): Promise<void> {
  await createSchema(postgresUrl(build, 'primary'), mongoSetUrl(build, 'application'), redisUrl(build, 'primary'));
}

/** Declares the six services of both sites and starts the gateways; a new lab runs one replica each at primary, none at DR. */
export async function startShop(build: LabBuild): Promise<void> {
  await Promise.all(SITES.map((site) => startSite(build, site)));
}

async function startSite(build: LabBuild, site: SiteName): Promise<void> {
  const dist = path.join(projectRoot(), 'dist/lab/shop');
  fs.mkdirSync(path.join(build.folder, site), { recursive: true });
  const upstreamsFile = path.join(build.folder, site, 'upstreams.json');
  const env = {
    SHOP_SITE: site,
    SHOP_HOST: '{host}',
    SHOP_PORT: '{port}',
    SHOP_PG_URL_FILE: build.secrets.write(`url-postgresql-${site}`, postgresUrl(build, site)),
    SHOP_MONGO_URL_FILE: build.secrets.write(`url-mongodb-${site}`, mongoSetUrl(build, 'application')),
    SHOP_REDIS_URL_FILE: build.secrets.write(`url-redis-${site}`, redisUrl(build, site)),
  };
  const { gateway, service } = build.plan.sites[site];
  const initialReplicas = site === 'primary' ? 1 : 0;
  const define = (name: string, index: number) => {
    const { host, port: firstPort } = service(index);
    const argv = [process.execPath, path.join(dist, 'service.js')];
    const own = { ...env, SHOP_SERVICE: name };
    return build.supervisor.defineService({
      site,
      name,
      argv,
      env: own,
      cwd: build.folder,
      host,
      firstPort,
      upstreamsFile,
      initialReplicas,
    });
  };
  await Promise.all(SERVICE_NAMES.map(define));
  await build.supervisor.register({
    name: `gateway-${site}`,
    site,
    kind: 'gateway',
    argv: [process.execPath, path.join(dist, 'gateway.js')],
    env: {
      GATEWAY_HOST: gateway.host,
      GATEWAY_PORT: `${gateway.port}`,
      GATEWAY_UPSTREAMS_FILE: upstreamsFile,
      GATEWAY_SITE: site,
    },
    cwd: build.folder,
    restart: true,
  });
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
    const services = await build.supervisor.services(site);
    const waiting = services.filter(({ desiredReplicas, readyReplicas }) => readyReplicas < desiredReplicas);
    if (waiting.length === 0 || Date.now() > deadline) return waiting.map(({ name }) => `${name} at ${site}`);
    await delay(100);
  }
}
