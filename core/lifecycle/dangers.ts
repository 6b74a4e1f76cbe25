import type { ArtifactKind } from '../catalog';
import { formatDuration } from '../clock';
import { beganAt } from '../layout';
import type { StorePlan } from '../retention/plan-store';
import { keptSeconds, kindOf, type RetentionPolicy } from '../retention/policy';
import { expectedSeconds } from '../thaw';
import { isFrozenClass } from '../storage-classes';
import { BEHIND_RETENTION_DAYS, type KindLifecycle } from './wanted';

/** A backup as the rules would meet it. Times in milliseconds. */
export interface AgingBackup {
  readonly backupId: string;
  readonly kind: ArtifactKind;
  readonly parent: string | null;
  readonly committedAt: number;
}

export interface AgingStore {
  readonly store: string;
  readonly backups: readonly AgingBackup[];
  /** What retention makes of them. */
  readonly plan: Pick<StorePlan, 'backups' | 'newest'>;
  /** The newest backup may get so old before people are told. */
  readonly newestMaxAgeSeconds: number;
}

const DAY = 86_400_000;
/** A store may have thousands of backups that meet the same end: some of them say enough. */
const NAMED = 3;

/**
 * What the rules would do to backups that are there and needed: delete one on which another builds, that is held or the
 * newest of its store, or move to an archive class what is promised to be readable at once. Each as a sentence.
 */
export function dangersOf(
  store: AgingStore,
  kinds: readonly KindLifecycle[],
  policy: RetentionPolicy,
  { now, rtoSeconds }: { readonly now: number; readonly rtoSeconds: number },
): string[] {
  const byKind = new Map(kinds.map((each) => [each.kind, each]));
  const kept = new Set(store.plan.backups.flatMap(({ backupId, keptFor }) => (keptFor.length > 0 ? [backupId] : [])));
  const alive = store.backups.filter(({ backupId }) => kept.has(backupId));
  const needed = throughChains(alive, (each) => neededUntil(each, store, policy, now));
  const atOnce = throughChains(alive, (each) => atOnceUntil(each, store, policy, now));
  const torn: string[] = [];
  const frozen: string[] = [];
  for (const each of alive) {
    const rules = byKind.get(each.kind);
    const expireDays = rules?.expireDays ?? null;
    const bornAt = beganAt(each.backupId);
    const until = needed.get(each.backupId) as Need;
    if (expireDays !== null && bornAt + expireDays * DAY < until.at) {
      torn.push(
        `${each.backupId} of ${store.store} would be deleted on ${day(bornAt + expireDays * DAY)}, and ${because(until, each.backupId)}`,
      );
    }
    const freeze = rules?.moves.find(({ storageClass }) => isFrozenClass(storageClass));
    const promised = atOnce.get(each.backupId) as Need;
    if (freeze && bornAt + freeze.days * DAY < promised.at) {
      const wait = formatDuration(expectedSeconds([freeze.storageClass], 'standard') * 1_000);
      frozen.push(
        `${each.backupId} of ${store.store} moves to ${freeze.storageClass} on ${day(bornAt + freeze.days * DAY)}, and ${because(promised, each.backupId)}: a restore would wait up to ${wait} for it (RTO ${formatDuration(rtoSeconds * 1_000)})`,
      );
    }
  }
  return [...some(torn), ...some(frozen)];
}

interface Need {
  readonly at: number;
  /** The backup that has the reason. */
  readonly of: string;
  /** What is said of it: `is on hold`. */
  readonly why: string;
}

const because = ({ of, why }: Need, backupId: string) =>
  of === backupId ? `it ${why}` : `${of}, which builds on it, ${why}`;

const day = (milliseconds: number) => new Date(milliseconds).toISOString().slice(0, 10);

function some(sentences: readonly string[]): string[] {
  const more = sentences.length - NAMED;
  return more > 0 ? [...sentences.slice(0, NAMED), `and ${more} more backups`] : [...sentences];
}

const ENDLESS: Readonly<Record<string, string>> = {
  hold: 'is on hold',
  newest: 'is the newest that can be restored',
  'in use': 'is read by a run',
  'log window': 'is where replay of the log begins',
};

function neededUntil(backup: AgingBackup, { plan }: AgingStore, policy: RetentionPolicy, now: number): Need {
  const seconds = keptSeconds(policy, kindOf(backup.kind));
  const own: Need = {
    at: seconds === null ? Infinity : backup.committedAt + seconds * 1_000,
    of: backup.backupId,
    why: `is kept ${seconds === null ? 'for ever' : `until ${day(backup.committedAt + seconds * 1_000)}`}`,
  };
  const reasons = plan.backups.find(({ backupId }) => backupId === backup.backupId)?.keptFor ?? [];
  // Nobody knows until when: what S3 would delete within a month is too near.
  const soon = now + BEHIND_RETENTION_DAYS * DAY;
  const endless = reasons.map(({ why }) => ENDLESS[why]).find((each) => each !== undefined);
  return endless !== undefined && soon > own.at ? { ...own, at: soon, why: endless } : own;
}

function atOnceUntil(backup: AgingBackup, store: AgingStore, policy: RetentionPolicy, now: number): Need {
  const { cloud } = policy[kindOf(backup.kind)];
  const promised: Need = {
    at: cloud === null ? Infinity : backup.committedAt + cloud * 1_000,
    of: backup.backupId,
    why: `is promised at once ${cloud === null ? 'for ever' : `until ${day(backup.committedAt + cloud * 1_000)}`} (\`cloud\`)`,
  };
  if (backup.backupId !== store.plan.newest) return promised;
  const newest = {
    ...promised,
    at: now + store.newestMaxAgeSeconds * 1_000,
    why: 'may be the newest of its store then',
  };
  return newest.at > promised.at ? newest : promised;
}

/** What a backup needs, all that it builds on needs as well. Children are newer than their parents, and ids sort by time. */
function throughChains(backups: readonly AgingBackup[], own: (backup: AgingBackup) => Need): Map<string, Need> {
  const needs = new Map(backups.map((each) => [each.backupId, own(each)]));
  for (const { backupId, parent } of backups.toSorted((a, b) => (a.backupId < b.backupId ? 1 : -1))) {
    const child = needs.get(backupId) as Need;
    const ofParent = parent === null ? undefined : needs.get(parent);
    if (parent !== null && ofParent && child.at > ofParent.at) needs.set(parent, child);
  }
  return needs;
}
