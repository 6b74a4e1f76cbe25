import { mkdtempSync, chmodSync, rmSync } from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { Secret } from '../../core/secret';
import { engineContract, type EngineHarness } from '../contract/engine.contract';
import { engineFaults } from '../contract/engine-faults.contract';
import { openPostgres } from '../../lab/servers/postgresql-client';
import { isRoot } from '../../lab/servers/process';
import { engineOf } from '../support/engine-harness';
import { startPostgresRoles } from '../support/postgresql-roles';
import { startSilentServer } from '../support/silent-server';
import { postgresTool, postgresVersionsInDepth, startPostgres } from '../support/servers';

async function startHarness(programs?: string): Promise<EngineHarness> {
  const server = await startPostgres({ programs });
  const silent = await startSilentServer(5432);
  const root = mkdtempSync(path.join(os.tmpdir(), 'drctl-pg-contract-'));
  chmodSync(root, 0o755);
  const site = { host: server.host, port: server.port, password: new Secret(server.password) };
  const client = await openPostgres(server.url);
  await client.query('CREATE TABLE notes (id bigserial PRIMARY KEY, body text NOT NULL, at timestamptz DEFAULT now())');
  let places = 0;
  return {
    engine: await engineOf('postgresql', 'orders-db', {
      sites: { primary: site, nowhere: { ...site, host: '127.22.255.254' }, silent: { ...site, host: silent.host } },
      toolsDirectory: path.dirname(postgresTool('postgres', programs)),
    }),
    site: 'primary',
    deadSite: 'nowhere',
    silence: { site: 'silent', signal: (signal) => server.server.kill(signal) },
    standbySite: null,
    async leftByArchiver() {
      const { rows } = await client.query('SELECT slot_name FROM pg_replication_slots');
      return rows.map((row: { slot_name: string }) => row.slot_name);
    },
    async change() {
      await client.query(`INSERT INTO notes (body) SELECT md5(random()::text) FROM generate_series(1, 5000)`);
      await client.query('UPDATE notes SET body = body || $1 WHERE id % 7 = 0', ['x']);
      await client.query('DELETE FROM notes WHERE id % 11 = 0');
    },
    async place() {
      places += 1;
      return {
        directory: path.join(root, `place-${places}`),
        host: '127.22.0.1',
        port: 0,
        osUser: isRoot ? 'nobody' : null,
        overwrite: false,
      };
    },
    async stop() {
      await client.end();
      await silent.stop();
      await server.stop();
      rmSync(root, { recursive: true, force: true });
    },
  };
}

for (const { version, programs } of postgresVersionsInDepth) {
  const name = `PostgreSQL ${version}`;
  engineContract(
    name,
    () => startHarness(programs),
    () => startPostgresRoles(programs),
  );
  engineFaults(name, () => startHarness(programs));
}
