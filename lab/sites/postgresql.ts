import * as fs from 'node:fs';
import * as path from 'node:path';
import { initPostgres, postgresCommand, postgresReady, postgresTool } from '../servers/postgresql';
import { inPostgres } from '../servers/postgresql-client';
import { runToEnd } from '../servers/process';
import type { ProgramSpec } from '../supervisor/program';
import type { SiteName } from './address-plan';
import { type LabBuild, runServer, storeFolder, STORES } from './build';

export const DATABASE = 'ultramarket';
/** The roles of the cluster; each has its password in a secret of the name given here. */
export const POSTGRES_ROLES = {
  superuser: { name: 'postgres', secret: 'postgresql-superuser' },
  application: { name: 'ultramarket', secret: 'postgresql-application' },
  backup: { name: 'drctl', secret: 'postgresql-backup' },
} as const;
const STANDBY_SLOT = 'dr_standby';

/** Starts the primary with its database and roles, then its streaming standby from a real base backup of it. */
export async function startPostgresSites(build: LabBuild): Promise<void> {
  const primary = clusterFolder(build, 'primary');
  const standby = clusterFolder(build, 'dr');
  await initPostgres({ dataDir: primary, password: build.secrets.password(POSTGRES_ROLES.superuser.secret) });
  nameFuturePrimary(build, primary);
  const primaryRuns = await runCluster(build, 'primary', primary);
  if (!fs.existsSync(path.join(standby, 'PG_VERSION'))) {
    if (!primaryRuns) throw new Error('the standby does not exist yet and its primary does not run: destroy this lab');
    await createRoles(build);
    await copyToStandby(build, standby);
  }
  await runCluster(build, 'dr', standby);
}

/** After a switchover the first primary follows the other site: whom, and as whom, it reads only when it starts as a standby. */
function nameFuturePrimary(build: LabBuild, dataDir: string): void {
  const file = path.join(dataDir, 'postgresql.conf');
  if (/^primary_conninfo/m.test(fs.readFileSync(file, 'utf8'))) return;
  const { host, port } = build.plan.sites.dr.postgresql;
  const { name, secret } = POSTGRES_ROLES.backup;
  const login = `host=${host} port=${port} user=${name} password=${build.secrets.password(secret)} application_name=primary`;
  fs.appendFileSync(file, `primary_conninfo = '${login}'\n`);
}

function clusterFolder(build: LabBuild, site: SiteName): string {
  return path.join(storeFolder(build, site, 'postgresql'), 'cluster');
}

function runCluster(build: LabBuild, site: SiteName, dataDir: string): Promise<boolean> {
  const address = build.plan.sites[site].postgresql;
  // A standby that is away for long must not fill the primary's disk; it is then rebuilt.
  const settings = { max_slot_wal_keep_size: '2GB', max_wal_size: '512MB', cluster_name: `${DATABASE}-${site}` };
  const command = postgresCommand({ dataDir, ...address, settings });
  const name = `postgresql-${site}`;
  const spec: ProgramSpec = {
    ...command,
    name,
    site,
    kind: 'store',
    store: STORES.postgresql,
    restart: true,
    stopSignal: 'SIGINT',
    postgresql: { dataDir, controldata: postgresTool('pg_controldata') },
  };
  return runServer(build, spec, () => postgresReady(address));
}

/** The backup role may do what drctl does at either site, and no more; it does not own the data. */
async function createRoles(build: LabBuild): Promise<void> {
  const { superuser, application, backup } = POSTGRES_ROLES;
  const address = build.plan.sites.primary.postgresql;
  const login = { ...address, user: superuser.name, password: build.secrets.password(superuser.secret) };
  await inPostgres({ ...login, database: 'postgres' }, async (client) => {
    for (const { name, secret } of [application, backup]) {
      const exists = await client.query('SELECT FROM pg_roles WHERE rolname = $1', [name]);
      if (exists.rowCount === 0) await client.query(`CREATE ROLE ${name} LOGIN`);
      // DDL takes no parameters; the password is one of ours, of hexadecimal digits.
      await client.query(`ALTER ROLE ${name} PASSWORD '${build.secrets.password(secret)}'`);
    }
    await client.query(`ALTER ROLE ${backup.name} REPLICATION`);
    const memberships = 'pg_read_all_data, pg_monitor, pg_checkpoint, pg_signal_backend';
    await client.query(`GRANT ${memberships} TO ${backup.name}`);
    const database = await client.query('SELECT FROM pg_database WHERE datname = $1', [DATABASE]);
    if (database.rowCount === 0) await client.query(`CREATE DATABASE ${DATABASE} OWNER ${application.name}`);
  });
  await inPostgres({ ...login, database: DATABASE }, async (client) => {
    const functions = [
      'pg_promote',
      'pg_switch_wal',
      'pg_create_restore_point',
      'pg_backup_start',
      'pg_backup_stop',
      'pg_reload_conf',
      'pg_wal_replay_pause',
      'pg_wal_replay_resume',
    ];
    for (const name of functions) await client.query(`GRANT EXECUTE ON FUNCTION ${name} TO ${backup.name}`);
    // Its own schema holds the heartbeat and the epoch.
    await client.query(`CREATE SCHEMA IF NOT EXISTS drctl AUTHORIZATION ${backup.name}`);
    await client.query(`GRANT CREATE ON DATABASE ${DATABASE} TO ${backup.name}`);
    const parameters = 'default_transaction_read_only, synchronous_standby_names, primary_conninfo';
    await client.query(`GRANT SET, ALTER SYSTEM ON PARAMETER ${parameters} TO ${backup.name}`);
  });
}

async function copyToStandby(build: LabBuild, dataDir: string): Promise<void> {
  const { superuser, backup } = POSTGRES_ROLES;
  const { host, port } = build.plan.sites.primary.postgresql;
  const scratch = `${dataDir}.copy`;
  fs.rmSync(scratch, { recursive: true, force: true });
  await inPostgres(
    { host, port, user: superuser.name, password: build.secrets.password(superuser.secret), database: 'postgres' },
    async (client) => {
      // A slot of an interrupted try is reused, so that the copy can be taken again.
      const found = await client.query('SELECT FROM pg_replication_slots WHERE slot_name = $1', [STANDBY_SLOT]);
      if (found.rowCount === 0)
        await client.query('SELECT pg_create_physical_replication_slot($1, true)', [STANDBY_SLOT]);
    },
  );
  const source = [
    '-h',
    host,
    '-p',
    `${port}`,
    '-U',
    backup.name,
    '-w',
    '-S',
    STANDBY_SLOT,
    '-X',
    'stream',
    '-c',
    'fast',
  ];
  const env = { PGPASSWORD: build.secrets.password(backup.secret), PGAPPNAME: 'dr' };
  const argv = [postgresTool('pg_basebackup'), '-D', scratch, '--write-recovery-conf', ...source];
  await runToEnd({ argv, env, cwd: path.dirname(dataDir), unprivileged: true });
  fs.renameSync(scratch, dataDir);
}

/** The connection string of one site's cluster, for the application's own role. */
export function postgresUrl(build: LabBuild, site: SiteName): string {
  const { host, port } = build.plan.sites[site].postgresql;
  const { name, secret } = POSTGRES_ROLES.application;
  return `postgresql://${name}:${build.secrets.password(secret)}@${host}:${port}/${DATABASE}`;
}
