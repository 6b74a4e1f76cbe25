import * as fs from 'node:fs';
import * as net from 'node:net';
import * as path from 'node:path';
import type { Client } from 'pg';
import type { Replication } from '../../core/roles';
import { Secret } from '../../core/secret';
import { type RolesHarness, rolesContract } from '../contract/roles.contract';
import { engineOf, testContext } from '../support/engine-harness';
import { startPostgresRoles } from '../support/postgresql-roles';
import { startPostgresStandby } from '../support/postgresql-standby';
import { postgresVersions, startPostgres, waitUntil } from '../support/servers';
import { inPostgres, openPostgres } from '../../lab/servers/postgresql-client';

// The whole contract once more, each fence with its wait, is for those who have the time (`npm run test:deep`).
for (const { version, programs } of process.env['DRCTL_EVERY_VERSION'] ? postgresVersions : []) {
  const start = () => startPostgresRoles(programs, { byAccessRules: true });
  rolesContract(`PostgreSQL ${version}, fenced by access rules,`, start);
}

describe('the door of an old primary that answers', () => {
  let harness: RolesHarness & { shop(site: string): Promise<Client> };
  let roles: Replication;
  const fence = (epoch: number) => roles.fence('primary', 'dr', epoch, testContext());
  /** As somebody who means to write all the same. */
  const override = async (client: Client) => {
    await client.query('SET default_transaction_read_only = off');
    return client.query(`INSERT INTO entries VALUES ('forced') ON CONFLICT DO NOTHING`);
  };

  beforeAll(async () => {
    harness = await startPostgresRoles(undefined, { byAccessRules: true });
    roles = harness.engine.replication as Replication;
  }, 120_000);
  afterAll(async () => harness?.stop(), 60_000);

  test('a session that overrides the setting, and a superuser who comes anew, are kept from writing: that is proven', async () => {
    const held = await harness.shop('primary');
    await override(held);
    const before = await harness.rows('primary');
    const evidence = await fence(1);
    expect(evidence).toMatchObject({ strength: 'proven', epoch: 1, stores: ['orders-db'] });
    expect(evidence.how).toMatch(/a write was refused; nobody else is let in \(pg_hba\.conf\) or connected/);
    await expect(held.query(`INSERT INTO entries VALUES ('split')`)).rejects.toThrow(/terminat|closed|queryable/i);
    await expect(harness.shop('primary')).rejects.toThrow(/pg_hba\.conf rejects/);
    expect(await harness.rows('primary')).toEqual(before);
    await held.end().catch(() => undefined); // the server has ended it
  }, 60_000);

  test('the standby goes on following; the fence is undone for good', async () => {
    await roles.unfence('primary', 1, testContext());
    await harness.write('primary', 'again');
    const client = await harness.shop('primary');
    await override(client);
    await client.end();
    expect(await harness.rows('primary')).toEqual(expect.arrayContaining(['again', 'forced']));
    expect((await roles.sample('primary', 'dr', testContext())).problem).toBeNull();
  }, 60_000);
});

