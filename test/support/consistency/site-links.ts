import * as fs from 'node:fs';
import * as path from 'node:path';
import { Redis } from 'ioredis';
import type { Client } from 'pg';
import { parse, stringify } from 'yaml';
import { storeUrls } from '../../../lab/lab';
import { projectRoot } from '../../../lab/runtime/servers';
import { inPostgres } from '../../../lab/servers/postgresql-client';
import { STORES } from '../../../lab/sites/build';
import { POSTGRES_ROLES } from '../../../lab/sites/postgresql';
import { type E2eLab, waitUntil } from '../e2e-lab';
import { Link } from '../link';
import { linkMembers, type MemberLink } from './member-links';

/**
 * The network between the two sites of a lab, as the replication of its stores and the worker of the DR site see it. The clients
 * reach each site on their own ways.
 */
export interface SiteLinks {
  readonly postgresql: Link;
  readonly redis: Link;
  readonly mongodb: readonly MemberLink[];
  readonly secondStandby: Link;
  /** From the DR site to the agent that fences the old one. */
  readonly agent: Link;
  close(): void;
}

interface RawConfig {
  stores: Record<string, { sites: Record<string, { host?: string; port?: number }> }>;
  fence: { url: string };
}

/**
 * Puts links between the sites of a lab that is up: what went directly goes through them from now on. Both workers start anew,
 * with the config as it is now.
 */
export async function interposeLinks(e2e: E2eLab, secondStandby: Link): Promise<SiteLinks> {
  const { postgresql: pg, redis: cache } = e2e.access.plan.sites.primary;
  const { hostname, port } = new URL(e2e.lab.supervisor.url);
  const [postgresql, redis, agent] = await Promise.all([
    Link.to(pg),
    Link.to(cache),
    Link.to({ host: hostname, port: Number(port) }),
  ]);
  const mongodb = await linkMembers(e2e);
  const links = { postgresql, redis, agent };
  const working = Promise.all([workThrough(e2e, links), workAnew(e2e)]);
  await Promise.all([followThrough(e2e, postgresql), replicateThrough(e2e, redis), working]);
  const all = [...Object.values(links), secondStandby, ...mongodb.map(({ link }) => link)];
  return { ...links, mongodb, secondStandby, close: () => all.forEach((link) => link.close()) };
}

/** What replication between the sites goes through. */
export function replicationLinks({ postgresql, redis, mongodb, secondStandby }: SiteLinks): Link[] {
  return [postgresql, secondStandby, redis, ...mongodb.map(({ link }) => link)];
}

/** A client of a site's PostgreSQL as its superuser. */
export async function asSuperuser<T>(
  { access }: E2eLab,
  site: 'primary' | 'dr',
  use: (client: Client) => Promise<T>,
): Promise<T> {
  const { name, secret } = POSTGRES_ROLES.superuser;
  const login = { user: name, password: access.secrets.password(secret), database: 'postgres' };
  return inPostgres({ ...access.plan.sites[site].postgresql, ...login, connectionTimeoutMillis: 30_000 }, use);
}

/** The worker of the active site, with the config as it is now. */
async function workAnew(e2e: E2eLab): Promise<void> {
  await e2e.killWorker('primary');
  await e2e.workerReady('primary');
}

async function followThrough(e2e: E2eLab, { address }: Link): Promise<void> {
  await asSuperuser(e2e, 'dr', async (standby) => {
    const { rows } = await standby.query<{ primary_conninfo: string }>('SHOW primary_conninfo');
    const direct = rows[0]?.primary_conninfo ?? '';
    // libpq takes the last of several settings of one name.
    const through = standby.escapeLiteral(`${direct} host=${address.host} port=${address.port}`);
    await standby.query(`ALTER SYSTEM SET primary_conninfo = ${through}`);
    await standby.query('SELECT pg_reload_conf()');
    await waitUntil('the standby following through its link', async () => {
      const sql = `SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming' AND sender_port = $1`;
      return (await standby.query(sql, [address.port])).rowCount === 1;
    });
  });
}

async function replicateThrough(e2e: E2eLab, { address }: Link): Promise<void> {
  const replica = new Redis(storeUrls(e2e.lab, 'dr').redis);
  try {
    await replica.replicaof(address.host, address.port);
    await waitUntil('the replica following through its link', async () => {
      const info = await replica.info('replication');
      return info.includes(`master_port:${address.port}\r\n`) && info.includes('master_link_status:up');
    });
  } finally {
    replica.disconnect();
  }
}

/** The DR site's worker with a config whose ways to the other site are the links. */
async function workThrough(
  e2e: E2eLab,
  { postgresql, redis, agent }: Pick<SiteLinks, 'postgresql' | 'redis' | 'agent'>,
): Promise<void> {
  const config = parse(fs.readFileSync(e2e.configFile, 'utf8')) as RawConfig;
  Object.assign(config.stores[STORES.postgresql]?.sites['primary'] ?? {}, postgresql.address);
  Object.assign(config.stores[STORES.redis]?.sites['primary'] ?? {}, redis.address);
  config.fence.url = `http://${agent.address.host}:${agent.address.port}`;
  const file = path.join(e2e.lab.folder, 'seen-from-dr.yaml');
  fs.writeFileSync(file, stringify(config));
  await e2e.supervisor.register({
    name: 'worker-dr',
    site: 'dr',
    kind: 'worker',
    argv: [process.execPath, path.join(projectRoot(), 'dist/workers/main.js'), '--config', file, '--site', 'dr'],
    env: {},
    cwd: e2e.lab.folder,
    restart: true,
  });
  await e2e.workerReady('dr');
}
