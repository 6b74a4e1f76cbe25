import type { Replication } from '../../core/roles';
import type { Engine } from '../../core/engine';
import type { FenceEvidence, StoreEnd } from '../../core/fencing';
import { waitUntil } from '../../lab/servers/process';
import { testContext } from '../support/engine-harness';
import { expectFailure } from '../support/expect-failure';

/** What an engine with roles brings besides: two real members, and an ordinary client's way to write and read. */
export interface RolesHarness {
  readonly engine: Engine;
  /** Where the primary is when the test begins, and where the one is that follows it. */
  readonly primarySite: string;
  readonly standbySite: string;
  /**
   * Writes a row at the site's own server with the settings of an ordinary client. Resolves when it is acknowledged,
   * rejects where it is refused. Writing the same row again changes nothing.
   */
  write(site: string, row: string): Promise<void>;
  /** Every row that a reader at the site sees, sorted. */
  rows(site: string): Promise<string[]>;
  /**
   * What the host's agent does at the end of a planned hand-over, for an engine that cannot follow by itself: shuts the
   * site's server down cleanly and reads where it ended, then starts it as a standby.
   */
  readonly agent?: { shutDown(site: string): Promise<StoreEnd>; startStandby(site: string): Promise<void> };
  stop(): Promise<void>;
}

const STRENGTHS: readonly FenceEvidence['strength'][] = ['none', 'weak', 'proven'];

/**
 * The promises of `Replication` in core/roles.ts, on two real members: from healthy over fenced and unfenced to promoted.
 * One story in several tests, each standing on the one before. Run by `engineContract`.
 */
