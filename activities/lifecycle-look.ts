import type { CallContext } from '../core/call';
import { type AgingStore, dangersOf } from '../core/lifecycle/dangers';
import { harmOf } from '../core/lifecycle/foreign-rules';
import { type BackupBucket, type BucketLifecycle, isOurs, type LifecycleRule, sameRule } from '../core/lifecycle/rules';
import { type KindLifecycle, rulesOf, wantedLifecycle } from '../core/lifecycle/wanted';
import type { OpenApplication } from './deps';
import { lookAtRetention } from './retention-look';

export interface RuleChange {
  readonly rule: LifecycleRule;
  readonly change: 'added' | 'changed' | 'removed' | 'unchanged' | 'not ours';
  /** What the bucket has in its place; null where that is nothing, or the same. */
  readonly before: LifecycleRule | null;
}

/** What would become of one bucket's rules, and what speaks against it. */
export interface LifecyclePlan {
  readonly repository: string;
  readonly location: string;
  readonly stores: readonly string[];
  /** Empty where the config has no `lifecycle`. */
  readonly kinds: readonly KindLifecycle[];
  readonly changes: readonly RuleChange[];
  /** Why nothing is applied; empty where everything may be. */
  readonly problems: readonly string[];
}

/** Compares a bucket's rules with those of the config, and both with what is stored and needed. Changes nothing. */
export async function planLifecycle(
  open: OpenApplication,
  bucket: BackupBucket,
  now: number,
  ctx: CallContext,
): Promise<LifecyclePlan> {
  const { repository, location, stores, lifecycle } = bucket;
  const there = await lifecycle.read();
  const changes = changesOf(lifecycle.root, there, wantedRules(open, bucket, there.smallObjectsMove));
  const { kinds, problems } = wantedKinds(open, bucket);
  const others = there.rules.filter((rule) => !isOurs(lifecycle.root, rule));
  const dangers: string[] = [];
  for (const store of problems.length === 0 && kinds.length > 0 ? stores : []) {
    const aging = await agingStore(open, store, now, ctx);
    const { rtoSeconds } = open.application.objectives;
    dangers.push(...dangersOf(aging, kinds, open.retention.policy, { now, rtoSeconds }));
  }
  const harm = others.flatMap((rule) => harmOf(rule, lifecycle.root, kinds));
  return { repository, location, stores, kinds, changes, problems: [...problems, ...dangers, ...harm] };
}

/** Puts the config's rules into the bucket. Repeatable. */
export async function applyLifecycle(open: OpenApplication, bucket: BackupBucket): Promise<void> {
  const { smallObjectsMove } = await bucket.lifecycle.read();
  await bucket.lifecycle.write(wantedRules(open, bucket, smallObjectsMove));
}

function wantedKinds({ lifecycle, retention }: OpenApplication, { storageClass }: BackupBucket) {
  return lifecycle ? wantedLifecycle(lifecycle, retention.policy, storageClass) : { kinds: [], problems: [] };
}

function wantedRules(open: OpenApplication, bucket: BackupBucket, smallObjectsMove: boolean): LifecycleRule[] {
  if (!open.lifecycle) return [];
  return rulesOf(bucket.lifecycle.root, wantedKinds(open, bucket), open.retention, smallObjectsMove);
}

function changesOf(root: string, { rules }: BucketLifecycle, wanted: readonly LifecycleRule[]): RuleChange[] {
  const ours = new Map(rules.filter((rule) => isOurs(root, rule)).map((rule) => [rule.id, rule]));
  const put = wanted.map((rule): RuleChange => {
    const before = ours.get(rule.id) ?? null;
    if (before === null) return { rule, change: 'added', before };
    return sameRule(before, rule) ? { rule, change: 'unchanged', before: null } : { rule, change: 'changed', before };
  });
  const gone = [...ours.values()].filter(({ id }) => !wanted.some((rule) => rule.id === id));
  const others = rules.filter((rule) => !isOurs(root, rule));
  return [
    ...put,
    ...gone.map((rule): RuleChange => ({ rule, change: 'removed', before: null })),
    ...others.map((rule): RuleChange => ({ rule, change: 'not ours', before: null })),
  ];
}

async function agingStore(open: OpenApplication, store: string, now: number, ctx: CallContext): Promise<AgingStore> {
  const engine = open.engine(store);
  const { plan } = await lookAtRetention(open, store, now, ctx);
  const manifests = await open.catalog(store).list(store);
  const { backupMaxAgeSeconds, storeMaxAgeSeconds } = open.application.monitoring;
  return {
    store,
    plan,
    newestMaxAgeSeconds: storeMaxAgeSeconds[store] ?? backupMaxAgeSeconds,
    backups: manifests.map(({ backupId, parent, type, committedAt }) => ({
      backupId,
      parent,
      kind: engine.artifactKind(type),
      committedAt: Date.parse(committedAt),
    })),
  };
}
