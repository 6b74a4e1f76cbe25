import { failure } from '../../core/errors';
import { NOTHING } from '../../core/retention/runs';
import type { FakeActivities } from './workflow-environment';

export interface FakeRetention {
  readonly calls: string[];
  readonly told: string[];
  readonly activities: FakeActivities;
}

/** Stores that have ten old backups each; `refused` ones have more than a run may delete. */
export function fakeRetentionWorld(world: {
  readonly refused: readonly string[];
  readonly graceSeconds: number;
  readonly now?: () => Promise<number>;
}): FakeRetention {
  const calls: string[] = [];
  const told: string[] = [];
  const amounts = { ...NOTHING, backups: { objects: 10, sizeBytes: 10_240 } };
  return {
    calls,
    told,
    activities: {
      async markExpired({ store, graceSeconds }) {
        calls.push(`mark:${store}`);
        if (world.refused.includes(store))
          throw failure('DeletionRefused', `retention of ${store} would delete 10 of 12`);
        const now = (await world.now?.()) ?? Date.now();
        const sweepAt = new Date(now + (graceSeconds ?? world.graceSeconds) * 1_000).toISOString();
        return { store, ...amounts, sweepAt, problems: store === 'orders' ? ['an old one is damaged'] : [] };
      },
      async sweepExpired({ store }) {
        calls.push(`sweep:${store}`);
        return { store, ...amounts, newest: '20261122T020000Z-full-1a2b3c4d' };
      },
      async unmarkExpired({ store }) {
        calls.push(`unmark:${store}`);
      },
      async notify({ title }) {
        told.push(title);
        return [];
      },
    },
  };
}
