import type { ReadinessResult } from '../../core/readiness';
import type { FailOverResult } from '../../core/role-change-runs';
import { compareStores } from '../../lab/demo/shop-stores';
import { descendants } from '../../lab/servers/process-tree';
import type { SiteName } from '../../lab/sites/address-plan';
import { E2eLab, waitUntil } from '../support/e2e-lab';
import { kubernetesSuite } from '../support/kubernetes-suite';

jest.setTimeout(300_000);

/** Stands for a site whose six services each have one replica, or none. */
const all = (replicas: number) => Array.from({ length: 6 }, () => [replicas, replicas]);

let e2e: E2eLab;

kubernetesSuite('services as Deployments of a cluster at each site', () => {
  beforeAll(async () => {
    e2e = await E2eLab.up({ kubernetes: true });
    await e2e.ask('schedules', 'apply');
    await e2e.shoppers.start(20);
  }, 30 * 60_000);

  afterAll(() => e2e?.destroy());

  test('pods are processes that serve; one that dies is started again', async () => {
    await e2e.shoppers.waitForOrders(20, new Date(), 60, 'primary');
    expect(await counts('primary')).toEqual(all(1));
    const [victim] = await podsOf('primary');
    process.kill(victim!, 'SIGKILL');
    await waitUntil('another process in its place', async () => {
      const now = await podsOf('primary');
      return now.length === 6 && !now.includes(victim!);
    });
    await waitUntil('all of them ready', async () => same(await counts('primary'), all(1)), { deadlineMs: 60_000 });
  });

  test('readiness sees the Deployments of the other site, and room on its node', async () => {
    // A lab without backups is not ready as a whole.
    const { out } = await e2e.drctl(['plan', 'failover', '--dry-run', '--output', 'json']);
    const { readiness } = JSON.parse(out) as { readiness: ReadinessResult };
    const about = readiness.checks.filter(({ id }) => /^(capacity$|service:)/.test(id));
    expect(about.filter(({ state }) => state !== 'ok')).toEqual([]);
    expect(about).toHaveLength(7);
  });

  test('a switchover has no pod left at one site before it hands over, and its pods serve at the other', async () => {
    const since = new Date();
    await e2e.shoppers.waitForOrders(40, since, 60, 'primary');
    const result = await e2e.ask<FailOverResult>(
      ...['switchover', 'start', '--to', 'dr', '--reason', 'maintenance', '--yes', '--by', 'oncall-lead'],
    );
    expect(result).toMatchObject({ outcome: 'completed', epoch: 1 });
    expect([await counts('primary'), await counts('dr')]).toEqual([all(0), all(1)]);
    expect([await podsOf('primary'), (await podsOf('dr')).length]).toEqual([[], 6]);
    await e2e.shoppers.waitForOrders(40, new Date(), 60, 'dr');
    await nothingIsLost(since, 'dr');
  });

  test('a site that is lost with its cluster is taken over from; when it is back its node runs no pod', async () => {
    await e2e.supervisor.killSite('dr');
    expect(await e2e.services()).toMatchObject({ dr: [] });
    const result = await e2e.ask<FailOverResult>(
      ...['failover', 'start', '--to', 'primary', '--reason', 'dr is dead', '--yes', '--by', 'oncall-lead'],
    );
    expect(result).toMatchObject({ outcome: 'completed', epoch: 2 });
    expect(await counts('primary')).toEqual(all(1));
    await e2e.shoppers.waitForOrders(40, new Date(), 60, 'primary');
    await e2e.supervisor.startSite('dr');
    await waitUntil('the cluster of dr answering', async () => (await counts('dr')).length === 6, {
      deadlineMs: 90_000,
    });
    // Its Deployments still want them: it is the fence that holds the node.
    expect((await counts('dr')).map(([desired]) => desired)).toEqual([1, 1, 1, 1, 1, 1]);
    expect((await e2e.program('node-dr')).state).toBe('fenced');
    expect((await fetch(`${e2e.lab.sites.dr.gateway}/health`)).status).toBe(503);
  });
});

/** What the cluster says: [desired, ready] of each service. */
async function counts(site: SiteName): Promise<number[][]> {
  const services = (await e2e.services())[site] ?? [];
  return services.map(({ desiredReplicas, readyReplicas }) => [desiredReplicas, readyReplicas]);
}

/** What the kernel says: the processes below the site's node. */
async function podsOf(site: SiteName): Promise<number[]> {
  const { pid } = await e2e.program(`node-${site}`);
  return pid === null ? [] : descendants(pid).flatMap((each) => (each.pid === pid ? [] : [each.pid]));
}

async function nothingIsLost(since: Date, site: SiteName): Promise<void> {
  const journal = await e2e.shoppers.journal();
  const { orders, events } = await compareStores(e2e.access, { site }, journal, new Date(), { sentSince: since });
  expect({ orders: orders.missing, events: events.missing }).toEqual({ orders: [], events: [] });
}

const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);
