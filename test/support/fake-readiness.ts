import { check, type KeptReadiness, type ReadinessCheck, type ReadinessState } from '../../core/readiness';
import { shop } from './shop-application';
import type { FakeActivities } from './workflow-environment';

/** A pretended outside world for looks at the readiness of the shop: what is looked at holds until a test says otherwise. */
export interface FakeReadinessWorld {
  readonly activities: FakeActivities;
  /** By the id of the check. */
  readonly states: Map<string, ReadinessState>;
  /** What people were told, as `severity: title`. */
  readonly told: string[];
  kept: KeptReadiness | null;
}

export function fakeReadinessWorld(): FakeReadinessWorld {
  const world: FakeReadinessWorld = { activities: {}, states: new Map(), told: [], kept: null };
  const found = (id: string): ReadinessCheck => {
    const state = world.states.get(id) ?? 'ok';
    return check(id, id, [state, `as the test says: ${state}`, state === 'ok' ? null : 'it would not succeed']);
  };
  const activities: FakeActivities = {
    describeApplication: async () => ({ application: shop, activeSite: 'primary', epoch: 0 }),
    checkStandbys: async () => ['standby:orders', 'loss:orders'].map(found),
    checkTraffic: async () => ['service:auth', 'dns:api.shop.test'].map(found),
    checkControl: async () => ['approvers', 'fence', 'control-repository'].map(found),
    probeSite: async ({ site }) => ({
      ...{ site, at: '2026-01-01T00:00:00.000Z', alive: true, healthy: true },
      ...{ stores: [], findings: [] },
    }),
    measureCatchUp: async () => [{ store: 'orders', seconds: 0.2 }],
    lastReadiness: async () => world.kept,
    keepReadiness: async ({ kept, site }) => {
      world.kept = kept;
      return `readiness/${site}.json`;
    },
    notify: async ({ severity, title }) => {
      world.told.push(`${severity}: ${title}`);
      return [];
    },
  };
  Object.assign(world.activities, activities);
  return world;
}
