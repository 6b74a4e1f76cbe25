import * as fs from 'node:fs';
import { parse, stringify } from 'yaml';
import { inPostgres } from '../../../lab/servers/postgresql-client';
import { STORES } from '../../../lab/sites/build';
import { DATABASE, POSTGRES_ROLES } from '../../../lab/sites/postgresql';
import type { E2eLab } from '../e2e-lab';
import { Link } from '../link';
import { startPostgresStandby } from '../postgresql-standby';
import { waitUntil } from '../servers';
import { textOf } from './member-links';

/** A second server of PostgreSQL at the DR site, with a network of its own to the primary. */
export interface SecondStandby {
  readonly link: Link;
  /** The shop's database there, as the superuser. */
  readonly url: string;
  /** The server that it streams from, `host:port`; null while it streams from nobody. */
  sender(): Promise<string | null>;
  stop(): Promise<void>;
}

interface RawConfig {
  stores: Record<string, { sites: Record<string, { standbys?: { host: string; port: number }[] }> }>;
}

/** Starts it and names it in the lab's config; workers that run do not know of it before they are started anew. */
export async function addSecondStandby({ access, configFile }: E2eLab): Promise<SecondStandby> {
  const { name: user, secret } = POSTGRES_ROLES.superuser;
  const password = access.secrets.password(secret);
  const link = await Link.to(access.plan.sites.primary.postgresql);
  const standby = await startPostgresStandby({ ...link.address, user, password });
  const config = parse(fs.readFileSync(configFile, 'utf8')) as RawConfig;
  const { dr } = config.stores[STORES.postgresql]?.sites ?? {};
  if (!dr) throw new Error(`${configFile} has no ${STORES.postgresql} at dr`);
  dr.standbys = [{ host: standby.host, port: standby.port }];
  fs.writeFileSync(configFile, stringify(config));

  const sender = () =>
    inPostgres(standby.url, async (client) => {
      const sql = `SELECT sender_host || ':' || sender_port AS sender FROM pg_stat_wal_receiver WHERE status = 'streaming'`;
      return (await client.query<{ sender: string }>(sql)).rows[0]?.sender ?? null;
    });
  await waitUntil('the second standby streaming', async () => (await sender()) === textOf(link.address));
  return { link, url: standby.url.replace(/\/postgres$/, `/${DATABASE}`), sender, stop: () => standby.stop() };
}
