import type { CallContext } from '../core/call';
import type { Manifest } from '../core/catalog';
import type { CatalogStore } from '../core/catalog-store';
import { hasCode } from '../core/errors';
import { planAroundDamage } from '../core/plan-around-damage';
import type { RecoveryTarget, RestorePlan } from '../core/recovery';
import { elsewhereLine } from '../core/reading';
import { type FrozenLook, type ThawTier, thawNote, thawPlan } from '../core/thaw';
import type { OpenApplication } from './deps';

/**
 * Plans the restore of a store, from what of its manifests can be read; says what of its chain has to be asked back from an
 * archive class, how long that takes and what it costs. Changes nothing.
 */
export async function planStoreRestore(
  open: OpenApplication,
  { store, target, tier }: { readonly store: string; readonly target: RecoveryTarget; readonly tier?: ThawTier },
  ctx: CallContext,
): Promise<RestorePlan> {
  const reading = open.reading(store);
  const planned = await planAroundDamage(open.engine(store), target, reading, ctx);
  const chain = await manifestsOf(reading.catalog, store, planned.chain);
  const plan = { ...planned, notes: [...planned.notes, ...reading.elsewhere().map(elsewhereLine)] };
  const frozen = await frozenOf(open, store, chain, ctx);
  if (frozen === null) return plan;
  const thaw = thawPlan(frozen, { ...open.thaw, ...(tier === undefined ? {} : { tier }) });
  return { ...plan, thaw, notes: [...plan.notes, thawNote(thaw)] };
}

/** Null where nothing is, and where the repository does not answer that copies stand in for: what they hold can be read at once. */
async function frozenOf(
  open: OpenApplication,
  store: string,
  chain: readonly Manifest[],
  ctx: CallContext,
): Promise<FrozenLook | null> {
  try {
    return await open.coldStorage(store).look({ chain, log: null }, ctx);
  } catch (error) {
    if (open.copies(store).length === 0 || !hasCode(error, 'RepositoryUnavailable')) throw error;
    return null;
  }
}

/** Read again where they are needed, so that histories stay small. */
export async function manifestsOf(
  catalog: CatalogStore,
  store: string,
  backupIds: readonly string[],
): Promise<Manifest[]> {
  const manifests: Manifest[] = [];
  for (const backupId of backupIds) manifests.push(await catalog.get(store, backupId));
  return manifests;
}