export function rolesContract(engineName: string, start: () => Promise<RolesHarness>): void {
  describe(`${engineName} keeps the contract of roles`, () => {
    let harness: RolesHarness;
    let engine: Engine;
    let roles: Replication;
    let primary: string;
    let standby: string;

    const written = (from: number, count: number) => Array.from({ length: count }, (_, index) => `row-${from + index}`);
    const write = async (site: string, rows: readonly string[]) => {
      for (const row of rows) await harness.write(site, row);
    };
    /** Until the one that follows has what the primary has, row by row. */
    const inSync = async (): Promise<string[]> => {
      const wanted = await harness.rows(primary);
      await waitUntil('the standby having every row', async () => {
        const found = await harness.rows(standby);
        return found.length === wanted.length && found.every((row, index) => row === wanted[index]);
      });
      return wanted;
    };
    const evidenceOf = (epoch: number, more: Partial<FenceEvidence> = {}): FenceEvidence => ({
      strength: 'attested',
      site: primary,
      stores: [engine.store],
      epoch,
      at: new Date().toISOString(),
      how: 'seen by the test',
      by: 'test',
      ...more,
    });

    beforeAll(async () => {
      harness = await start();
      ({ engine, primarySite: primary, standbySite: standby } = harness);
      roles = engine.replication as Replication;
    }, 120_000);
    afterAll(async () => harness?.stop(), 60_000);

    test('both sides are measured on one lineage, and the writes of the primary are counted', async () => {
      await write(primary, written(0, 5));
      const before = await roles.sample(primary, standby, testContext());
      await write(primary, written(5, 20));
      await inSync();
      await waitUntil('the standby having the position of the primary', async () => {
        const { primary: here, standby: there } = await roles.sample(primary, standby, testContext());
        return here !== null && there !== null && engine.positions.compare(there.position, here.position) >= 0;
      });
      const after = await roles.sample(primary, standby, testContext());
      expect(after).toMatchObject({ store: engine.store, problem: null });
      expect(after.primary).toMatchObject({ site: primary });
      expect(after.standby).toMatchObject({ site: standby });
      expect(after.standby?.position.lineage).toBe(after.primary?.position.lineage);
      expect(engine.positions.compare(after.primary!.position, before.primary!.position)).toBeGreaterThan(0);
      expect(after.primary!.operations! - before.primary!.operations!).toBeGreaterThanOrEqual(20);
      expect(await engine.probe(primary, testContext())).toMatchObject({ role: 'primary', writable: true });
      expect(await engine.probe(standby, testContext())).toMatchObject({ role: 'replica', writable: false });
      expect(await roles.state(standby, testContext())).toMatchObject({ site: standby });
      expect(await roles.epoch(standby, testContext())).toBeNull();
      // What can be promoted says so beforehand: the last test does it.
      expect(await roles.obstacles(standby, primary, testContext())).toEqual([]);
    }, 60_000);

    test('a write goes through the door of the primary and back, and is refused at the one that follows', async () => {
      const probe = await roles.writeProbe(primary, 'marker-1', testContext());
      expect(probe).toMatchObject({ site: primary, marker: 'marker-1' });
      expect(probe.roundTripMilliseconds).toBeGreaterThan(0);
      expect(await roles.writeProbe(primary, 'marker-1', testContext())).toMatchObject({ marker: 'marker-1' });
      await expectFailure(roles.writeProbe(standby, 'marker-2', testContext()), 'RoleMismatch');
    }, 60_000);

    test('nothing is promoted without evidence that the old primary is fenced', async () => {
      const insufficient = [
        [],
        [evidenceOf(1, { strength: 'weak' })],
        [evidenceOf(1, { stores: ['another'] })],
        [evidenceOf(1, { epoch: 2 })], // of another role change
        [evidenceOf(1, { site: standby })], // of the side that is to be promoted
      ];
      for (const evidence of insufficient) {
        await expectFailure(roles.promote({ site: standby, epoch: 1, evidence }, testContext()), 'FencingUnconfirmed');
      }
      expect(await engine.probe(standby, testContext())).toMatchObject({ role: 'replica', writable: false });
      await write(primary, written(25, 5));
    }, 60_000);

    test('what is fenced really refuses writes, fenced twice as well, and takes them again when it is unfenced', async () => {
      const before = await inSync();
      const outlook = await roles.fenceOutlook(primary, standby, testContext());
      const first = await roles.fence(primary, standby, 1, testContext());
      // Said beforehand, and never more than comes true. What it needs for that is there, as the documents say it.
      expect(outlook).toMatchObject({ lacking: [], handOverLacks: [] });
      expect(STRENGTHS.indexOf(first.strength)).toBeGreaterThanOrEqual(STRENGTHS.indexOf(outlook.strength));
      expect(outlook.strength).not.toBe('none');
      expect(first).toMatchObject({ site: primary, stores: [engine.store], epoch: 1 });
      expect(first.how).not.toBe('');
      expect(['proven', 'weak']).toContain(first.strength);
      await expect(harness.write(primary, 'refused-1')).rejects.toThrow();
      expect((await engine.probe(primary, testContext())).writable).toBe(false);
      const second = await roles.fence(primary, standby, 1, testContext());
      expect(second.strength).toBe(first.strength);
      await expect(harness.write(primary, 'refused-2')).rejects.toThrow();
      expect(await harness.rows(primary)).toEqual(before);

      await roles.unfence(primary, 1, testContext());
      await roles.unfence(primary, 1, testContext());
      // Members that elect their primary themselves need an election for it.
      await waitUntil('writes at the primary', async () => harness.write(primary, 'taken-again').then(() => true));
      await waitUntil('the primary being seen to take them', async () => {
        const { role, writable } = await engine.probe(primary, testContext());
        return role === 'primary' && writable === true;
      });
      expect(await inSync()).toEqual([...before, 'taken-again'].toSorted());
    }, 120_000);

    test('fenced and promoted, the standby has every row, is written to, and holds the epoch; again changes nothing', async () => {
      await write(primary, written(30, 20));
      const before = await inSync();
      const fenced = await roles.fence(primary, standby, 2, testContext());
      if (fenced.strength !== 'proven') {
        const alone = roles.promote({ site: standby, epoch: 2, evidence: [fenced] }, testContext());
        await expectFailure(alone, 'FencingUnconfirmed');
      }
      const evidence = fenced.strength === 'proven' ? [fenced] : [fenced, evidenceOf(2)];
      const promoted = await roles.promote({ site: standby, epoch: 2, evidence }, testContext());
      expect(promoted).toMatchObject({ site: standby, already: false });
      expect(promoted.position.engine).toBe(engine.kind);
      expect(await harness.rows(standby)).toEqual(before);
      expect(await engine.probe(standby, testContext())).toMatchObject({ writable: true });
      expect(await roles.epoch(standby, testContext())).toBe(2);

      const again = await roles.promote({ site: standby, epoch: 2, evidence }, testContext());
      expect(again).toMatchObject({ site: standby, already: true });
      expect(again.position.lineage).toBe(promoted.position.lineage);
      await write(standby, written(50, 10));
      expect(await harness.rows(standby)).toEqual([...before, ...written(50, 10)].toSorted());
      expect(await roles.writeProbe(standby, 'marker-3', testContext())).toMatchObject({ site: standby });
      await expect(harness.write(primary, 'split')).rejects.toThrow();
    }, 120_000);

    test('a role change of an older epoch is refused and changes nothing', async () => {
      const before = await harness.rows(standby);
      const stale = { site: standby, epoch: 1, evidence: [evidenceOf(1)] };
      await expectFailure(roles.promote(stale, testContext()), 'StaleEpoch');
      await expectFailure(roles.fence(standby, primary, 1, testContext()), 'StaleEpoch');
      await expectFailure(roles.unfence(standby, 1, testContext()), 'StaleEpoch');
      expect(await roles.epoch(standby, testContext())).toBe(2);
      await write(standby, ['still-writable']);
      expect(await harness.rows(standby)).toEqual([...before, 'still-writable'].toSorted());
    }, 60_000);
  });
}
