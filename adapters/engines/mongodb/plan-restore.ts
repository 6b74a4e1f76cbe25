import type { CallContext } from '../../../core/call';
import type { Manifest } from '../../../core/catalog';
import { storedBytes } from '../../../core/catalog';
import type { StoreCatalog } from '../../../core/engine';
import { failure } from '../../../core/errors';
import { type RecoveryTarget, type RecoveryWindow, requirePlainTarget, type RestorePlan } from '../../../core/recovery';
import { fullOf } from '../../../core/sealed-log';
import { askLog, type ListedLog } from '../listed-log';
import { chainFrom, type LogChain, stopOf } from './log-chain';
import { compareOptimes, type Optime, optimeOf, positionOf, positions } from './positions';

/** The ranges that can be restored, oldest first; backups whose ranges touch in one lineage share one. */
export async function recoveryWindows({ backups, log }: StoreCatalog): Promise<RecoveryWindow[]> {
  return askLog(log, null, (listed) => windowsOf(fullsOf(backups), listed));
}

async function windowsOf(backups: readonly Manifest[], log: ListedLog | null): Promise<RecoveryWindow[]> {
  const windows: RecoveryWindow[] = [];
  for (const backup of backups) {
    const { coversUntil } = await chainFrom(backup, log);
    const last = windows.at(-1);
    if (last && last.lineage === backup.lineage && backup.consistentAt <= last.to) {
      windows[windows.length - 1] = { ...last, to: coversUntil > last.to ? coversUntil : last.to };
    } else windows.push({ from: backup.consistentAt, to: coversUntil, lineage: backup.lineage, exact: true });
  }
  return windows;
}

export async function planRestore(
  store: string,
  target: RecoveryTarget,
  { backups, log }: StoreCatalog,
  ctx: CallContext,
): Promise<RestorePlan> {
  return askLog(log, ctx, (listed) => planOnce(store, target, { all: backups, fulls: fullsOf(backups), log: listed }));
}

/** What is stored of a store, as it was listed. */
interface Listed {
  readonly all: readonly Manifest[];
  readonly fulls: readonly Manifest[];
  readonly log: ListedLog | null;
}

async function planOnce(store: string, target: RecoveryTarget, catalog: Listed): Promise<RestorePlan> {
  const { fulls, log } = catalog;
  const newest = fulls.at(-1);
  requirePlainTarget(store, 'MongoDB', target);
  if (!newest) {
    throw failure('PitrTargetUnreachable', `MongoDB store ${store} has no backup, so that nothing can be restored`, {
      next: `Take one with \`drctl backup ${store}\`.`,
    });
  }
  switch (target.kind) {
    case 'backup':
      return planBackup(store, target, catalog);
    case 'latest': {
      const chain = await chainFrom(newest, log);
      return plan(store, target, chain.backup, chain, chain.end, chain.coversUntil);
    }
    case 'time':
      return planTime(store, target, catalog);
    case 'position':
      return planPosition(store, target, catalog);
    default:
      throw failure(
        'UsageInvalid',
        `MongoDB knows no named restore points, so that "${target.name}" cannot be found in ${store}`,
        {
          next: 'Give a time, a position (an optime such as 1763800000:3), a backup or latest.',
        },
      );
  }
}

/** Of an incremental: the log up to where it was sealed. */
async function planBackup(
  store: string,
  target: RecoveryTarget & { kind: 'backup' },
  catalog: Listed,
): Promise<RestorePlan> {
  const { all, log } = catalog;
  const named = all.find(({ backupId }) => backupId === target.backupId);
  if (!named) throw failure('NotFound', `store ${store} has no backup ${target.backupId}`);
  const [full, end] = [fullOf(named, all), optimeOf(stopOf(named))];
  if (named === full) return plan(store, target, full, null, end, named.consistentAt);
  const chain = await chainFrom(full, log);
  if (compareOptimes(end, chain.end) > 0)
    throw await outside(store, `${named.backupId}, at ${stopOf(named).value}`, catalog);
  const planned = plan(store, target, full, chain, end, named.consistentAt);
  return { ...planned, chain: [...planned.chain, named.backupId] };
}

async function planTime(
  store: string,
  target: RecoveryTarget & { kind: 'time' },
  catalog: Listed,
): Promise<RestorePlan> {
  const wanted = Date.parse(target.time);
  if (Number.isNaN(wanted))
    throw failure('UsageInvalid', `"${target.time}" is not a time: write ISO 8601, such as 2026-11-22T13:05:03Z`);
  for (const backup of catalog.fulls.toReversed()) {
    if (Date.parse(backup.consistentAt) > wanted) continue;
    const chain = await chainFrom(backup, catalog.log);
    // A newer backup of another lineage may begin before the target without reaching it; an older one may still.
    if (wanted > Date.parse(chain.coversUntil)) continue;
    return plan(store, target, backup, chain, null, new Date(wanted).toISOString());
  }
  throw await outside(store, target.time, catalog);
}

async function planPosition(
  store: string,
  target: RecoveryTarget & { kind: 'position' },
  catalog: Listed,
): Promise<RestorePlan> {
  for (const backup of catalog.fulls.toReversed()) {
    const wanted = optimeOf(positions.parse(target.text, backup.lineage ?? ''));
    if (compareOptimes(optimeOf(stopOf(backup)), wanted) > 0) continue;
    const chain = await chainFrom(backup, catalog.log);
    if (compareOptimes(wanted, chain.end) > 0) continue;
    const time = new Date(wanted.seconds * 1_000).toISOString();
    return plan(store, target, backup, chain, wanted, time > backup.consistentAt ? time : backup.consistentAt);
  }
  throw await outside(store, target.text, catalog);
}

async function outside(store: string, wanted: string, { fulls, log }: Listed) {
  const windows = await windowsOf(fulls, log);
  const ranges = windows.map(({ from, to }) => `${from} to ${to}`).join('; ');
  return failure(
    'PitrTargetUnreachable',
    `MongoDB store ${store} cannot be restored to ${wanted}: what can be reached is ${ranges}`,
  );
}

function plan(
  store: string,
  target: RecoveryTarget,
  backup: Manifest,
  chain: LogChain | null,
  to: Optime | null,
  time: string,
): RestorePlan {
  const lineage = backup.lineage ?? '';
  const end = to === null ? null : positionOf(to, lineage);
  // For a time the pieces' names say seconds only; a minute covers the clocks of two primaries that do not agree.
  const last = to ?? { seconds: Math.ceil(Date.parse(time) / 1_000) + 60, increment: 0 };
  const needed = chain?.entries.filter((entry) => compareOptimes(optimeOf(entry.from), last) < 0) ?? [];
  return {
    store,
    engine: 'mongodb',
    target,
    chain: [backup.backupId],
    lineage: backup.lineage,
    log: chain && needed.length > 0 ? { from: stopOf(backup), to: end } : null,
    reaches: { time, position: end, exact: true },
    downloadBytes: storedBytes(backup) + needed.reduce((sum, entry) => sum + entry.sizeBytes, 0),
    notes: [
      `the restored server is a replica set of its own and asks for no password; reach it from this machine only`,
    ],
  };
}

/** An incremental is an instant on the way from its full. */
const fullsOf = (backups: readonly Manifest[]) => backups.filter(({ type }) => type === 'full');
