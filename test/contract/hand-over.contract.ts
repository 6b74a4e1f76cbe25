import type { Replication } from '../../core/roles';
import type { Engine } from '../../core/engine';
import type { FenceEvidence } from '../../core/fencing';
import type { HandOver } from '../../core/hand-over';
import { waitUntil } from '../../lab/servers/process';
import { testContext } from '../support/engine-harness';
import type { RolesHarness } from './roles.contract';
import { expectFailure } from '../support/expect-failure';

/** An ordinary client that writes for as long as it may, and remembers every row that was acknowledged. */
function writer(harness: RolesHarness, site: string, name: string) {
  const acknowledged: string[] = [];
  const stopped = new AbortController();
  const run = async () => {
    for (let number = 0; !stopped.signal.aborted; number += 1) {
      const row = `${name}-${String(number).padStart(6, '0')}`;
      try {
        await harness.write(site, row);
        acknowledged.push(row);
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 20)); // refused: it tries another row, as a service would
      }
    }
  };
  const running = run();
  return {
    acknowledged,
    has: (count: number) =>
      waitUntil(`${count} rows acknowledged`, async () => acknowledged.length >= count, { deadlineMs: 30_000 }),
    async stop() {
      stopped.abort();
      await running;
    },
  };
}

/**
 * The promises of `handOver` and `follow` in core/roles.ts, on two real members of which one is written to all the while:
 * handed over and taken back, then handed over for good. Run by `engineContract`.
 */
export function handOverContract(engineName: string, start: () => Promise<RolesHarness>): void {
  describe(`${engineName} keeps the contract of handing over`, () => {
    let harness: RolesHarness;
    let engine: Engine;
    let roles: Replication;
    let primary: string;
    let standby: string;
    const kept: string[] = [];

    const handOver = (epoch: number) =>
      roles.handOver({ fromSite: primary, toSite: standby, epoch, withinSeconds: 30 }, testContext());
    const isWhole = (given: HandOver, epoch: number) => {
      expect(given).toMatchObject({ store: engine.store, evidence: { site: primary, stores: [engine.store], epoch } });
      expect(given.final.lineage).toBe(given.reached.lineage);
      expect(engine.positions.compare(given.reached, given.final)).toBeGreaterThanOrEqual(0);
      expect(given.how).not.toBe('');
    };
    const missingAt = async (site: string, rows: readonly string[]) => {
      const found = new Set(await harness.rows(site));
      return rows.filter((row) => !found.has(row));
    };

    beforeAll(async () => {
      harness = await start();
      ({ engine, primarySite: primary, standbySite: standby } = harness);
      roles = engine.replication as Replication;
    }, 120_000);
    afterAll(async () => harness?.stop(), 60_000);

    test('handed over under writes and taken back: every acknowledged row is there, and the primary takes writes again', async () => {
      const client = writer(harness, primary, 'first');
      await client.has(20);
      const given = await handOver(1);
      isWhole(given, 1);
      await expect(harness.write(primary, 'refused')).rejects.toThrow();
      expect(await missingAt(standby, client.acknowledged)).toEqual([]);
      isWhole(await handOver(1), 1);
      await client.stop();
      expect(await missingAt(standby, client.acknowledged)).toEqual([]);
      const there = await engine.probe(standby, testContext());
      expect(there.writable).toBe(roles.electsItself);

      await roles.unfence(primary, 1, testContext());
      await waitUntil('writes at the primary', async () => harness.write(primary, 'taken-back').then(() => true));
      expect(await engine.probe(primary, testContext())).toMatchObject({ role: 'primary', writable: true });
      kept.push(...client.acknowledged, 'taken-back');
    }, 120_000);

    test('handed over under writes and promoted: nothing is lost, and the old primary follows or says what it needs', async () => {
      const client = writer(harness, primary, 'second');
      await client.has(20);
      const given = await handOver(2);
      const end = await harness.agent?.shutDown(primary);
      const reached = end && (await roles.passedEnd?.({ site: standby, end, withinSeconds: 30 }, testContext()));
      if (end) {
        expect(end.lineage).toBe(given.final.lineage);
        expect(engine.positions.compare({ ...given.final, value: end.value }, given.final)).toBeGreaterThanOrEqual(0);
        expect(reached?.lineage).toBe(end.lineage);
      }
      const attested: FenceEvidence = { ...given.evidence, strength: 'attested', how: 'seen by the test', by: 'test' };
      const evidence = given.evidence.strength === 'proven' ? [given.evidence] : [given.evidence, attested];
      await roles.promote({ site: standby, epoch: 2, evidence }, testContext());
      await client.stop();
      isWhole(given, 2);
      kept.push(...client.acknowledged);
      expect(await missingAt(standby, kept)).toEqual([]);
      await harness.write(standby, 'at-the-new-one');

      const follow = (starting = false) =>
        roles.follow({ site: primary, primarySite: standby, epoch: 2, starting }, testContext());
      if (harness.agent) {
        // Becoming a standby takes a file in its data directory and a start: until somebody did that it says so.
        expect(await follow()).toMatchObject({
          follows: false,
          how: expect.stringMatching(/make it a standby/) as string,
        });
        await harness.agent.startStandby(primary);
      }
      const following = await follow(true);
      expect(following).toMatchObject({ store: engine.store, site: primary, follows: true });
      expect(following.how).toMatch(/follow|replica|stream/);
      expect((await follow()).follows).toBe(true);
      await expect(harness.write(primary, 'split')).rejects.toThrow();
      const arrived = async () => (await missingAt(primary, ['at-the-new-one'])).length === 0;
      await waitUntil('the new row at the old primary', arrived);
      expect(await missingAt(standby, kept)).toEqual([]);
    }, 120_000);

    test('and back again: the first primary takes over with everything, and its fence of before hinders no write', async () => {
      const there = { fromSite: standby, toSite: primary, epoch: 3, withinSeconds: 30 };
      const client = writer(harness, standby, 'third');
      await client.has(20);
      const given = await roles.handOver(there, testContext());
      await client.stop();
      kept.push(...client.acknowledged);
      const end = await harness.agent?.shutDown(standby);
      if (end) await roles.passedEnd?.({ site: primary, end, withinSeconds: 30 }, testContext());
      const attested: FenceEvidence = { ...given.evidence, strength: 'attested', how: 'seen by the test', by: 'test' };
      const evidence = given.evidence.strength === 'proven' ? [given.evidence] : [attested];
      await roles.promote({ site: primary, epoch: 3, evidence }, testContext());
      await harness.write(primary, 'back-home');
      expect(await missingAt(primary, kept)).toEqual([]);
      await harness.agent?.startStandby(standby);
      const follow = { site: standby, primarySite: primary, epoch: 3, starting: true };
      expect(await roles.follow(follow, testContext())).toMatchObject({ follows: true });
      const arrived = async () => (await missingAt(standby, ['back-home'])).length === 0;
      await waitUntil('the new row at the second site', arrived);
    }, 120_000);

    test('what belongs to an older role change is refused', async () => {
      const stale = { fromSite: primary, toSite: standby, epoch: 1, withinSeconds: 30 };
      await expectFailure(roles.handOver(stale, testContext()), 'StaleEpoch');
      await expectFailure(roles.follow({ site: standby, primarySite: primary, epoch: 1 }, testContext()), 'StaleEpoch');
      await harness.write(primary, 'still-writable');
      expect(await missingAt(primary, ['still-writable'])).toEqual([]);
    }, 60_000);
  });
}
