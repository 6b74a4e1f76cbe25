import type { CallContext } from '../../../core/call';
import { type Manifest, storedBytes } from '../../../core/catalog';
import type { StoreCatalog } from '../../../core/engine';
import { failure } from '../../../core/errors';
import type { LogArchive } from '../../../core/log-archive';
import {
  type PlainTarget,
  type RecoveryTarget,
  type RecoveryWindow,
  requirePlainTarget,
  type RestorePlan,
} from '../../../core/recovery';
import { fullOf } from '../../../core/sealed-log';
import { isUnreadable } from '../opened-pieces';
import { askStream, chainFrom, type KnownStream, type LogChain, stopOf } from './log-chain';
import { offsetOf, type RedisPosition, redisPosition, redisPositions } from './positions';
import { boundaryAt, findInstant } from './stream-instant';

/** The ranges that can be restored, oldest first; backups whose ranges touch along one way share one. */
export function recoveryWindows({ backups, log }: StoreCatalog): Promise<RecoveryWindow[]> {
  return askStream(log, null, (known) => windowsOf(fullsOf(backups), known));
}

async function windowsOf(backups: readonly Manifest[], log: KnownStream | null): Promise<RecoveryWindow[]> {
  const windows: RecoveryWindow[] = [];
  for (const backup of backups) {
    const { coversUntil, lineage, links } = await chainFrom(backup, log);
    const to = new Date(coversUntil).toISOString();
    const last = windows.at(-1);
    if (last && links.length > 0 && last.lineage === lineage && backup.consistentAt <= last.to) {
      windows[windows.length - 1] = { ...last, to: to > last.to ? to : last.to };
    } else windows.push({ from: backup.consistentAt, to, lineage, exact: true });
  }
  return windows;
}

/** Which backup leads to the target, and how much of the stream. */
export async function planRestore(
  store: string,
  target: RecoveryTarget,
  { backups, log }: StoreCatalog,
  ctx: CallContext,
): Promise<RestorePlan> {
  requirePlainTarget(store, 'redis', target);
  const fulls = fullsOf(backups);
  return askStream(log, ctx, (known) => planOnce({ store, all: backups, fulls, log, known }, target, ctx));
}

interface Planning {
  readonly store: string;
  readonly all: readonly Manifest[];
  /** By the instant whose state they hold. */
  readonly fulls: readonly Manifest[];
  readonly log: LogArchive | null;
  readonly known: KnownStream | null;
}

async function planOnce(planning: Planning, target: PlainTarget, ctx: CallContext): Promise<RestorePlan> {
  const { store, fulls, known } = planning;
  const newest = fulls.at(-1);
  if (!newest) throw failure('PitrTargetUnreachable', `${store} has no backup`, { next: 'Take a backup first.' });
  switch (target.kind) {
    case 'backup':
      return planBackup(planning, target);
    case 'latest': {
      const chain = await chainFrom(newest, known);
      return planOf(planning, target, newest, { chain, offset: chain.end, time: chain.coversUntil });
    }
    case 'time':
      return planTime(planning, target, ctx);
    case 'position':
      return planPosition(planning, target, ctx);
    default:
      throw failure(
        'PitrTargetUnreachable',
        `${store} cannot be restored to the restore point "${target.name}": Redis has none`,
        { next: 'Give a time, a replication offset, a backup or latest.' },
      );
  }
}

/** Of an incremental: the stream up to where it was sealed, along its own replication id. */
async function planBackup(planning: Planning, target: PlainTarget & { kind: 'backup' }): Promise<RestorePlan> {
  const { store, all, known } = planning;
  const named = all.find((each) => each.backupId === target.backupId);
  if (!named) throw failure('NotFound', `${store} has no backup ${target.backupId}`);
  const full = fullOf(named, all);
  if (named === full) return planOf(planning, target, full, null);
  const [chain, offset] = [await chainFrom(full, known, false), offsetOf(stopOf(named))];
  if (chain.end < offset) throw await outside(planning, `${named.backupId}, at ${offset} of ${named.lineage}`);
  const plan = planOf(planning, target, full, { chain, offset, time: Date.parse(named.consistentAt) });
  return { ...plan, chain: [...plan.chain, named.backupId] };
}

async function planTime(
  planning: Planning,
  target: PlainTarget & { kind: 'time' },
  ctx: CallContext,
): Promise<RestorePlan> {
  const { fulls, log, known } = planning;
  const wanted = Date.parse(target.time);
  if (Number.isNaN(wanted)) throw failure('UsageInvalid', `"${target.time}" is not an ISO 8601 time`);
  for (const backup of fulls.toReversed()) {
    if (Date.parse(backup.consistentAt) > wanted) continue;
    for (const chain of await waysFrom(backup, known)) {
      // A newer backup may begin before the target without reaching it; an older one may still.
      if (!log || wanted > chain.coversUntil) continue;
      const { offset, unknown } = await reading(known, () => findInstant(log, chain, wanted, ctx));
      return planOf(planning, target, backup, { chain, offset, time: unknown?.from ?? wanted, unheard: unknown });
    }
  }
  throw await outside(planning, target.time);
}

