import Redis from 'ioredis';
import { layout } from '../../core/layout';
import { workflowIds } from '../../core/names';
import type { ReadinessResult } from '../../core/readiness';
import type { RoleChangePlan } from '../../core/role-change-plan';
import type { FailOverResult, FailOverStatus } from '../../core/role-change-runs';
import { compareStores } from '../../lab/demo/shop-stores';
import { descendants } from '../../lab/servers/process-tree';
import type { SiteName } from '../../lab/sites/address-plan';
import { STORES } from '../../lab/sites/build';
import { REDIS_SECRET } from '../../lab/sites/redis';
import { testContext } from '../support/call-context';
import { carryOut } from '../support/consistency/kills';
import { peopleDecide } from '../support/consistency/people';
import { killedSwitchovers } from '../support/consistency/switchovers';
import { E2eLab, keysOf, waitUntil } from '../support/e2e-lab';
import { hasKubernetes, kubernetesSuite } from '../support/kubernetes-suite';
import { countOf, seededRandom } from '../support/random';

jest.setTimeout(300_000);

const RUN = workflowIds.roleChange('ultramarket');

let e2e: E2eLab;

// Its services run in a cluster of each site, which is built once from source; the other labs' are processes.
beforeAll(async () => {
  e2e = await E2eLab.up({ kubernetes: hasKubernetes });
  await e2e.ask('schedules', 'apply');
  await e2e.shoppers.start(20);
}, 30 * 60_000);

afterAll(() => e2e?.destroy());

kubernetesSuite('services as Deployments of a cluster at each site', () => {
  test('pods are processes that serve; one that dies is started again', async () => {
    await e2e.shoppers.waitForOrders(20, new Date(), 60, 'primary');
    expect(await counts('primary')).toEqual(everyService(1));
    const [victim] = await replicasAt('primary');
    process.kill(victim!, 'SIGKILL');
    await waitUntil('another process in its place', async () => {
      const now = await replicasAt('primary');
      return now.length === 6 && !now.includes(victim!);
    });
    await waitUntil('all of them ready', async () => String(await counts('primary')) === String(everyService(1)), {
      deadlineMs: 60_000,
    });
  });

  test('readiness sees the Deployments of the other site, and room on its node', async () => {
    const looked = async () => {
      // A lab without backups is not ready as a whole.
      const { out } = await e2e.drctl(['plan', 'failover', '--dry-run', '--output', 'json']);
      const { readiness } = JSON.parse(out) as { readiness: ReadinessResult };
      return readiness.checks.filter(({ id }) => /^(capacity$|service:)/.test(id));
    };
    let about: ReadinessResult['checks'] = [];
    // On a machine that is busy with other tests an API server may take longer for an answer than a living one needs.
    await waitUntil(
      'an answer about every service',
      async () => (about = await looked()).every(({ state }) => state !== 'unknown'),
      { deadlineMs: 120_000 },
    );
    expect(about.filter(({ state }) => state !== 'ok')).toEqual([]);
    expect(about).toHaveLength(7);
  });
});

// A minute more, because MongoDB's members elect their leader anew twice. What is undone and in which order, and that each
// engine takes writes again, is in test/workflows and test/contract, too.
if (countOf('KILLS', 1) > 1) {
  test('aborted in the middle of its hand-over, everything returns: the same services serve at the same site', async () => {
    await e2e.shoppers.waitForOrders(40, new Date(), 60, 'primary');
    const before = await counts('primary');
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
    expect(await counts('primary')).toEqual(before);
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
  expect([await counts('primary'), await counts('dr')]).toEqual([everyService(0), everyService(1)]);
  expect([await replicasAt('primary'), (await replicasAt('dr')).length]).toEqual([[], 6]);

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

kubernetesSuite('after a switchover between clusters', () => {
  test('a site that is lost with its cluster is taken over from; when it is back its node runs no pod', async () => {
    const lost = ((await e2e.open.epochs.current())?.activeSite ?? 'primary') as SiteName;
    const to = lost === 'primary' ? 'dr' : 'primary';
    await e2e.supervisor.killSite(lost);
    expect(await counts(lost)).toEqual([]);
    const result = await e2e.ask<FailOverResult>(
      ...['failover', 'start', '--to', to, '--reason', `${lost} is dead`, '--yes', '--by', 'oncall-lead'],
    );
    expect(result).toMatchObject({ outcome: 'completed', toSite: to });
    expect(await counts(to)).toEqual(everyService(1));
    expect((await fetch(`${e2e.lab.sites[to].gateway}/health`)).status).toBe(200);
    await e2e.supervisor.startSite(lost);
    await waitUntil('the lost cluster answering', async () => (await counts(lost)).length === 6, {
      deadlineMs: 90_000,
    });
    // Its Deployments still want them: it is the fence that holds the node.
    expect((await counts(lost)).map(([desired]) => desired)).toEqual([1, 1, 1, 1, 1, 1]);
    expect((await e2e.program(`node-${lost}`)).state).toBe('fenced');
    expect((await fetch(`${e2e.lab.sites[lost].gateway}/health`)).status).toBe(503);
  });
});

/** [desired, ready] of each service at a site; none where its cluster is down. */
async function counts(site: SiteName): Promise<number[][]> {
  const services = (await e2e.services())[site] ?? [];
  return services.map(({ desiredReplicas, readyReplicas }) => [desiredReplicas, readyReplicas]);
}

function everyService(replicas: number): number[][] {
  return Array.from({ length: 6 }, () => [replicas, replicas]);
}

/** The pids of the services' processes at a site, as the kernel has them below the site's node, or as the supervisor has them. */
async function replicasAt(site: SiteName): Promise<number[]> {
  const programs = (await e2e.supervisor.processes()).filter((each) => each.site === site && each.pid !== null);
  const node = programs.find(({ kind }) => kind === 'node')?.pid;
  if (node) return descendants(node).flatMap(({ pid }) => (pid === node ? [] : [pid]));
  return programs.flatMap(({ kind, pid }) => (kind === 'service' && pid ? [pid] : []));
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
