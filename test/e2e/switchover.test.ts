import Redis from 'ioredis';
import { layout } from '../../core/layout';
import { workflowIds } from '../../core/names';
import type { RoleChangePlan } from '../../core/role-change-plan';
import type { FailOverResult, FailOverStatus } from '../../core/role-change-runs';
import { compareStores } from '../../lab/demo/shop-stores';
import type { SiteName } from '../../lab/sites/address-plan';
import { STORES } from '../../lab/sites/build';
import { REDIS_SECRET } from '../../lab/sites/redis';
import { testContext } from '../support/call-context';
import { carryOut } from '../support/consistency/kills';
import { peopleDecide } from '../support/consistency/people';
import { killedSwitchovers } from '../support/consistency/switchovers';
import { E2eLab, keysOf, waitUntil } from '../support/e2e-lab';
import { countOf, seededRandom } from '../support/random';

jest.setTimeout(300_000);

const RUN = workflowIds.roleChange('ultramarket');

let e2e: E2eLab;

beforeAll(async () => {
  e2e = await E2eLab.up();
  await e2e.ask('schedules', 'apply');
  await e2e.shoppers.start(20);
}, 300_000);

afterAll(() => e2e?.destroy());

// A minute more, because MongoDB's members elect their leader anew twice. What is undone and in which order, and that each
// engine takes writes again, is in test/workflows and test/contract, too.
if (countOf('KILLS', 1) > 1) {
  test('aborted in the middle of its hand-over, everything returns: the same services serve at the same site', async () => {
    await e2e.shoppers.waitForOrders(40, new Date(), 60, 'primary');
    const before = await e2e.supervisor.services('primary');
    await e2e.ask('switchover', 'start', '--to', 'dr', '--reason', 'maintenance', '--detach');
    const asked = async () => (await e2e.status<FailOverStatus>(RUN))?.accepts.includes('approve') ?? false;
    await waitUntil('the question for approval', asked, { deadlineMs: 120_000 });
    expect((await e2e.drctl(['switchover', 'approve', '--by', 'oncall-lead'])).exitCode).toBe(0);
    await e2e.waitForActivity(RUN, 'handOverStore');
    const abort = { by: 'platform-lead', reason: 'the other way round' };
    await e2e.handle(RUN).executeUpdate('abort', { args: [abort] });
    const result = (await e2e.handle(RUN).result()) as FailOverResult;
    expect(result).toMatchObject({ outcome: 'aborted', epoch: 1, toSite: 'dr' });
    expect(await keysOf(e2e.offsite, layout.epochs())).toEqual([layout.epoch(1), layout.epoch(2)]);
    const replicas = (services: typeof before) => services.map(({ name, desiredReplicas }) => [name, desiredReplicas]);
    expect(replicas(await e2e.supervisor.services('primary'))).toEqual(replicas(before));
    expect(await e2e.supervisor.fenceOf('primary')).toBeNull();
    for (const store of [STORES.postgresql, STORES.mongodb, STORES.redis]) {
      // MongoDB elects: the member with the highest priority takes the lead back once it may.
      await waitUntil(
        `${store} led from primary`,
        async () => (await e2e.open.engine(store).probe('primary', testContext())).writable === true,
        { deadlineMs: 60_000, intervalMs: 500 },
      );
    }
    await e2e.shoppers.waitForOrders(40, new Date(), 60, 'primary');
  });
}

test('under load nothing that was acknowledged is lost, and the old primaries follow or are fenced', async () => {
  const since = new Date();
  const { plan } = await e2e.ask<{ plan: RoleChangePlan }>('plan', 'switchover');
  await e2e.shoppers.waitForOrders(40, since, 60, 'primary');
  const result = await e2e.ask<FailOverResult>(
    ...['switchover', 'start', '--to', 'dr', '--reason', 'maintenance', '--yes', '--by', 'oncall-lead'],
  );
  process.stderr.write(`switchover: ${result.switchover?.outageSeconds?.toFixed(1)} s without service\n`);
  expect(result).toMatchObject({ outcome: 'completed', approvedBy: 'oncall-lead', epoch: plan.nextEpoch });
  const ids = (steps: readonly { readonly id: string }[]) =>
    steps.map(({ id }) => id).filter((id) => !/^notify/.test(id));
  expect(ids(result.steps)).toEqual(ids(plan.groups.flatMap(({ steps }) => steps)));
  await e2e.shoppers.waitForOrders(40, new Date(), 60, 'dr');
  await e2e.shoppers.stop();
  await nothingIsLost(since, 'dr');

  const { following = [], handOvers = [] } = result.switchover ?? {};
  expect(handOvers.map(({ store }) => store).toSorted()).toEqual(
    [STORES.postgresql, STORES.mongodb, STORES.redis].toSorted(),
  );
  expect(Object.fromEntries(following.map(({ store, follows }) => [store, follows]))).toEqual({
    [STORES.postgresql]: true,
    [STORES.mongodb]: true,
    [STORES.redis]: true,
  });
  expect(handOvers.find(({ store }) => store === STORES.postgresql)?.how).toMatch(
    /shut down cleanly at .*replayed past/,
  );
  expect(await e2e.supervisor.fenceOf('primary')).toBeNull();
  expect(await roleOfRedis('primary')).toMatch(/role:slave[^]*master_link_status:up/);
  expect(await roleOfRedis('dr')).toMatch(/role:master/);
});