/**
 * Along the backup's own replication id first: its primary was the one that was archived, so that what it had beyond the
 * place at which another was promoted was the state of that time, though it was lost later.
 */
async function waysFrom(backup: Manifest, known: KnownStream | null): Promise<LogChain[]> {
  const [own, onward] = [await chainFrom(backup, known, false), await chainFrom(backup, known)];
  return onward.lineage === own.lineage ? [own] : [own, onward];
}

async function planPosition(
  planning: Planning,
  target: PlainTarget & { kind: 'position' },
  ctx: CallContext,
): Promise<RestorePlan> {
  const { fulls, log, known } = planning;
  const wanted = offsetOf(redisPositions.parse(target.text, ''));
  // An offset is one of the newest history: an older one may have used the same number for another state.
  const lineage = (await chainFrom(fulls.at(-1) as Manifest, known)).lineage;
  for (const backup of fulls.toReversed()) {
    if (offsetOf(stopOf(backup)) > wanted) continue;
    const chain = await chainFrom(backup, known);
    if (chain.lineage !== lineage || wanted > chain.end) continue;
    const offset = log ? await reading(known, () => boundaryAt(log, chain, wanted, ctx)) : offsetOf(stopOf(backup));
    return planOf(planning, target, backup, { chain, offset, time: timeAt(chain, offset) });
  }
  throw await outside(planning, `position ${target.text}`);
}

/** Has the question asked once more of a new listing where a piece of this one is gone. */
async function reading<T>(known: KnownStream | null, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (isUnreadable(error)) known?.noteVanished();
    throw error;
  }
}

/** Until when everything lies before an offset, as far as the names of the pieces say it. */
function timeAt({ links, backup }: LogChain, offset: number): number {
  const covered = links.findLast(({ until }) => until <= offset)?.coversUntil ?? 0;
  return Math.max(Date.parse(backup.consistentAt), covered);
}

async function outside({ store, fulls, known }: Planning, wanted: string) {
  const ranges = (await windowsOf(fulls, known)).map(({ from, to }) => (from === to ? from : `${from} to ${to}`));
  return failure(
    'PitrTargetUnreachable',
    `${store} cannot be restored to ${wanted}: what can be reached is ${ranges.join('; ')}`,
  );
}

interface Reached {
  readonly chain: LogChain;
  readonly offset: number;
  /** Milliseconds. */
  readonly time: number;
  readonly unheard?: { readonly from: number; readonly to: number } | null;
}

/** `reached` null: the backup alone. */
function planOf({ store }: Planning, target: RecoveryTarget, backup: Manifest, reached: Reached | null): RestorePlan {
  const stop = stopOf(backup) as RedisPosition;
  const links = reached?.chain.links.filter(({ since }) => since < reached.offset) ?? [];
  const position = reached && links.length > 0 ? positionIn(reached) : stop;
  const consistentAt = Date.parse(backup.consistentAt);
  return {
    store,
    engine: 'redis',
    target,
    chain: [backup.backupId],
    lineage: position.lineage,
    log: links.length > 0 ? { from: stop, to: position } : null,
    reaches: {
      time: new Date(Math.max(reached?.time ?? 0, consistentAt)).toISOString(),
      position,
      exact: !reached?.unheard,
    },
    downloadBytes: storedBytes(backup) + links.reduce((sum, { entry }) => sum + entry.sizeBytes, 0),
    notes: [...unheardNote(reached?.unheard ?? null), ...backup.warnings],
  };
}

function positionIn({ chain, offset }: Reached): RedisPosition {
  const link = chain.links.find(({ until }) => until >= offset);
  return redisPosition(link?.entry.lineage ?? chain.lineage, offset);
}

function unheardNote(unheard: { readonly from: number; readonly to: number } | null): string[] {
  if (unheard === null) return [];
  const [from, to] = [new Date(unheard.from).toISOString(), new Date(unheard.to).toISOString()];
  return [
    `no archiver was connected between ${from} and ${to}: nothing says when the commands of that time were executed, ` +
      'and the state is the one before all of them',
  ];
}

function fullsOf(backups: readonly Manifest[]): Manifest[] {
  return backups
    .filter((each) => each.type === 'full')
    .toSorted((a, b) => Date.parse(a.consistentAt) - Date.parse(b.consistentAt));
}
