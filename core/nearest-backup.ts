import { chainOf, type Manifest, storedBytes, withWholeChains } from './catalog';
import { failure } from './errors';
import type { PositionCodec } from './positions';
import {
  type PlainTarget,
  type RecoveryTarget,
  type RecoveryWindow,
  requirePlainTarget,
  type RestorePlan,
} from './recovery';

/**
 * The restore plan of an engine that has no log: the newest backup at or before the target.
 * Only a target that names a backup is met exactly; for the others `notes` says how much earlier the state is.
 * Throws PitrTargetUnreachable naming what exists, NotFound for a backup id that does not.
 */
export function planNearestBackup(
  store: { readonly engine: string; readonly store: string; readonly positions: PositionCodec },
  target: RecoveryTarget,
  backups: readonly Manifest[],
): RestorePlan {
  requirePlainTarget(store.store, store.engine, target);
  const chosen = choose(store, target, backups);
  const chain = chainOf(chosen, backups) ?? [chosen];
  return {
    store: store.store,
    engine: store.engine,
    target,
    chain: chain.map(({ backupId }) => backupId),
    lineage: chosen.lineage,
    log: null,
    reaches: { time: chosen.consistentAt, position: chosen.stop, exact: target.kind === 'backup' },
    downloadBytes: chain.reduce((sum, each) => sum + storedBytes(each), 0),
    notes: [...distance(target, chosen), ...chosen.warnings],
  };
}

/** Each backup is an instant of its own: between two of them nothing can be reached. */
export function nearestBackupWindows(backups: readonly Manifest[]): RecoveryWindow[] {
  return byInstant(backups).map(({ consistentAt, lineage }) => ({
    from: consistentAt,
    to: consistentAt,
    lineage,
    exact: true,
  }));
}

function choose(
  { store, positions }: { readonly store: string; readonly positions: PositionCodec },
  target: PlainTarget,
  all: readonly Manifest[],
): Manifest {
  const backups = byInstant(all);
  const newest = backups.at(-1);
  if (!newest) throw failure('PitrTargetUnreachable', `${store} has no backup`, { next: 'Take a backup first.' });
  const required = (found: Manifest | undefined, wanted: string): Manifest => {
    if (found) return found;
    throw unreachable(wanted);
  };
  const unreachable = (wanted: string) =>
    failure(
      'PitrTargetUnreachable',
      `${store} cannot be restored to ${wanted}: it has ${backups.length} backups, ` +
        `of ${backups[0]?.consistentAt} to ${newest.consistentAt}`,
    );
  switch (target.kind) {
    case 'latest':
      return newest;
    case 'backup': {
      const named = backups.find((each) => each.backupId === target.backupId);
      if (!named) throw failure('NotFound', `${store} has no backup ${target.backupId}`);
      return named;
    }
    case 'time': {
      const wanted = Date.parse(target.time);
      if (Number.isNaN(wanted)) throw failure('UsageInvalid', `"${target.time}" is not an ISO 8601 time`);
      const earlier = backups.findLast((each) => Date.parse(each.consistentAt) <= wanted);
      return required(earlier, target.time);
    }
    case 'position': {
      // A bare position belongs to the newest history: an offset of an older one would name another state.
      const lineage = newest.stop?.lineage ?? '';
      const wanted = positions.parse(target.text, lineage);
      const earlier = backups.findLast(
        (each) => each.stop?.lineage === lineage && positions.compare(wanted, each.stop) >= 0,
      );
      return required(earlier, `position ${target.text}`);
    }
  }
  throw unreachable(`the restore point "${target.name}" (named points need a log, which this store does not keep)`);
}

function byInstant(backups: readonly Manifest[]): Manifest[] {
  return withWholeChains(backups).toSorted((a, b) => Date.parse(a.consistentAt) - Date.parse(b.consistentAt));
}

function distance(target: RecoveryTarget, chosen: Manifest): string[] {
  if (target.kind !== 'time') return [];
  const seconds = (Date.parse(target.time) - Date.parse(chosen.consistentAt)) / 1_000;
  return seconds === 0
    ? []
    : [`the state is ${seconds.toFixed(1)} s older than the target: changes in between are not in it`];
}
