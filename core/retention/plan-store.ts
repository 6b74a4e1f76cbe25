import { type BackupDecision, isDeletable, type KeptFor, type NeededLog } from './decisions';
import { isLogWhole, type LogState, type ReplayBase, windowNeeds } from './log-needs';
import type { LogSpan } from './log-reach';
import { type LogKeeping, LogPlan } from './log-plan';
import type { LogStretch } from './log-stretches';
import type { Position } from '../positions';
import { keptSeconds, type RetentionKind, type RetentionPolicy } from './policy';
import type { Hold, Use } from './records';
import { keepBehindUnreadable, unreadableSince } from './unreadable';

/** What a plan has to know of a backup. Times in milliseconds. */
export interface BackupFacts {
  readonly backupId: string;
  readonly kind: RetentionKind;
  readonly parent: string | null;
  readonly consistentAt: number;
  readonly committedAt: number;
  readonly storedBytes: number;
  /** See `LogReach.needs`. */
  readonly log: LogSpan | null;
  /** Why it cannot be restored, as far as that was seen from outside; null where nothing was. */
  readonly damage: string | null;
  /** Nothing but its id is known: not even what it builds on. */
  readonly isUnreadable?: boolean;
}

export interface StoreState {
  readonly store: string;
  readonly now: number;
  readonly policy: RetentionPolicy;
  /** In any order; each id once. */
  readonly backups: readonly BackupFacts[];
  /** Null for stores without a log. */
  readonly log: LogState | null;
  readonly holds: readonly Hold[];
  readonly uses: readonly Use[];
}

export interface StorePlan {
  readonly store: string;
  /** Oldest first. */
  readonly backups: readonly BackupDecision[];
  readonly log: LogPlan | null;
  /** The backup that stays whatever else is decided; null where none can be restored, and then everything stays. */
  readonly newest: string | null;
  /** What a person should see to. */
  readonly problems: readonly string[];
}

/** The source's clock and the repository's may differ by this much; what is kept for it is gone a run later. */
const CLOCK_SLACK_MILLISECONDS = 10 * 60_000;
/** A backup that runs reads log from before it began: a standby's last checkpoint is at most `checkpoint_timeout`, a day, old. */
const BEFORE_A_BACKUP_MILLISECONDS = 24 * 3_600_000;

/**
 * Decides for every object of a store what it is kept for, or since when nothing needs it. Deletion is reachability (DESIGN
 * rule 6): a backup is deletable when its own time is over, nobody holds or reads it, nothing that is kept builds on it or is
 * replayed on it, and it is not the newest that can be restored. Every backup that is kept stays restorable, every instant of
 * the time that the log is kept for can be reached as before.
 */