test('through a restart, where waiting takes too long, and without the rights', async () => {
  const server = await startPostgres(); // authentication_timeout is a minute
  const site = { host: server.host, port: server.port, password: new Secret(server.password) };
  const engine = await engineOf('postgresql', 'orders-db', { sites: { primary: site }, fenceByAccessRules: true });
  const rules = path.join(server.dataDir, 'pg_hba.conf');
  const before = fs.readFileSync(rules);
  const fence = (of = engine) => of.replication?.fence('primary', 'dr', 2, testContext());
  const connect = (user: string, password = server.password) =>
    openPostgres({ host: server.host, port: server.port, user, password, database: 'postgres' });
  const admin = await connect('postgres');
  await admin.query(`CREATE ROLE shop LOGIN PASSWORD 'shop'; CREATE ROLE weaker LOGIN PASSWORD 'weaker'`);
  await admin.query('GRANT pg_monitor, pg_signal_backend TO weaker; GRANT CREATE ON DATABASE postgres TO weaker');
  await admin.query('GRANT ALTER SYSTEM ON PARAMETER default_transaction_read_only TO weaker');
  await admin.query('GRANT EXECUTE ON FUNCTION pg_reload_conf TO weaker');
  await admin.end();

  const outlook = (of = engine) => of.replication!.fenceOutlook('primary', 'dr', testContext());
  const account = { ...site, user: 'weaker', password: new Secret('weaker') };
  const weaker = await engineOf('postgresql', 'orders-db', { sites: { primary: account }, fenceByAccessRules: true });
  // Found before the day, each with what mends it.
  const found = await outlook(weaker);
  expect(found).toMatchObject({
    strength: 'weak',
    handOverLacks: [expect.stringContaining('pg_checkpoint') as string],
  });
  for (const lack of [/may not read pg_hba\.conf/, /lo_export/, /pg_stat_file/, /authentication_timeout/])
    expect(found.lacking).toContainEqual(expect.stringMatching(lack));
  expect(await outlook()).toMatchObject({ lacking: [expect.stringMatching(/^authentication_timeout/) as string] });
  expect(await fence(weaker)).toMatchObject({ strength: 'weak', how: expect.stringContaining('may not') as string });
  expect(fs.readFileSync(rules)).toEqual(before);
  await weaker.replication?.unfence('primary', 2, testContext());
  const shop = await connect('shop', 'shop');
  await shop.end();

  const evidence = await fence();
  expect(evidence).toMatchObject({
    strength: 'weak',
    how: expect.stringMatching(/try again then for a proof/) as string,
  });
  await expect(connect('shop', 'shop')).rejects.toThrow(/pg_hba\.conf rejects/);
  await server.server.kill('SIGKILL');
  await server.server.start();
  await expect(connect('shop', 'shop')).rejects.toThrow(/pg_hba\.conf rejects/);
  const older = engine.replication?.unfence('primary', 1, testContext());
  await expect(older).rejects.toThrow(/epoch 2/);
  await engine.replication?.unfence('primary', 2, testContext());
  expect(fs.readFileSync(rules)).toEqual(before);
  await (await connect('shop', 'shop')).end();
  await server.stop();
}, 60_000);

test('a client that was asked for its password and never answers holds no hand-over up', async () => {
  const primary = await startPostgres(); // authentication_timeout is a minute, and the hand-over has less
  const standby = await startPostgresStandby(primary);
  await inPostgres(primary.url, (admin) =>
    admin.query(`
      CREATE ROLE drctl LOGIN PASSWORD 'drctl';
      GRANT pg_read_all_data, pg_monitor, pg_checkpoint, pg_signal_backend TO drctl;
      GRANT CREATE ON DATABASE postgres TO drctl;
      GRANT ALTER SYSTEM ON PARAMETER default_transaction_read_only TO drctl;
      GRANT EXECUTE ON FUNCTION pg_reload_conf, pg_wal_replay_resume TO drctl`),
  );
  const silent = net.connect({ host: primary.host, port: primary.port });
  // A StartupMessage (manual, Message Formats): its length, version 3.0, parameters.
  const parameters = Buffer.from('user\0postgres\0\0');
  const head = Buffer.alloc(8);
  head.writeInt32BE(8 + parameters.length);
  head.writeInt32BE(196_608, 4);
  silent.write(Buffer.concat([head, parameters]));
  const signsIn = `SELECT pid FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND usesysid IS NULL AND xact_start < now() - interval '100 ms'`;
  await waitUntil('the server waiting for its user', () =>
    inPostgres(primary.url, async (admin) => ((await admin.query(signsIn)).rowCount ?? 0) > 0),
  );
  const site = ({ host, port }: typeof primary) => ({ host, port, user: 'drctl', password: new Secret('drctl') });
  const engine = await engineOf('postgresql', 'orders-db', { sites: { primary: site(primary), dr: site(standby) } });
  const request = { fromSite: 'primary', toSite: 'dr', epoch: 1, withinSeconds: 20 };
  const { reached, final } = await engine.replication!.handOver(request, testContext());
  expect(engine.positions.compare(reached, final)).toBeGreaterThanOrEqual(0);
  silent.destroy();
  await Promise.all([primary.stop(), standby.stop()]);
}, 90_000);
