import type { CallContext } from '../core/call';
import type { Manifest } from '../core/catalog';
import { planAroundDamage } from '../core/plan-around-damage';
import type { RecoveryTarget, RestorePlan } from '../core/recovery';
import { type ThawTier, thawNote, thawPlan } from '../core/thaw';
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
  const stored = { catalog: open.catalog(store), log: open.logArchive(store) };
  const plan = await planAroundDamage(open.engine(store), target, stored, ctx);
  const chain = await manifestsOf(open, store, plan.chain);
  const frozen = await open.coldStorage(store).look({ chain, log: null }, ctx);
  if (frozen === null) return plan;
  const thaw = thawPlan(frozen, { ...open.thaw, ...(tier === undefined ? {} : { tier }) });
  return { ...plan, thaw, notes: [...plan.notes, thawNote(thaw)] };
}

/** Read again where they are needed, so that histories stay small. */
export async function manifestsOf(
  open: OpenApplication,
  store: string,
  backupIds: readonly string[],
): Promise<Manifest[]> {
  const manifests: Manifest[] = [];
  for (const backupId of backupIds) manifests.push(await open.catalog(store).get(store, backupId));
  return manifests;
}