export function planStore(state: StoreState): StorePlan {
  const { store, now, policy, log } = state;
  const backups = state.backups.toSorted((a, b) => (a.backupId < b.backupId ? -1 : 1));
  const chains = new Chains(backups);
  const restorable = backups.filter((each) => chains.isWhole(each) && (!log || !each.log || isLogWhole(each.log, log)));
  const newest = restorable.reduce<BackupFacts | null>(
    (best, each) => (best && best.consistentAt > each.consistentAt ? best : each),
    null,
  );
  if (!newest) return everythingStays(store, backups, log);

  const kept = new Map(backups.map((each) => [each.backupId, reasonsOfItsOwn(each, state, newest)]));
  const logSeconds = keptSeconds(policy, 'transactionLogs');
  const windowStart = logSeconds === null ? -Infinity : now - logSeconds * 1_000;
  const isBase = (each: BackupFacts) => each.parent === null && each.log !== null;
  const bases = restorable.flatMap((each): ReplayBase[] => (each.log ? [{ ...each, log: each.log }] : []));
  // A full within the window is where the log will begin when the window has moved on.
  if (log)
    for (const each of restorable) if (isBase(each) && each.consistentAt > windowStart) add(kept, each, LOG_WINDOW);
  keepBehindUnreadable(backups, kept);
  keepParents(backups, kept);
  // An increment that has no other reason to stay would keep its chain, too.
  const fulls = new Set(backups.filter(isBase).map(({ backupId }) => backupId));
  const isPreferred = ({ backupId }: ReplayBase) => fulls.has(backupId) || (kept.get(backupId)?.length ?? 0) > 0;
  const times = {
    start: windowStart,
    storedAfter: windowStart - CLOCK_SLACK_MILLISECONDS,
    newestBackupAt: newest.consistentAt - CLOCK_SLACK_MILLISECONDS,
  };
  const window = log ? windowNeeds(log, bases, isPreferred, times) : { ranges: [], anchors: [], unknown: [] };
  for (const id of window.anchors) if (!kept.get(id)?.includes(LOG_WINDOW)) kept.get(id)?.push(LOG_WINDOW);
  keepParents(backups, kept);

  const unreadable = unreadableSince(backups, kept) - BEFORE_A_BACKUP_MILLISECONDS;
  const keeping = logKeeping(state, Math.min(windowStart, unreadable), window.unknown);
  const own = backups.flatMap((each): NeededLog[] =>
    each.log && kept.get(each.backupId)?.length
      ? [{ ...each.log, for: { why: 'backup', backupId: each.backupId } }]
      : [],
  );
  return {
    store,
    backups: decided(backups, kept, policy, bases),
    log: log && new LogPlan([...own, ...window.ranges], log.compare, keeping),
    newest: newest.backupId,
    problems: [...problemsOf(backups, chains), ...window.unknown.map(unknownParent)],
  };
}

const LOG_WINDOW: KeptFor = { why: 'log window' };

type Kept = Map<string, KeptFor[]>;

const add = (kept: Kept, { backupId }: BackupFacts, reason: KeptFor) => void kept.get(backupId)?.push(reason);

function reasonsOfItsOwn(
  backup: BackupFacts,
  { now, policy, holds, uses }: StoreState,
  newest: BackupFacts,
): KeptFor[] {
  const { backupId } = backup;
  const until = expiryOf(backup, policy);
  const reasons: KeptFor[] = [];
  for (const hold of holds)
    if (hold.backupId === backupId) reasons.push({ why: 'hold', by: hold.by, reason: hold.reason });
  for (const use of uses)
    if (use.kind === 'proof' || use.backups.includes(backupId)) reasons.push({ why: 'in use', by: use.by });
  if (until === null || until > now) reasons.push({ why: 'age', until });
  if (backup === newest) reasons.push({ why: 'newest' });
  return reasons;
}

function expiryOf({ kind, committedAt }: BackupFacts, policy: RetentionPolicy): number | null {
  const seconds = keptSeconds(policy, kind);
  return seconds === null ? null : committedAt + seconds * 1_000;
}

/** Children are newer than their parents, and ids sort by time: newest first, each one's reasons are complete when it is met. */
function keepParents(backups: readonly BackupFacts[], kept: Kept): void {
  for (const each of backups.toReversed()) {
    if (each.parent === null || kept.get(each.backupId)?.length === 0) continue;
    const ofParent = kept.get(each.parent);
    // One child says enough.
    if (ofParent && !ofParent.some(({ why }) => why === 'chain')) {
      ofParent.push({ why: 'chain', backupId: each.backupId });
    }
  }
}

function decided(
  backups: readonly BackupFacts[],
  kept: Kept,
  policy: RetentionPolicy,
  bases: readonly ReplayBase[],
): BackupDecision[] {
  const logSeconds = keptSeconds(policy, 'transactionLogs') ?? 0;
  const since = new Map<string, number>();
  const raise = (id: string, at: number) => void since.set(id, Math.max(since.get(id) ?? 0, at));
  const inOrder = bases.toSorted((a, b) => a.consistentAt - b.consistentAt);
  // A base is free once the one behind it has left the window.
  for (const [index, { backupId }] of inOrder.entries()) {
    const next = inOrder[index + 1];
    if (next) raise(backupId, next.consistentAt + logSeconds * 1_000);
  }
  for (const each of backups.toReversed()) {
    raise(each.backupId, expiryOf(each, policy) ?? 0);
    if (each.parent !== null) raise(each.parent, since.get(each.backupId) ?? 0);
  }
  return backups.map(({ backupId, storedBytes }) => {
    const keptFor = kept.get(backupId) ?? [];
    const deletableSince = keptFor.length > 0 ? null : (since.get(backupId) ?? null);
    return { backupId, storedBytes, keptFor, deletableSince };
  });
}

