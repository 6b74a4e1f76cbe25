import * as fs from 'node:fs/promises';
import * as os from 'node:os';
import * as path from 'node:path';
import type { OpenApplication } from '../../activities/deps';
import { createHoldFenceActivities } from '../../activities/hold-fence';
import { createEpochs } from '../../adapters/catalog/epochs';
import { createRepository } from '../../adapters/repository';
import type { Engine } from '../../core/engine';
import type { FenceEvidence } from '../../core/fencing';
import type { Replication } from '../../core/roles';
import { Secret } from '../../core/secret';
import { inPostgres, openPostgres } from '../../lab/servers/postgresql-client';
import { descendants, type ProcessIdentity } from '../../lab/servers/process-tree';
import { engineOf, testContext } from '../support/engine-harness';
import { expectFailure } from '../support/expect-failure';
import { inActivity } from '../support/in-activity';
import { startPostgresStandby } from '../support/postgresql-standby';
import { startPostgres, waitUntil } from '../support/servers';
import { shop } from '../support/shop-application';

/**
 * The old primary does not die, it hangs: every process of it is stopped (SIGSTOP), the standby is promoted on somebody's
 * word, and then it wakes up (SIGCONT) and believes that it leads.
 */
type Postgres = Awaited<ReturnType<typeof startPostgres>>;
const READ_ONLY = '25006';

let primary: Postgres;
let standby: Postgres;
let engine: Engine;
let roles: Replication;
let folder: string;
let open: OpenApplication;
let frozen: ProcessIdentity[] = [];

const thaw = () => {
  for (const { pid } of frozen.toReversed()) process.kill(pid, 'SIGCONT');
  frozen = [];
};

async function query({ url }: Postgres, text: string): Promise<{ row: string }[]> {
  return inPostgres(url, async (client) => (await client.query<{ row: string }>(text)).rows);
}

const rows = async (at: Postgres) => (await query(at, 'SELECT row FROM entries ORDER BY row')).map(({ row }) => row);

const takeEpoch = async (epoch: number) =>
  open.epochs.take({
    epoch,
    activeSite: 'dr',
    previousSite: 'primary',
    takenAt: new Date().toISOString(),
    reason: 'test',
    workflowId: 'role-change:shop',
    runId: `run-${epoch}`,
    approvedBy: 'dana',
  });

const holdFence = (epoch: number) => {
  const activities = createHoldFenceActivities({ site: 'dr', hostId: 'h1', open: () => open });
  const round = { stores: ['orders-db'], site: 'primary', survivingSite: 'dr', runForMilliseconds: 60_000 };
  return inActivity(() => activities.holdFence({ application: shop.name, epoch, ...round }));
};

beforeAll(async () => {
  primary = await startPostgres();
  await query(primary, 'CREATE TABLE entries (row text PRIMARY KEY)');
  standby = await startPostgresStandby(primary);
  const siteOf = ({ host, port, password }: Postgres) => ({ host, port, password: new Secret(password) });
  engine = await engineOf('postgresql', 'orders-db', { sites: { primary: siteOf(primary), dr: siteOf(standby) } });
  roles = engine.replication as Replication;
  folder = await fs.mkdtemp(path.join(os.tmpdir(), 'drctl-frozen-'));
  const control = createRepository('control', { kind: 'local', directory: folder, prefix: '' }, shop.name);
  open = {
    application: shop,
    control,
    epochs: createEpochs(control),
    engine: () => engine,
  } as unknown as OpenApplication;
}, 120_000);

afterAll(async () => {
  thaw();
  await Promise.all([primary?.stop(), standby?.stop()]);
  if (folder) await fs.rm(folder, { recursive: true, force: true });
});

test('it wakes up after the failover, is refused within moments, and stays so through a restart', async () => {
  const session = await openPostgres(primary.url);
  await session.query(`INSERT INTO entries VALUES ('before')`);
  await waitUntil('the standby having the row', async () => (await rows(standby)).includes('before'));
  frozen = descendants(primary.server.pid ?? 0);
  expect(frozen.length).toBeGreaterThan(5);
  for (const { pid } of frozen) process.kill(pid, 'SIGSTOP');
  await takeEpoch(1);

  // That it does not answer is no fence: only a person's word lets the standby be promoted.
  const silent = await roles.fence('primary', 'dr', 1, testContext());
  expect(silent).toMatchObject({ strength: 'none', stores: ['orders-db'] });
  const promote = (evidence: FenceEvidence[]) => roles.promote({ site: 'dr', epoch: 1, evidence }, testContext());
  await expectFailure(promote([silent]), 'FencingUnconfirmed', 'orders-db');
  const word = { ...silent, strength: 'attested' as const, how: 'erin attests: it is dark', by: 'erin' };
  await expect(promote([silent, word])).resolves.toMatchObject({ site: 'dr', already: false });
  await query(standby, `INSERT INTO entries VALUES ('after')`);

  const held = holdFence(1);
  thaw();
  await expect(held).resolves.toMatchObject([{ strength: 'weak', site: 'primary', stores: ['orders-db'], epoch: 1 }]);

  // Neither the session of before nor a new one writes.
  await expect(session.query(`INSERT INTO entries VALUES ('split-1')`)).rejects.toThrow(/terminat|closed|queryable/i);
  await session.end().catch(() => undefined); // the server has ended it
  const refused = { code: READ_ONLY };
  await expect(query(primary, `INSERT INTO entries VALUES ('split-2')`)).rejects.toMatchObject(refused);
  await primary.server.stop();
  await primary.server.start();
  await expect(query(primary, `INSERT INTO entries VALUES ('split-3')`)).rejects.toMatchObject(refused);
  expect(await rows(primary)).toEqual(['before']);
  expect(await rows(standby)).toEqual(['after', 'before']);
  expect(await engine.probe('primary', testContext())).toMatchObject({ writable: false });
  // The epoch is in the store itself: no step of an older role change lifts the fence.
  expect(await roles.epoch('primary', testContext())).toBe(1);
  await expectFailure(roles.unfence('primary', 0, testContext()), 'StaleEpoch', 'epoch 1');
}, 120_000);

test('a newer role change ends the watch: the site may have a role again', async () => {
  await takeEpoch(2);
  await expectFailure(holdFence(1), 'StaleEpoch', 'epoch 1');
});
