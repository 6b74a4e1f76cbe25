import * as fs from 'node:fs';
import * as path from 'node:path';
import { redisCommand, redisReady } from '../servers/redis';
import type { ProgramSpec } from '../supervisor/program';
import type { SiteName } from './address-plan';
import { type LabBuild, runServer, storeFolder, STORES } from './build';

export const REDIS_SECRET = 'redis';

/** Starts the primary's Redis and its replica at the DR site; their roles afterwards are their own configuration's matter. */
export async function startRedisSites(build: LabBuild): Promise<void> {
  await Promise.all([runRedis(build, 'primary'), runRedis(build, 'dr')]);
}

function runRedis(build: LabBuild, site: SiteName): Promise<boolean> {
  const address = build.plan.sites[site].redis;
  const password = build.secrets.password(REDIS_SECRET);
  const replicaOf = site === 'dr' ? build.plan.sites.primary.redis : undefined;
  const dataDir = storeFolder(build, site, 'redis');
  const configFile = path.join(dataDir, 'redis.conf');
  // Written once: a promotion persists itself there with CONFIG REWRITE, and the next start must respect it.
  const kept = fs.existsSync(configFile) ? fs.readFileSync(configFile) : null;
  const command = redisCommand({ dataDir, ...address, password, replicaOf });
  if (kept) fs.writeFileSync(configFile, kept);
  const spec: ProgramSpec = {
    ...command,
    name: `redis-${site}`,
    site,
    kind: 'store',
    store: STORES.redis,
    restart: true,
  };
  return runServer(build, spec, () => redisReady({ ...address, password }));
}

export function redisUrl(build: LabBuild, site: SiteName): string {
  const { host, port } = build.plan.sites[site].redis;
  return `redis://:${build.secrets.password(REDIS_SECRET)}@${host}:${port}`;
}
