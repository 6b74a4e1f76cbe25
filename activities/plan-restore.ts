import type { CallContext } from '../core/call';
import type { Manifest } from '../core/catalog';
import type { CatalogStore, DamagedManifest } from '../core/catalog-store';
import { failure, hasCode, reasonOf } from '../core/errors';
import { planAroundDamage } from '../core/plan-around-damage';
import type { RecoveryTarget, RestorePlan } from '../core/recovery';
import { elsewhereLine, type StoreReading } from '../core/reading';
import type { Selection } from '../core/selection';
import { type FrozenLook, type ThawTier, thawNote, thawPlan } from '../core/thaw';
import type { OpenApplication } from './deps';
import { knownDamage } from './known-damage';
import { unrestorable } from './unrestorable';

export interface RestoreWish {
  readonly store: string;
  readonly target: RecoveryTarget;
  /** The config's where it is left out. */
  readonly tier?: ThawTier;
  /** The whole store where it is left out. */
  readonly selection?: Selection;
}

/**
 * Plans the restore of a store, from what of its manifests can be read; says what of its chain has to be asked back from an
 * archive class, how long that takes and what it costs. Changes nothing.
 */
export async function planStoreRestore(
  open: OpenApplication,
  { store, target, tier, selection }: RestoreWish,
  ctx: CallContext,
): Promise<RestorePlan> {
  const reading = open.reading(store);
  const planned = await planAroundKnownDamage(open, store, target, reading, ctx);
  const chain = await manifestsOf(reading.catalog, store, planned.chain);
  const whole = { ...planned, notes: [...planned.notes, ...reading.elsewhere().map(elsewhereLine)] };
  const plan = selection ? partOf(open, whole, selection) : whole;
  const frozen = await frozenOf(open, store, chain, ctx);
  if (frozen === null) return plan;
  const thaw = thawPlan(frozen, { ...open.thaw, ...(tier === undefined ? {} : { tier }) });
  return { ...plan, thaw, notes: [...plan.notes, thawNote(thaw)] };
}

/** Throws UsageInvalid where the engine restores a store whole. */
function partOf(open: OpenApplication, plan: RestorePlan, selection: Selection): RestorePlan {
  const { restore, kind } = open.engine(plan.store);
  if (restore.select) return restore.select(plan, selection);
  throw failure('UsageInvalid', `${plan.store} is restored as a whole: ${kind} restores no part of a store by name`, {
    next: 'Leave --include and --rename out, and take the part from the restored copy.',
  });
}

/**
 * As the manifests alone say, unless that would read a backup which a proof found damaged and no copy has whole, and others reach
 * the very same state without it. A backup that was asked for by its id is what was asked for.
 */
async function planAroundKnownDamage(
  open: OpenApplication,
  store: string,
  target: RecoveryTarget,
  reading: StoreReading,
  ctx: CallContext,
): Promise<RestorePlan> {
  const engine = open.engine(store);
  const plan = await planAroundDamage(engine, target, reading, ctx);
  const known = await damageKnownOf(open, store, reading, ctx);
  const inTheWay = known.filter(({ backupId }) => plan.chain.includes(backupId));
  if (inTheWay.length === 0) return plan;
  const otherwise = target.kind === 'backup' ? null : await planWithout(known);
  const why = target.kind === 'backup' ? 'it is what was asked for' : 'nothing else reaches the target';
  const said = inTheWay.map((each) => `${named(each)}; ${otherwise ? 'it is passed over' : why}`);
  const chosen = otherwise ?? plan;
  return { ...chosen, notes: [...chosen.notes, ...said] };

  /** Null where it cannot be done, or would not reach what the plan reaches. */
  async function planWithout(left: readonly DamagedManifest[]): Promise<RestorePlan | null> {
    const ids = new Set(left.map(({ backupId }) => backupId));
    const isLeft = ({ backupId }: Manifest) => !ids.has(backupId);
    const list: CatalogStore['list'] = async (...wish) => (await reading.catalog.list(...wish)).filter(isLeft);
    try {
      const found = await planAroundDamage(engine, target, { ...reading, catalog: { ...reading.catalog, list } }, ctx);
      return reachesAsFar(found, plan) ? found : null;
    } catch (error) {
      if (hasCode(error, 'PitrTargetUnreachable')) return null;
      throw error;
    }
  }
}

/** The log may have grown between the two. */
function reachesAsFar({ reaches, lineage }: RestorePlan, than: RestorePlan): boolean {
  const isAsFar = Date.parse(reaches.time) >= Date.parse(than.reaches.time);
  return isAsFar && reaches.exact === than.reaches.exact && lineage === than.lineage;
}

const named = ({ backupId, problem }: DamagedManifest) => `${backupId} is known to be damaged: ${problem}`;

/** Of what no copy has whole; none where what was proven cannot be seen: then the restore itself finds it, as it would have before. */
async function damageKnownOf(
  open: OpenApplication,
  store: string,
  { hasCopies }: StoreReading,
  ctx: CallContext,
): Promise<readonly DamagedManifest[]> {
  try {
    const known = await knownDamage(open, store, await open.proofs(store).list(store));
    return (await unrestorable(open, store, known)).backups;
  } catch (error) {
    if (!hasCopies || !hasCode(error, 'RepositoryUnavailable')) throw error;
    ctx.log.warn({ store, reason: reasonOf(error) }, 'what earlier proofs found damaged is not known');
    return [];
  }
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
