import { activityInfo } from '@temporalio/activity';
import type { SiteVerdict } from '../../activities/primary';
import type { SiteAtWork } from '../../activities/site';
import type { EpochRecord } from '../../core/epoch';
import { failure } from '../../core/errors';
import { type FenceEvidence, unprovenStores } from '../../core/fencing';
import type { RunReport } from '../../core/report/run-report';
import { follow } from './follow';
import type { FakeActivities } from './workflow-environment';
import { shop } from './shop-application';

/** A pretended outside world for failovers: it remembers what was asked of it, in order, and can be told what to answer. */
export interface FakeWorld {
  readonly calls: string[];
  readonly activities: FakeActivities;
  epoch: EpochRecord | null;
  verdict: Pick<SiteVerdict, 'alive' | 'healthy'>;
  /** Stores whose standby at the other site does not answer. */
  standbysGone: Set<string>;
  /** The server that the first catch-up fed, where it is gone when one is chosen. */
  caughtUpFirst: string | null;
  /** What a failover would lose of each store. */
  lossSeconds: number;
  /** What still serves at the old site when the fences are set. */
  servedBefore: SiteAtWork;
  siteFence: FenceEvidence['strength'];
  storeFence: FenceEvidence['strength'];
  /** Whether the site's fence shuts a server down cleanly where it is given the time, and says where it ended. */
  shutsDown: boolean;
  /** What a planned hand-over proves by itself. */
  handOverFence: Record<string, FenceEvidence['strength']>;
  /** Why the promotion of events would have to be forced; null while its members elect by themselves. */
  majorityLost: string | null;
  /** Whether the fences have found that out. */
  fencesSeeIt: boolean;
  promoted: Set<string>;
  /** What is not there of the application's files at the new site. */
  filesMissing: readonly string[];
  /** What was stored, oldest first. */
  readonly reports: RunReport[];
  /** Called before each activity of the name; throws to make it fail. */
  before: Partial<Record<string, () => void>>;
}

/** What serves at a site that is well, with as many replicas as somebody has given it; of `cart` there are none. */
const SERVING: SiteAtWork = {
  writableStores: ['orders', 'events', 'sessions'],
  services: [
    { service: 'auth', readyReplicas: 2, desiredReplicas: 2 },
    { service: 'order', readyReplicas: 7, desiredReplicas: 7 },
  ],
  unseenServices: [],
};

/** The one of several servers of orders at a site that a promotion is told to take. */
const CHOSEN = '10.0.2.7:5432';

/** Both sites are well, as a planned role change finds them. */
export function healthyWorld(): FakeWorld {
  return Object.assign(fakeFailoverWorld(), { verdict: { alive: true, healthy: true }, servedBefore: SERVING });
}

