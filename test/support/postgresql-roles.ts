import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client } from 'pg';
import { Secret } from '../../core/secret';
import { endOf, makeStandby } from '../../lab/supervisor/postgresql-cluster';
import type { RolesHarness } from '../contract/roles.contract';
import { engineOf } from './engine-harness';
import { startPostgresStandby } from './postgresql-standby';
import { postgresTool, startPostgres } from './servers';

type Postgres = Awaited<ReturnType<typeof startPostgres>>;

/** A primary and its streaming standby; each write and read by a session of its own, as an ordinary client's. */
export async function startPostgresRoles(programs?: string): Promise<RolesHarness> {
  const primary = await startPostgres({ programs });
  const query = async ({ url }: Postgres, text: string, values: string[] = []) => {
    const client = new Client(url);
    client.on('error', () => undefined); // a fence drops sessions; the query says so
    await client.connect();
    try {
      return (await client.query(text, values)).rows as { row: string }[];
    } finally {
      await client.end();
    }
  };
  await query(primary, 'CREATE TABLE entries (row text PRIMARY KEY)');
  const standby = await startPostgresStandby(primary, {}, programs);
  const at = (site: string) => (site === 'dr' ? standby : primary);
  const siteOf = ({ host, port, password }: Postgres) => ({ host, port, password: new Secret(password) });
  return {
    engine: await engineOf('postgresql', 'orders-db', { sites: { primary: siteOf(primary), dr: siteOf(standby) } }),
    primarySite: 'primary',
    standbySite: 'dr',
    async write(site, row) {
      await query(at(site), 'INSERT INTO entries VALUES ($1) ON CONFLICT DO NOTHING', [row]);
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
