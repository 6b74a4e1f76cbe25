import type { LifecycleSettings } from '../core/lifecycle/rules';
import type { ThawSettings } from '../core/thaw';
import type { Config } from './schema';

const DAY_SECONDS = 86_400;

/** Null where the config has none: then drctl keeps no rules in the bucket. S3 counts whole days. */
export function toLifecycle({ lifecycle }: Pick<Config, 'lifecycle'>): LifecycleSettings | null {
  if (!lifecycle) return null;
  const { transitions, expireAfter } = lifecycle;
  return {
    transitions: transitions.map(({ after, storageClass }) => ({
      afterDays: Math.ceil((after.seconds ?? 0) / DAY_SECONDS),
      storageClass,
    })),
    expireAfterDays: expireAfter.seconds === null ? null : Math.ceil(expireAfter.seconds / DAY_SECONDS),
  };
}

export function toThaw({ restore: { thaw } }: Pick<Config, 'restore'>): ThawSettings {
  return { tier: thaw.tier, days: Math.max(1, Math.ceil(thaw.keep.seconds / DAY_SECONDS)) };
}
