import type { FenceEvidence } from '../../core/fencing';
import type { Replication } from '../../core/roles';
import { testContext } from '../support/engine-harness';
import { startPostgresRoles } from '../support/postgresql-roles';
import { postgresVersions, waitUntil } from '../support/servers';

describe.each(postgresVersions)('PostgreSQL $version', ({ programs }) => {
  test('a standby whose primary died soon after its promotion is of the lineage that it has, so that the loss can be told', async () => {
    const harness = await startPostgresRoles(programs);
    const roles = harness.engine.replication as Replication;
    const { agent } = harness;
    const has = (site: string, row: string) =>
      waitUntil(`${site} having ${row}`, async () => (await harness.rows(site)).includes(row));
    try {
      await harness.write('primary', 'before the promotion');
      await has('dr', 'before the promotion'); // it streams, so that the shutdown waits until all of it is there
      await agent!.shutDown('primary');
      const shutDown: FenceEvidence = {
        ...{ site: 'primary', epoch: 1, stores: ['orders-db'], at: new Date().toISOString() },
        ...{ strength: 'attested', how: 'shut down by the test', by: 'test' },
      };
      await roles.promote({ site: 'dr', epoch: 1, evidence: [shutDown] }, testContext());
      await agent!.startStandby('primary');
      await harness.write('dr', 'after the promotion');
      await has('primary', 'after the promotion');
      const before = await roles.sample('dr', 'primary', testContext());
      expect(before.primary?.position.lineage).toMatch(/\/2$/);
      await agent!.shutDown('dr');
      const after = await roles.sample('dr', 'primary', testContext());
      expect(after.primary).toBeNull();
      expect(after.standby?.position.lineage).toBe(before.primary?.position.lineage);
    } finally {
      await harness.stop();
    }
  }, 90_000);
});
