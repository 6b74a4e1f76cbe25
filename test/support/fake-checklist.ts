import type { ChecklistItem, ChecklistPlan } from '../../core/checklist';
import type { StoreProofs } from '../../core/checklist-judgements';
import type { Notification } from '../../core/notify';
import type { RunReport } from '../../core/report/run-report';
import type { StoreHealth } from '../../core/runs';
import { type FakeReadinessWorld, fakeReadinessWorld } from './fake-readiness';
import { shop } from './shop-application';

/** A pretended outside world for the checklists of the shop: everything is well until a test says otherwise. */
export interface FakeChecklistWorld extends FakeReadinessWorld {
  plan: ChecklistPlan;
  /** Health by store. */
  readonly sick: Map<string, string>;
  readonly news: Notification[];
  readonly reports: RunReport[];
  /** How often stores were judged. */
  looks: number;
}

export const checkedItem = (id: string, check: ChecklistItem['check'], sign = false): ChecklistItem => ({
  ...{ id, title: `Title of ${id}`, what: `what ${id} is`, check, sign },
});

export function fakeChecklistWorld(items: readonly ChecklistItem[]): FakeChecklistWorld {
  const readiness = fakeReadinessWorld();
  const world: FakeChecklistWorld = Object.assign(readiness, {
    plan: {
      period: 'weekly' as const,
      items,
      ...{ remindSeconds: 86_400, escalateSeconds: 4 * 86_400, dueSeconds: 6 * 86_400 },
      signers: [],
    },
    sick: new Map<string, string>(),
    news: [],
    reports: [],
    looks: 0,
  });
  Object.assign(world.activities, {
    describeChecklist: async () => world.plan,
    checkStores: async () => {
      world.looks += 1;
      return {
        application: shop.name,
        at: new Date().toISOString(),
        stores: shop.stores.map(({ name }) => health(name)),
      };
    },
    newestProofs: async (): Promise<StoreProofs[]> => [{ store: 'orders', newest: [], restore: null }],
    newestReport: async () => null,
    measureStored: async () => [],
    notify: async (news: Notification) => {
      world.news.push(news);
      return [];
    },
    storeReport: async ({ report }: { report: RunReport }) => {
      world.reports.push(report);
      return `reports/${report.id}.json`;
    },
  });
  const health = (store: string): StoreHealth => ({
    store,
    status: world.sick.has(store) ? 'warning' : 'healthy',
    reasons: [...(world.sick.get(store) ?? '').matchAll(/.+/g)].map(([text]) => ({
      ...{ alert: 'backupDelayed' as const, status: 'warning' as const, text },
      ...{ severity: 'warning' as const, forSeconds: 0 },
    })),
    ...{ lastBackupAt: null, lastBackupAgeHours: 3, rpoSeconds: 1, problems: [] },
  });
  return world;
}