if (countOf('KILLS', 1) > 1) {
  test('and back: the first site takes over again, and every store of the second follows', async () => {
    const back = ['switchover', 'start', '--to', 'primary', '--reason', 'back home', '--yes', '--by', 'oncall-lead'];
    const { outcome, switchover } = await e2e.ask<FailOverResult>(...back);
    expect(outcome).toBe('completed');
    expect(switchover?.following.map(({ follows }) => follows)).toEqual([true, true, true]);
    expect(await e2e.supervisor.fenceOf('dr')).toBeNull();
  });
}

if (countOf('KILLS', 1) > 1) {
  // Past its time limit a switchover returns: both are an end, and a run that is neither there nor asks fails the round.
  test.each(killedSwitchovers(seededRandom('switchover')))(
    'killed at steps of it, round $round: it arrives or returns, and nothing is lost',
    async ({ round, kills }) => {
      const say = (line: string) => process.stderr.write(`switchover, round ${round}: ${line}\n`);
      const from = ((await e2e.open.epochs.current())?.activeSite ?? 'primary') as SiteName;
      const to = from === 'primary' ? 'dr' : 'primary';
      const since = new Date();
      await e2e.shoppers.start(20);
      await e2e.shoppers.waitForOrders(40, since, 60, from);
      await e2e.ask('switchover', 'start', '--to', to, '--reason', `round ${round}`, '--detach');
      const { runId } = await e2e.handle(RUN).describe();
      const over = new AbortController();
      const [{ status, questions }] = await Promise.all([
        peopleDecide(e2e, runId, RUN, async (question) => {
          say(`a person is asked: ${question}`);
          await e2e.drctl(['switchover', 'retry', '--by', 'oncall-lead']);
        }).finally(() => over.abort()),
        carryOut(e2e, { workflowId: RUN, kills, site: to }, over.signal, say),
      ]);
      say(`${status.outcome}, after ${questions.length} questions`);
      expect(['completed', 'rolled back']).toContain(status.outcome);
      const leads = status.outcome === 'completed' ? to : from;
      expect((await e2e.open.epochs.current())?.activeSite ?? 'primary').toBe(leads);
      await e2e.shoppers.waitForOrders(40, new Date(), 120, leads);
      await e2e.shoppers.stop();
      await nothingIsLost(since, leads);
      for (const store of [STORES.postgresql, STORES.mongodb, STORES.redis]) {
        const other = leads === 'primary' ? 'dr' : 'primary';
        await waitUntil(
          `a standby of ${store} at ${other}`,
          async () => (await e2e.open.engine(store).probe(other, testContext())).role === 'replica',
          { deadlineMs: 120_000, intervalMs: 500 },
        );
      }
    },
    900_000,
  );
}

/** Every order that was acknowledged since then is where users are served now, as it was acknowledged. */
async function nothingIsLost(since: Date, site: SiteName): Promise<void> {
  const journal = await e2e.shoppers.journal();
  const now = new Date();
  const { orders, events } = await compareStores(e2e.access, { site }, journal, now, { sentSince: since });
  expect({ orders: orders.missing, events: events.missing }).toEqual({ orders: [], events: [] });
  expect({ orders: orders.altered, events: events.altered }).toEqual({ orders: [], events: [] });
  expect(orders.confirmed).toBeGreaterThanOrEqual(80);
}

async function roleOfRedis(site: 'primary' | 'dr'): Promise<string> {
  const client = new Redis({
    ...e2e.access.plan.sites[site].redis,
    password: e2e.access.secrets.password(REDIS_SECRET),
    retryStrategy: () => null,
  });
  try {
    return await client.info('replication');
  } finally {
    client.disconnect();
  }
}
