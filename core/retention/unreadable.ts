import { isFullId } from '../layout';
import type { KeptFor } from './decisions';
import type { BackupFacts } from './plan-store';

type Kept = ReadonlyMap<string, KeptFor[]>;

/** Kept, and nobody knows what it builds on and what log it needs: a damaged manifest, or one of a later version of drctl. */
const isMystery = ({ backupId, isUnreadable }: BackupFacts, kept: Kept) =>
  isUnreadable === true && (kept.get(backupId)?.length ?? 0) > 0;

/** An incremental may build on any backup back to the full before it. `oldestFirst`: each id once. */
export function keepBehindUnreadable(oldestFirst: readonly BackupFacts[], kept: Kept): void {
  for (const [index, each] of oldestFirst.entries()) {
    if (!isMystery(each, kept) || isFullId(each.backupId)) continue;
    const full = oldestFirst.findLastIndex(({ backupId }, at) => at < index && isFullId(backupId));
    const because = `${each.backupId} may build on it: its manifest cannot be read`;
    for (const { backupId } of oldestFirst.slice(Math.max(0, full), index)) {
      const reasons = kept.get(backupId);
      if (reasons && !reasons.some(({ why }) => why === 'unsure')) reasons.push({ why: 'unsure', because });
    }
  }
}

/** When the oldest of them was begun, in milliseconds: log that was stored since may be what it needs. Infinity: there is none. */
export function unreadableSince(backups: readonly BackupFacts[], kept: Kept): number {
  return Math.min(...backups.filter((each) => isMystery(each, kept)).map(({ consistentAt }) => consistentAt));
}
