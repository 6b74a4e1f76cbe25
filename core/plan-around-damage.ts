import type { CallContext } from './call';
import type { CatalogStore, DamagedManifest } from './catalog-store';
import type { Engine } from './engine';
import { failure, findFailure } from './errors';
import type { LogArchive } from './log-archive';
import type { RecoveryTarget, RestorePlan } from './recovery';

/**
 * Plans a restore from the backups whose manifests can be read. Those that cannot be are named: in the plan's notes where it
 * does without them, in the error where it cannot. A damaged backup that was asked for itself throws BackupCorrupt.
 */
export async function planAroundDamage(
  engine: Engine,
  target: RecoveryTarget,
  { catalog, log }: { readonly catalog: CatalogStore; readonly log: LogArchive | null },
  ctx: CallContext,
): Promise<RestorePlan> {
  const { store } = engine;
  const backups = await catalog.list(store);
  const damaged = await catalog.damaged(store);
  const wanted = damaged.find((each) => target.kind === 'backup' && each.backupId === target.backupId);
  if (wanted) throw failure('BackupCorrupt', wanted.problem, { context: { store, backupId: wanted.backupId } });
  try {
    const plan = await engine.planRestore(target, { backups, log }, ctx);
    return { ...plan, notes: [...plan.notes, ...damaged.map(leftOut)] };
  } catch (error) {
    const found = damaged.length === 0 ? null : findFailure(error);
    if (!found) throw error;
    const { data, next, context } = found.details;
    const message = [found.message, ...damaged.map(leftOut)].join('; ');
    throw failure(found.code, message, { data, next, context, cause: error });
  }
}

function leftOut({ backupId, problem }: DamagedManifest): string {
  return `${backupId} was left out: ${problem}`;
}
