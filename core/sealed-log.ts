import type { DumpResult, Manifest } from './catalog';
import type { DumpPlan, DumpRequest, LogEnd } from './engine';
import { failure } from './errors';
import type { LogEntry, LogNaming } from './log-archive';

/**
 * Incrementals of an engine whose log holds every change: no data of their own, but a position of the archived log on the newest
 * full. `start` is where replay begins, the end of that full; `stop` the position. What is archived between the two is the
 * incremental, and stays as long as it does (`sealedSpan`).
 */

type Order = Pick<LogNaming, 'compare'>;

/** The full that an incremental at this end of the log builds on, or why a full is taken instead. */
export type BaseChoice = { readonly base: Manifest } | { readonly why: string };

export function chooseBase(existing: readonly Manifest[], end: LogEnd, order: Order): BaseChoice {
  const base = existing.findLast(({ type }) => type === 'full');
  if (!base) return { why: 'there is no full backup to build on' };
  const why = whyNotOn(base, end, order);
  return why === null ? { base } : { why };
}

export function planSealed({ backupId }: DumpRequest, base: Manifest, { source }: LogEnd): DumpPlan {
  return { backupId, type: 'incr', typeReason: null, parent: base.backupId, source, estimatedBytes: 0 };
}

/** Throws IncrementalRefused where the log has left the base's lineage since this was planned. */
export function sealedDump(base: Manifest, end: LogEnd, order: Order): DumpResult {
  const why = whyNotOn(base, end, order);
  if (why !== null) throw failure('IncrementalRefused', `the log of ${base.store} cannot be sealed: ${why}`);
  const { position, at, identity, serverVersion, source } = end;
  return {
    start: base.stop,
    stop: position,
    startedAt: at,
    consistentAt: at,
    identity,
    lineage: position.lineage,
    serverVersion,
    toolVersions: {},
    source,
    warnings: [],
    detail: {},
  };
}

function whyNotOn({ backupId, stop }: Manifest, { position }: LogEnd, order: Order): string | null {
  if (stop === null) return `${backupId} does not say where its log begins`;
  if (stop.lineage !== position.lineage) {
    return `the log has gone on as ${position.lineage} since ${backupId}, which is of ${stop.lineage}`;
  }
  return order.compare(stop, position) > 0 ? `${backupId} holds more than the server has now` : null;
}

/** The first piece that does not follow what lies before it, from a full's end on; null where all do. */
export function firstBehindGap(entries: readonly LogEntry[], { stop }: Manifest, order: Order): LogEntry | null {
  let reached = stop;
  for (const entry of entries) {
    if (reached === null || order.compare(entry.to, reached) <= 0) continue;
    if (order.compare(entry.from, reached) > 0) return entry;
    reached = entry.to;
  }
  return null;
}

/** What `LogReach.needs` says of a backup whose replay begins at its end, or of an incremental that is sealed on one. */
export function sealedSpan({ type, start, stop }: Manifest) {
  const from = type === 'full' ? stop : start;
  return stop && from && { lineage: stop.lineage, from, to: stop };
}

/** The full that a restore of this backup begins with: itself, or what it is sealed on. Throws BackupCorrupt where that is gone. */
export function fullOf(backup: Manifest, all: readonly Manifest[]): Manifest {
  if (backup.parent === null) return backup;
  const base = all.find(({ backupId }) => backupId === backup.parent);
  if (base) return base;
  throw failure(
    'BackupCorrupt',
    `${backup.backupId} of ${backup.store} builds on ${backup.parent}, which is not there`,
  );
}
