import { layout } from '../core/layout';
import type { OpenApplication } from './deps';
import { type KnownDamage, knownDamage } from './known-damage';

/**
 * Of what is known to be damaged in the store's own repository that which no copy is known to have whole: nothing can be restored
 * with it. A copy that does not answer has nothing.
 */
export async function unrestorable(open: OpenApplication, store: string, known: KnownDamage): Promise<KnownDamage> {
  let left = known;
  for (const { name } of open.copies(store)) {
    if (left.backups.length === 0 && left.log.length === 0) break;
    left = await notWholeIn(open.copy(name), store, left).catch(() => left);
  }
  return left;
}

async function notWholeIn(copy: OpenApplication, store: string, { backups, log }: KnownDamage): Promise<KnownDamage> {
  const there = await knownDamage(copy, store, await copy.proofs(store).list(store));
  const readable = new Set((await copy.catalog(store).list(store)).map(({ backupId }) => backupId));
  const damagedThere = new Set(there.backups.map(({ backupId }) => backupId));
  const pieces = log.length > 0 ? await piecesOf(copy, store, log) : new Set<string>();
  return {
    backups: backups.filter(({ backupId }) => !readable.has(backupId) || damagedThere.has(backupId)),
    log: log.filter((key) => !pieces.has(key) || there.log.includes(key)),
  };
}

/** Everything that is listed in the lineages of these pieces. */
async function piecesOf(copy: OpenApplication, store: string, keys: readonly string[]): Promise<Set<string>> {
  const lineages = new Set(keys.map((key) => key.slice(layout.logs(store).length, key.lastIndexOf('/'))));
  const archive = copy.logArchive(store);
  const listed = await Promise.all([...lineages].map(async (lineage) => (await archive?.entries(lineage)) ?? []));
  return new Set(listed.flat().map(({ key }) => key));
}
