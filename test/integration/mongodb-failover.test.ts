import { MongoClient } from 'mongodb';
import type { FenceEvidence, FenceOutlook } from '../../core/fencing';
import { hasCode } from '../../core/errors';
import { testContext } from '../support/engine-harness';
import { type MongodbHarness, startMongodb } from '../support/mongodb-harness';
import { waitUntil } from '../support/servers';

describe('losing the primary site of five members at three sites', () => {
  let harness: MongodbHarness;
  let evidence: FenceEvidence;
  const roles = () => harness.engine.replication!;

  beforeAll(async () => {
    harness = await startMongodb({ members: 5 });
    await harness.client
      .db('shop')
      .collection('orders')
      .insertOne({ n: 1 }, { writeConcern: { w: 'majority' } });
  }, 120_000);
  afterAll(async () => harness?.stop(), 60_000);

  test('while it is healthy, both sides are measured', async () => {
    const sample = await roles().sample('primary', 'dr', testContext());
    expect(sample).toMatchObject({ problem: null });
    expect(sample.primary?.appliedUntil).toMatch(/^20/);
  });

  test('what its fence and a hand-over would lack is found beforehand: a role that was taken from the account', async () => {
    // On a machine that is busy with other tests a member may take longer for an answer than a living one needs.
    const outlook = async (lacks: number) => {
      let seen: FenceOutlook | null = null;
      const holds = async () => {
        seen = await roles().fenceOutlook('primary', 'dr', testContext());
        return seen.strength === 'proven' && seen.lacking.length === lacks;
      };
      await waitUntil(`a proof to come, and ${lacks} rights lacking`, holds, { deadlineMs: 60_000 });
      return seen as FenceOutlook | null;
    };
    expect(await outlook(0)).toMatchObject({ lacking: [], handOverLacks: [] });
    const admin = harness.client.db('admin');
    const change = { roles: [{ role: 'clusterManager', db: 'admin' }], writeConcern: { w: 5, wtimeout: 10_000 } };
    await admin.command({ revokeRolesFromUser: 'drctl', ...change });
    const { lacking, handOverLacks } = (await outlook(2))!;
    expect(lacking).toEqual([
      expect.stringMatching(/drctl lacks replSetStateChange \(role clusterManager/),
      expect.stringMatching(/drctl lacks replSetConfigure/),
    ]);
    expect(handOverLacks).toEqual(lacking);
    await admin.command({ grantRolesToUser: 'drctl', ...change });
    expect(await outlook(0)).toMatchObject({ lacking: [], handOverLacks: [] });
  }, 200_000);

  test('killed, it is fenced by the term of the election elsewhere', async () => {
    await Promise.all(harness.set.members.slice(0, 2).map((member) => member.server.kill('SIGKILL')));
    evidence = await roles().fence('primary', 'dr', 1, testContext());
    expect(evidence).toMatchObject({ strength: 'proven', site: 'primary', stores: ['orders'], epoch: 1 });
    expect(evidence.how).toMatch(/3 of 5 votes outside primary are in term \d+/);
    const sample = await roles().sample('primary', 'dr', testContext());
    expect(sample.primary).toBeNull();
    expect(sample.problem).toMatch(/primary/);
  }, 60_000);

  test('the other site is promoted and serves', async () => {
    const done = await roles().promote({ site: 'dr', epoch: 1, evidence: [evidence] }, testContext());
    expect(done).toMatchObject({ site: 'dr', already: false });
    expect(await roles().writeProbe('dr', 'hello', testContext())).toMatchObject({ site: 'dr' });
    const [item] = (await harness.engine.fingerprint({ site: 'dr' }, testContext())).items;
    expect(item).toMatchObject({ name: 'shop.orders', count: 1 });
  }, 120_000);

  test('when the lost site returns it follows and does not take the role back', async () => {
    await Promise.all(harness.set.members.slice(0, 2).map((member) => member.server.start()));
    await waitUntil(
      'the lost site following',
      async () => (await harness.engine.probe('primary', testContext())).role === 'replica',
    );
    // Its members had the highest priority before: a priority takeover would come within two election timeouts of 2 s.
    const watchedUntil = Date.now() + 6_000;
    await waitUntil('six seconds passing with the primary at dr', async () => {
      const { role } = await harness.engine.probe('primary', testContext());
      if (role === 'primary') throw new Error('the lost site took the role back');
      return Date.now() > watchedUntil;
    });
    expect((await harness.engine.probe('dr', testContext())).role).toBe('primary');
    const direct = new MongoClient(harness.set.url);
    const config = await direct.db('admin').command({ replSetGetConfig: 1 });
    await direct.close();
    expect(config['config'].members.map(({ priority }: { priority: number }) => priority)).toEqual([3, 2, 4, 4, 0]);
  }, 60_000);

  test('the role goes back by another role change', async () => {
    const back: FenceEvidence = { ...evidence, site: 'dr', strength: 'proven', epoch: 2 };
    const fenced = await roles().fence('dr', 'primary', 2, testContext());
    expect(fenced.strength).toBe('proven');
    const done = await roles().promote({ site: 'primary', epoch: 2, evidence: [back] }, testContext());
    expect(done.site).toBe('primary');
    await roles().unfence('dr', 2, testContext());
    // A member that leads again is not frozen: an undo that comes late finds nothing to thaw, and does not fail.
    await roles().unfence('primary', 2, testContext());
  }, 120_000);

  test('without a majority nothing is proven and nothing is promoted', async () => {
    const lost = harness.set.members.filter((_, index) => [0, 1, 4].includes(index));
    await Promise.all(lost.map((member) => member.server.kill('SIGKILL')));
    const found = await roles().fence('primary', 'dr', 3, testContext());
    expect(found.strength).toBe('none');
    expect(found.how).toMatch(/2 of 5 votes/);
    const refused = await roles()
      .promote({ site: 'dr', epoch: 3, evidence: [found] }, testContext())
      .catch((error: unknown) => error);
    expect(hasCode(refused, 'FencingUnconfirmed')).toBe(true);
  }, 120_000);
});
