import type { FenceEvidence } from '../../core/fencing';
import { waitUntil } from '../../lab/servers/process';
import type { RolesHarness } from '../contract/roles.contract';
import { testContext } from '../support/engine-harness';
import { expectFailure } from '../support/expect-failure';
import { startPostgresRoles } from '../support/postgresql-roles';
import { startRedisRoles } from '../support/redis-roles';

test.each([
  ['postgresql', () => startPostgresRoles(), 200],
  ['redis', () => startRedisRoles(), null],
] as const)(
  '%s: what the old primary wrote beyond the promotion is found at it, and nothing before it',
  async (_, start: () => Promise<RolesHarness>, transactions: number | null) => {
    const harness = await start();
    const { engine, primarySite, standbySite } = harness;
    const roles = engine.replication!;
    const read = () => roles.divergence(primarySite, standbySite, testContext());
    try {
      // Makes what drctl writes into.
      await roles.writeProbe(primarySite, 'before', testContext());
      for (let row = 0; row < 20; row += 1) await harness.write(primarySite, `kept-${row}`);
      await waitUntil('the standby having every row', async () => (await harness.rows(standbySite)).length === 20);
      await expectFailure(read(), 'RoleMismatch', 'cannot be read');

      const how = 'said by the test: it is not fenced at all';
      const word = {
        strength: 'attested',
        site: primarySite,
        stores: [engine.store],
        epoch: 1,
        how,
        by: 'test',
      } as const;
      const evidence: FenceEvidence[] = [{ ...word, at: new Date().toISOString() }];
      await roles.promote({ site: standbySite, epoch: 1, evidence }, testContext());
      const { position } = (await roles.state(primarySite, testContext()))!;
      const before = await read();
      expect(before.fork.lineage).toBe(position.lineage);
      expect(engine.positions.compare(before.fork, before.end)).toBeLessThanOrEqual(0);

      for (let row = 0; row < 200; row += 1) await harness.write(primarySite, `lost-${row}-${'x'.repeat(100)}`);
      for (let probe = 0; probe < 5; probe += 1) await roles.writeProbe(primarySite, `own-${probe}`, testContext());
      const after = await read();
      expect(after.fork).toEqual(before.fork);
      // Of the application's, not of drctl; counted where the log is kept.
      expect([before.operations, after.operations]).toEqual(transactions === null ? [null, null] : [0, transactions]);
      expect([typeof after.seconds, after.seconds === 0]).toEqual([transactions === null ? 'object' : 'number', false]);
      // Each row takes its own length at the least, and what a log writes besides is no multiple of it.
      expect(after.bytes - before.bytes).toBeGreaterThan(200 * 100);
      expect(after.bytes - before.bytes).toBeLessThan(200 * 100 * 20);
      expect(await harness.rows(standbySite)).toHaveLength(20);
    } finally {
      await harness.stop();
    }
  },
  60_000,
);