export function fakeFailoverWorld(): FakeWorld {
  const at = '2026-01-01T00:00:00.000Z';
  const position = { engine: 'fake', lineage: '1', value: '42' };
  const stores = shop.stores.filter((store) => store.hasReplication).map((store) => store.name);
  const world: FakeWorld = {
    calls: [],
    activities: {},
    epoch: null,
    verdict: { alive: false, healthy: false },
    standbysGone: new Set(),
    caughtUpFirst: null,
    lossSeconds: 2.5,
    servedBefore: { writableStores: [], services: [], unseenServices: [] },
    siteFence: 'proven',
    storeFence: 'none',
    shutsDown: false,
    // As the engines do: PostgreSQL can be asked to take no writes, and a session may change its mind.
    handOverFence: { orders: 'weak', events: 'proven', sessions: 'proven' },
    majorityLost: null,
    fencesSeeIt: true,
    promoted: new Set(),
    filesMissing: [],
    reports: [],
    before: {},
  };
  const note = (name: string, what = '') => {
    world.before[name]?.();
    world.calls.push(what ? `${name}:${what}` : name);
  };
  const evidence = (
    strength: FenceEvidence['strength'],
    covered: string[],
    site: string,
    epoch: number,
  ): FenceEvidence => ({
    strength,
    site,
    stores: strength === 'none' ? [] : covered,
    epoch,
    at,
    how: 'as the test says',
    by: 'fake',
  });
  const mustForce = (store: string) =>
    store === 'events' && world.majorityLost !== null ? { mustForce: world.majorityLost } : {};
  const answer = (server: string, value: string) => ({ server, values: [value], ttlSeconds: 60, problem: null });
  const serviceState = (site: string, service: string, replicas: number) => ({
    ...{ site, service, desiredReplicas: replicas, readyReplicas: replicas, settled: true },
  });
  const activities: FakeActivities = {
    describeApplication: async () => ({
      application: shop,
      activeSite: world.epoch?.activeSite ?? shop.initialSite,
      epoch: world.epoch?.epoch ?? 0,
    }),
    probeSite: async ({ site }) => {
      note('probeSite', site);
      if (site === shop.initialSite)
        return { site, at, ...world.verdict, stores: [], findings: ['orders at primary: does not answer'] };
      const standbys = stores.map((store) => ({ store, reachable: !world.standbysGone.has(store) }));
      return {
        ...{ site, at, alive: false, healthy: false },
        stores: standbys.map((each) => ({ ...each, writable: false, role: 'replica' as const })),
        findings: standbys.map((each) => `${each.store} at ${site}: ${each.reachable ? 'replica' : 'does not answer'}`),
      };
    },
    assessLoss: async () => {
      note('assessLoss');
      // Of the server, which may skip time; this process's clock does not.
      const measuredAt = new Date(activityInfo().currentAttemptScheduledTimestampMs).toISOString();
      return stores.map((store) => ({
        store,
        certainty: 'bound' as const,
        bytes: 1_000,
        operations: 10,
        seconds: world.lossSeconds,
        measuredAt,
        sampleAgeSeconds: 2,
        growth: { bytesPerSecond: 100, operationsPerSecond: 1 },
        basis: 'as the test says',
        ...mustForce(store),
      }));
    },
    takeEpoch: async ({ record }) => {
      note('takeEpoch', record.activeSite);
      if ((world.epoch?.epoch ?? 0) + 1 !== record.epoch) throw failure('StaleEpoch', 'somebody else took the epoch');
      world.epoch = record;
      return record;
    },
    giveBackEpoch: async ({ toSite, reason, workflowId, runId }) => {
      note('giveBackEpoch', toSite);
      if (!world.epoch || world.epoch.activeSite === toSite) return null;
      world.epoch = { ...world.epoch, epoch: world.epoch.epoch + 1, activeSite: toSite, reason, workflowId, runId };
      return world.epoch;
    },
    fenceSite: async ({ site, epoch, scope }) => {
      note('fenceSite', scope ? `${site}/${scope.stores.join()}` : site);
      const seen = evidence(world.siteFence, [...(scope?.stores ?? stores)], site, epoch);
      const ended = (scope?.stores ?? []).map((store) => ({ store, lineage: position.lineage, value: '43' }));
      return world.shutsDown && seen.strength === 'proven' ? { ...seen, ended } : seen;
    },
    confirmEnd: async ({ handOver, end }) => {
      note('confirmEnd', handOver.store);
      return { ...handOver, final: { ...position, value: end.value }, reached: { ...position, value: '44' } };
    },
    measureCatchUp: async () => {
      note('measureCatchUp');
      return stores.map((store) => ({ store, seconds: 0.1 }));
    },
    stopService: async ({ site, service }) => {
      note('stopService', service);
      return serviceState(site, service, 0);
    },
    resizeService: async ({ site, service, replicas, epoch }) => {
      note('resizeService', `${site}/${service} ${replicas}`);
      if (epoch !== (world.epoch?.epoch ?? 0)) throw failure('StaleEpoch', `epoch ${epoch} is over`);
      return serviceState(site, service, replicas);
    },
    handOverStore: async ({ store, fromSite, epoch }) => {
      note('handOverStore', store);
      const strength = world.handOverFence[store] ?? 'none';
      return {
        ...{ store, final: position, reached: position, at, how: 'as the test says' },
        evidence: { ...evidence(strength, [store], fromSite, epoch), stores: [store] },
      };
    },
    followNewPrimary: async ({ store, site, startStandby = false }) => {
      note('followNewPrimary', store);
      const follows = store !== 'orders' || startStandby;
      return { store, site, follows, how: follows ? 'it follows' : 'rebuild it' };
    },
    callHook: async ({ hook, action, from, to, kind }) => {
      note('callHook', `${hook} ${action} (${kind} ${from} to ${to})`);
      return `${hook} is done`;
    },
    catchUpStore: async ({ store }) => {
      note('catchUpStore', store);
      const server = world.caughtUpFirst ?? CHOSEN;
      world.caughtUpFirst = null;
      const reached = { ...position, value: '45' };
      return { store, server, before: position, reached, archived: reached, fed: true, how: 'replayed from 42 to 45' };
    },
    leaveArchive: async ({ store }) => {
      note('leaveArchive', store);
      return false;
    },
    followMembers: async ({ store }) => {
      note('followMembers', store);
      return [{ server: '10.0.2.8:5432', follows: true, how: 'it follows' }];
    },
    unfenceSite: async ({ site }) => {
      note('unfenceSite', site);
      return { started: [`${site}-orders`], notes: ['sessions belongs to systemd, which has to start it'] };
    },
    lookAtWork: async () => world.servedBefore,
    awaitAtWork: async ({ site, before }) => {
      note('awaitAtWork', site);
      return before;
    },
    fenceStore: async ({ store, site, epoch }) => {
      note('fenceStore', store);
      const found = { ...evidence(world.storeFence, [store], site, epoch), stores: [store] };
      return world.fencesSeeIt ? { ...found, ...mustForce(store) } : found;
    },
    holdFence: follow,
    unfenceStore: async ({ store }) => note('unfenceStore', store),
    mayBePromoted: async ({ store }) => world.promoted.has(store),
    chooseServer: async ({ store, atLeast }) => {
      note('chooseServer', atLeast ? `${store} with ${atLeast.value}` : store);
      return { server: CHOSEN, why: `${CHOSEN} has the newest timeline and most of its log` };
    },
    promoteStore: async ({ store, site, evidence: given, epoch, force, server }) => {
      note('promoteStore', force ? `${store} by force of ${force.by}` : store);
      if (server !== (store === 'orders' ? CHOSEN : undefined))
        throw failure('UsageInvalid', `${server} was not chosen`);
      const forced = store === 'events' && world.majorityLost !== null;
      if (forced && !force) throw failure('MajorityLost', world.majorityLost ?? '');
      if (forced && unprovenStores([store], given, { epoch, promotedSite: site }).length > 0)
        throw failure('FencingUnconfirmed', 'its primary is not proven dead');
      const already = world.promoted.has(store);
      world.promoted.add(store);
      const left = { kept: ['dr-1:27017'], removed: ['primary-1:27017', 'witness:27017'] };
      return { site, position, promotedAt: at, already, ...(forced ? { forced: left } : {}) };
    },
    lookAtFiles: async ({ store, site }) => {
      note('lookAtFiles', store);
      return { store, site, problems: [...world.filesMissing] };
    },
    startService: async ({ site, service, replicas, epoch }) => {
      note('startService', site === shop.initialSite ? `${site}/${service} ${replicas}` : service);
      if (epoch !== (world.epoch?.epoch ?? 0)) throw failure('StaleEpoch', `epoch ${epoch} is over`);
      return serviceState(site, service, replicas);
    },
    pointDns: async ({ target }) => {
      note('pointDns', target.name);
      const changedAt = new Date().toISOString();
      const answers = [answer('ns1', '10.0.2.100')];
      return { target, answers, changedAt, previousTtlSeconds: 60, staleUntil: changedAt };
    },
    lookAtDns: async ({ target }) => {
      note('lookAtDns', target.name);
      return { authoritative: [answer('ns1', '10.0.2.100')], resolvers: [] };
    },
    lowerTtl: async ({ target, ttlSeconds, epoch, by }) => {
      note('lowerTtl', `${target.name} ${ttlSeconds} of epoch ${epoch}`);
      const { name, type, ttlSeconds: previousTtlSeconds } = target;
      return { name, type, previousTtlSeconds, ttlSeconds, loweredAt: at, effectiveAt: at, by };
    },
    restoreTtl: async ({ target, epoch }) => {
      note('restoreTtl', `${target.name} of epoch ${epoch}`);
      return null;
    },
    verifyEndpoint: async ({ check }) => {
      note('verifyEndpoint');
      return {
        url: check.url,
        method: check.method,
        ok: true,
        status: 200,
        milliseconds: 5,
        address: '10.0.2.100',
        problem: null,
      };
    },
    probeWrite: async ({ store, site, marker }) => {
      note('probeWrite', store);
      return { site, at, marker, roundTripMilliseconds: 3 };
    },
    notify: async ({ title }) => {
      note('notify', title);
      return [];
    },
    storeReport: async ({ report }) => {
      note('storeReport');
      world.reports.push(report);
      return `reports/${report.id}.json`;
    },
    archiveLog: async ({ site }) => {
      note('archiveLog', site);
      return follow();
    },
    sampleReplication: follow,
    prepareBackup: async () => {
      throw failure('ConfigInvalid', 'no backups in this test');
    },
  };
  Object.assign(world.activities, activities);
  return world;
}
