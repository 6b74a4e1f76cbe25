import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Client } from 'pg';
import { Secret } from '../../core/secret';
import { inPostgres, openPostgres } from '../../lab/servers/postgresql-client';
import { endOf, makeStandby } from '../../lab/supervisor/postgresql-cluster';
import type { RolesHarness } from '../contract/roles.contract';
import { engineOf } from './engine-harness';
import { startPostgresStandby } from './postgresql-standby';
import { postgresTool, startPostgres } from './servers';

type Postgres = Awaited<ReturnType<typeof startPostgres>>;

/**
 * A primary and its streaming standby; each write and read by a session of its own, as an ordinary client's.
 * `byAccessRules`: the fence may shut the door, so that the application signs in as somebody else than drctl; what is there is
 * read with drctl's account then.
 */
export async function startPostgresRoles(
  programs?: string,
  { byAccessRules = false } = {},
): Promise<RolesHarness & { shop(site: string): Promise<Client> }> {
  const settings: Record<string, string> = byAccessRules ? { authentication_timeout: '2s' } : {};
  const primary = await startPostgres({ programs, settings });
  const query = ({ url }: Postgres, text: string) =>
    inPostgres(url, async (client) => (await client.query<{ row: string }>(text)).rows);
  await query(primary, 'CREATE TABLE entries (row text PRIMARY KEY)');
  await query(primary, `CREATE ROLE shop SUPERUSER LOGIN PASSWORD '${primary.password}'`);
  const standby = await startPostgresStandby(primary, settings, programs);
  const at = (site: string) => (site === 'dr' ? standby : primary);
  const shop = (site: string) => {
    const { host, port, password } = at(site);
    return openPostgres({ host, port, user: 'shop', password, database: 'postgres' });
  };
  const siteOf = ({ host, port, password }: Postgres) => ({ host, port, password: new Secret(password) });
  return {
    engine: await engineOf('postgresql', 'orders-db', {
      sites: { primary: siteOf(primary), dr: siteOf(standby) },
      fenceByAccessRules: byAccessRules,
    }),
    shop,
    primarySite: 'primary',
    standbySite: 'dr',
    async write(site, row) {
      const client = await shop(site);
      try {
        await client.query('INSERT INTO entries VALUES ($1) ON CONFLICT DO NOTHING', [row]);
      } finally {
        await client.end();
      }
    },
    rows: async (site) => (await query(at(site), 'SELECT row FROM entries')).map(({ row }) => row).toSorted(),
    agent: {
      async shutDown(site) {
        const { server, dataDir } = at(site);
        await server.stop();
        const end = await endOf({ dataDir, controldata: postgresTool('pg_controldata', programs) });
        if (!end) throw new Error(`the server at ${site} was not shut down cleanly`);
        return { store: 'orders-db', ...end };
      },
      async startStandby(site) {
        const { server, dataDir } = at(site);
        // As whoever installs it does once: whom a cluster follows when it starts as a standby.
        const { host, port, user, password } = at(site === 'dr' ? 'primary' : 'dr');
        const login = `host=${host} port=${port} user=${user} password=${password}`;
        appendFileSync(join(dataDir, 'postgresql.auto.conf'), `primary_conninfo = '${login}'\n`);
        makeStandby({ dataDir });
        await server.start();
      },
    },
    stop: async () => void (await Promise.all([primary.stop(), standby.stop()])),
  };
}
