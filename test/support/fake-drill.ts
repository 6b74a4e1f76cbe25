import type { HostAndPort } from '../../core/drill';
import { taskQueues } from '../../core/names';
import type { Notification } from '../../core/notify';
import type { RunReport } from '../../core/report/run-report';
import { fakeVerifyWorld } from './fake-verify';
import { shop } from './shop-application';
import type { FakeActivities } from './workflow-environment';

/** A pretended outside world for drills: what is made in it stays there until it is taken away. */
export interface FakeDrillWorld {
  readonly calls: string[];
  readonly reports: RunReport[];
  readonly news: Notification[];
  readonly activities: FakeActivities;
  /** What of the drill is there now: the very thing that the inventory looks at. */
  readonly there: Set<string>;
  /** What can be reached from the bubble besides the copies. */
  readonly open: Set<string>;
  /** The public records, as the zone has them. */
  production: string[];
  /** Called at the begin of each activity of the name, after it has begun to make something. */
  before: Partial<Record<string, () => Promise<void> | void>>;
  p95Milliseconds: number;
  /** Of a killed target, by its name: whether it comes back. */
  readonly dead: Set<string>;
}

export const DRILL_QUEUES = [taskQueues.site(shop.name, 'dr'), taskQueues.host(shop.name, 'dr', 'h1')];

const PRODUCTION = ['10.0.1.10:5432', '10.0.1.100:80'];

export function fakeDrillWorld(now: () => Promise<Date> = async () => new Date()): FakeDrillWorld {
  const verify = fakeVerifyWorld();
  const world: FakeDrillWorld = {
    ...{ calls: verify.calls, reports: [], news: [], there: new Set(), open: new Set(), before: {} },
    ...{ production: ['api.shop.test A: 10.0.1.100'], p95Milliseconds: 40, dead: new Set(), activities: {} },
  };
  const fakes = verify.activities;
  const time = async () => (await now()).toISOString();
  const act = async (name: string, what = '') => {
    world.calls.push(what === '' ? name : `${name}:${what}`);
    await world.before[name]?.();
  };
  const made = async (what: string, name: string, of = '') => {
    world.there.add(what);
    await act(name, of);
  };
  const speed = (url: string) => ({
    ...{ url, requests: 10, failed: 0, problem: null, p50Milliseconds: 20, perSecond: 100 },
    p95Milliseconds: world.p95Milliseconds,
  });
  Object.assign(world.activities, {
    ...fakes,
    readStore: async (input) => {
      await act('readStore', input.store);
      return fakes.readStore!(input);
    },
    requireNoRoleChange: async () => act('requireNoRoleChange'),
    prepareDrill: async () => {
      await act('prepareDrill');
      return { hostQueue: DRILL_QUEUES[1]!, removed: [], production: [...world.production] };
    },
    planRestores: async (input) => {
      const planned = await fakes.planRestores!(input);
      const reached = await time();
      const plans = planned.plans.map((plan) => ({ ...plan, reaches: { ...plan.reaches, time: reached } }));
      return { ...planned, hostQueue: DRILL_QUEUES[1]!, plans };
    },
    chooseInstant: async (input) => {
      await act('chooseInstant', input.stores.join('+'));
      const at = await time();
      const newest = Object.fromEntries(input.stores.map((store) => [store, at]));
      return { ...(await fakes.chooseInstant!(input)), time: at, at, newest };
    },
    rebuildStore: async ({ store }) => {
      await made(`copy of ${store}`, 'rebuildStore', store);
      return [];
    },
    replayLog: async (input) => ({ ...(await fakes.replayLog!(input)), reachedTime: await time() }),
    openStore: async (input) => {
      await act('openStore', input.store);
      const restored = await fakes.openStore!(input);
      const address = input.store === 'assets' ? null : { host: '127.0.0.1', port: 5_000 };
      return { ...restored, address, reachedTime: await time() };
    },
    discardRestore: async ({ store }) => {
      await act('discardRestore', store);
      world.there.delete(`copy of ${store}`);
    },
    pointDrillName: async ({ to }) => {
      await made('name', 'pointDrillName', to);
      return { answers: [{ server: 'ns', values: ['10.0.4.100'], ttlSeconds: 5, problem: null }], seconds: 1.5 };
    },
    withdrawDrillName: async () => {
      await act('withdrawDrillName');
      world.there.delete('name');
    },
    openBubble: async () => made('bubble', 'openBubble'),
    closeBubble: async () => {
      await act('closeBubble');
      for (const each of world.there) if (/^(bubble|service)/.test(each)) world.there.delete(each);
    },
    tryConnections: async ({ copies }) => {
      await act('tryConnections');
      const target = ({ host, port }: HostAndPort) => `${host}:${port}`;
      const attempt = (of: string, connected: boolean) => ({
        target: of,
        connected,
        how: connected ? 'connected' : 'ECONNREFUSED',
      });
      return {
        at: await time(),
        copies: copies.map((each) => attempt(target(each), true)),
        production: PRODUCTION.map((each) => attempt(each, world.open.has(each))),
      };
    },
    startInBubble: async ({ service, replicas }) => {
      await made(`service ${service}`, 'startInBubble', service);
      return { site: 'bubble', service, desiredReplicas: replicas, readyReplicas: replicas, settled: true };
    },
    requestInDrill: async ({ check: { url, method } }) => {
      await act('requestInDrill', url);
      return { url, method, ok: true, status: 200, milliseconds: 12, address: '10.0.4.100', problem: null };
    },
    measureSpeed: async ({ check }) => {
      await act('measureSpeed');
      return speed(check.url);
    },
    earlierSpeeds: async () => [[{ ...speed(shop.endpoints[0]!.url), p95Milliseconds: 50 }]],
    lookAtTarget: async () => ({ healthy: true, words: 'well', role: null, replicas: 1 }),
    killTarget: async ({ target }) => {
      await act('killTarget', target.name);
      return { killed: [`process of ${target.name}`], at: await time() };
    },
    awaitTarget: async ({ target }) => {
      await act('awaitTarget', target.name);
      const healthyAt = world.dead.has(target.name) ? null : await time();
      return { healthyAt, words: healthyAt === null ? 'not reachable' : 'well' };
    },
    takeInventory: async () => {
      await act('takeInventory');
      return { remains: [...world.there], production: [...world.production] };
    },
    storeReport: async ({ report }) => {
      world.reports.push(report);
      return `reports/${report.id}.json`;
    },
    notify: async (news) => {
      world.news.push(news);
      return [];
    },
  } satisfies FakeActivities);
  return world;
}
