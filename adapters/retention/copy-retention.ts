import { hasCode } from '../../core/errors';
import { isFullId, layout } from '../../core/layout';
import type { LogNaming } from '../../core/log-archive';
import type { Repository } from '../../core/repository';
import type { Hold, RetentionStore, Use } from '../../core/retention/records';
import { backupIds, isGivenUp, readManifest } from '../copies/copy-backup';
import { createRetentionStore } from './retention-store';

/** What is not copied yet changes with each copy; a sweep asks for it before each batch. */
const BELIEVED_MILLISECONDS = 60_000;

/**
 * Retention's side of a copy: it deletes there by what is there, as it does in the source. Besides, people hold and runs use in
 * the source what the copy has too; what is not copied yet keeps what it builds on; and what is half copied is no leftover. A
 * source that does not answer keeps the copy from being swept: it may be the only one that is left.
 */
export function createCopyRetentionStore(
  { from, to }: { readonly from: Repository; readonly to: Repository },
  store: string,
  naming: LogNaming | null,
): RetentionStore {
  const own = createRetentionStore(to, store, naming);
  const source = createRetentionStore(from, store, naming);
  let pending: { readonly at: number; readonly use: Use | null } | null = null;

  async function pendingUse(now: number): Promise<Use | null> {
    if (pending && Date.now() - pending.at < BELIEVED_MILLISECONDS) return pending.use;
    const backups = await builtOnBy(await notCopied());
    const times = { since: new Date(now).toISOString(), until: new Date(now + BELIEVED_MILLISECONDS).toISOString() };
    pending = {
      at: Date.now(),
      use: backups.length > 0 ? { store, kind: 'backup', by: `the copy to ${to.name}`, backups, ...times } : null,
    };
    return pending.use;
  }

  async function notCopied(): Promise<string[]> {
    const there = new Set(await backupIds(to, store, null));
    return (await backupIds(from, store, null)).filter((id) => !there.has(id));
  }

  /** What the increments that are still to come build on. */
  async function builtOnBy(missing: readonly string[]): Promise<string[]> {
    const parents = new Set<string>();
    for (const id of missing) {
      if (isFullId(id) || (await isGivenUp(to, store, id))) continue;
      const parent = await parentOf(id);
      if (parent !== null) parents.add(parent);
    }
    return [...parents];
  }

  /** One whose manifest is damaged is never copied. */
  async function parentOf(id: string): Promise<string | null> {
    try {
      return (await readManifest(from, store, id))?.manifest.parent ?? null;
    } catch (error) {
      if (hasCode(error, 'BackupCorrupt')) return null;
      throw error;
    }
  }

  return {
    ...own,

    async holds() {
      const all = [...(await own.holds()), ...(await source.holds())];
      return [...new Map<string, Hold>(all.map((hold) => [hold.backupId, hold])).values()];
    },

    async uses(now) {
      const waiting = await pendingUse(now);
      return [...(await own.uses(now)), ...(await source.uses(now)), ...(waiting ? [waiting] : [])];
    },

    async leftovers() {
      const found = await own.leftovers();
      const kept = await Promise.all(
        found.map(async ({ backupId }) => {
          if ((await from.head(layout.manifest(store, backupId))) === null) return false;
          return !(await isGivenUp(to, store, backupId));
        }),
      );
      return found.filter((_, index) => !kept[index]);
    },
  };
}
