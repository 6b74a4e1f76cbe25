import { taskQueues } from '../../core/names';
import type { RunReport } from '../../core/report/run-report';
import type { RestorePlan, RestoredStore } from '../../core/recovery';
import { thawPlan } from '../../core/thaw';
import { shop } from './shop-application';
import type { FakeActivities } from './workflow-environment';

/** A pretended outside world for restores, drills and health checks. Reports that are stored go into `reports`. */
export function fakeRestoreActivities(calls: string[], reports: RunReport[] = []): FakeActivities {
  const at = '2026-01-01T00:00:00.000Z';
  const restored: RestoredStore = {
    directory: '/restore/orders',
    state: 'open',
    address: { host: '127.0.0.1', port: 5433 },
    reachedPosition: null,
    reachedTime: at,
    notes: [],
  };
  const note = (name: string, what: string) => void calls.push(`${name}:${what}`);
  return {
    describeApplication: async () => ({ application: shop, activeSite: 'primary', epoch: 0 }),
    planRestores: async ({ stores, target }) => ({
      hostQueue: taskQueues.host(shop.name, 'primary', 'h1'),
      plans: stores.map((store): RestorePlan => {
        note('plan', store);
        return {
          store,
          engine: 'fake',
          target,
          chain: ['20260101T000000Z-full-00000001'],
          lineage: '1',
          log: null,
          reaches: { time: at, position: null, exact: true },
          downloadBytes: 1_000,
          notes: [],
        };
      }),
    }),
    rebuildStore: async ({ store }) => {
      note('rebuild', store);
      return [];
    },
    replayLog: async ({ store }) => {
      note('replay', store);
      return restored;
    },
    openStore: async ({ store }) => {
      note('open', store);
      return restored;
    },
    fingerprintStore: async ({ store }) => {
      note('fingerprint', store);
      return { algorithm: 'fake', items: [{ name: 'orders', count: 1, digest: 'aa' }] };
    },
    chooseInstant: async ({ stores, seed }) => {
      note('choose instant', stores.join('+'));
      const newest = Object.fromEntries(stores.map((store) => [store, at]));
      return { time: at, seed, at, from: [{ from: '2025-12-31T00:00:00.000Z', to: at }], newest };
    },
    readHeartbeat: async ({ store }) => {
      note('heartbeat', store);
      return { at: '2025-12-31T23:59:59.500Z', noted: '2025-12-31T23:59:58.500Z' };
    },
    discardRestore: async ({ store }) => note('discard', store),
    scratchPlace: async ({ store, name }) => ({
      directory: `/scratch/${name}/${store}`,
      host: '127.0.0.1',
      port: 0,
      osUser: null,
      overwrite: false,
    }),
    storeReport: async ({ report }) => {
      reports.push(report);
      return `reports/${report.id}.json`;
    },
    publishHealth: async () => [],
    lastHealth: async () => ({ kept: null, repeatAfterSeconds: 86_400 }),
    keepHealth: async () => 'monitoring/health.json',
    checkStores: async () => ({
      application: shop.name,
      at,
      stores: [
        {
          store: 'orders',
          status: 'healthy',
          reasons: [],
          lastBackupAt: at,
          lastBackupAgeHours: 1,
          rpoSeconds: 2,
          problems: [],
        },
        {
          store: 'events',
          status: 'warning',
          reasons: [
            {
              alert: 'backupDelayed',
              status: 'warning',
              text: 'the newest backup is 26.0 hours old',
              severity: 'warning',
              forSeconds: 0,
            },
          ],
          lastBackupAt: at,
          lastBackupAgeHours: 26,
          rpoSeconds: 2,
          problems: ['events at dr: no answer'],
        },
      ],
    }),
    notify: async ({ title }) => {
      note('notify', title);
      return [];
    },
  };
}

/** The same where all of it lay in an archive class, of which S3 has copies by now. */
export function fakeArchiveRestore(calls: string[]): FakeActivities {
  const fakes = fakeRestoreActivities(calls);
  const amount = { objects: 3, sizeBytes: 3_000 };
  const look = { byClass: { GLACIER: amount }, asked: { objects: 0, sizeBytes: 0 }, readableUntil: null };
  const none = { objects: 0, sizeBytes: 0 };
  return {
    ...fakes,
    planRestores: async (input) => {
      const planned = await fakes.planRestores!(input);
      const thaw = thawPlan({ ...look, readable: none }, { tier: 'standard', days: 7 });
      return { ...planned, plans: planned.plans.map((plan) => ({ ...plan, thaw })) };
    },
    askBack: async () => ({ ...look, readable: amount }),
  };
}