/** `since`: what was stored since is kept for its own sake. */
function logKeeping({ uses, policy, log }: StoreState, since: number, unknown: readonly string[]): LogKeeping {
  const reader = uses.find(({ kind }) => kind !== 'backup');
  const everything: KeptFor | null =
    unknown.length > 0
      ? { why: 'unsure', because: unknownParent(unknown[0] ?? '') }
      : reader
        ? { why: 'in use', by: reader.by }
        : null;
  const backupsBegan = uses.map((use) => Date.parse(use.since) - BEFORE_A_BACKUP_MILLISECONDS);
  return {
    everything,
    storedAfter: Math.min(since - CLOCK_SLACK_MILLISECONDS, ...backupsBegan),
    end: endOf(log?.stretches ?? []),
    seconds: keptSeconds(policy, 'transactionLogs'),
  };
}

function endOf(stretches: readonly LogStretch[]): Position | null {
  const newest = stretches.reduce<LogStretch | null>(
    (best, each) => (best && best.newestAt > each.newestAt ? best : each),
    null,
  );
  return newest?.to ?? null;
}

const unknownParent = (lineage: string) =>
  `where ${lineage} came from is not known (its history file is missing or damaged): no log of the store is deleted`;

function problemsOf(backups: readonly BackupFacts[], chains: Chains): string[] {
  return backups.flatMap((each) => {
    if (each.damage !== null) return [`${each.backupId} cannot be restored: ${each.damage}`];
    return chains.isWhole(each) ? [] : [`${each.backupId} cannot be restored: a backup that it builds on is missing`];
  });
}

/** Nothing can be restored as far as is seen: then nothing is known well enough to delete anything. */
function everythingStays(store: string, backups: readonly BackupFacts[], log: LogState | null): StorePlan {
  const because = `no backup of ${store} can be restored, so that nothing is deleted`;
  const unsure: KeptFor = { why: 'unsure', because };
  return {
    store,
    backups: backups.map(({ backupId, storedBytes }) => ({
      backupId,
      storedBytes,
      keptFor: [unsure],
      deletableSince: null,
    })),
    log: log && new LogPlan([], log.compare, { everything: unsure, storedAfter: -Infinity, end: null, seconds: null }),
    newest: null,
    problems: [backups.length === 0 ? `${store} has no backup` : because, ...problemsOf(backups, new Chains(backups))],
  };
}

/** Which backups have all that they build on. Each is looked at once, however long the chains are. */
class Chains {
  private readonly byId: ReadonlyMap<string, BackupFacts>;
  private readonly whole = new Map<string, boolean>();

  constructor(backups: readonly BackupFacts[]) {
    this.byId = new Map(backups.map((each) => [each.backupId, each]));
  }

  isWhole(backup: BackupFacts): boolean {
    const known = this.whole.get(backup.backupId);
    if (known !== undefined) return known;
    // A circle is no chain.
    this.whole.set(backup.backupId, false);
    const parent = backup.parent === null ? undefined : this.byId.get(backup.parent);
    const isWhole =
      backup.damage === null && (backup.parent === null || (parent !== undefined && this.isWhole(parent)));
    this.whole.set(backup.backupId, isWhole);
    return isWhole;
  }
}

/** Backups that go, those that build on others first: whatever ends the deletion, no backup is left without its parent. */
export function goingBackups({ backups }: Pick<StorePlan, 'backups'>): BackupDecision[] {
  return backups.filter(isDeletable).toReversed();
}
