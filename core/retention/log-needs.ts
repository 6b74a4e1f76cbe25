import type { NeededLog } from './decisions';
import type { LineageParent, LogSpan } from './log-reach';
import type { ComparePositions, LogStretch } from './log-stretches';

/** A backup that log can be replayed on. */
export interface ReplayBase {
  readonly backupId: string;
  readonly consistentAt: number;
  readonly log: LogSpan;
}

export interface LogState {
  /** Of every lineage, each lineage's in log order. */
  readonly stretches: readonly LogStretch[];
  /** Asked only for lineages whose log reaches into the time that it is kept for. */
  readonly parentOf: (lineage: string) => LineageParent | null | 'unknown';
  readonly compare: ComparePositions;
}

/** A part of the way that a replay takes: one stretch, up to where the next lineage begins. */
interface Step {
  readonly stretch: LogStretch;
  /** Null: to its end. */
  readonly until: LogSpan['to'] | null;
}

/** The instants that have to be reached, in milliseconds. */
export interface LogWindow {
  readonly start: number;
  /** Log of these instants was stored later than this. */
  readonly storedAfter: number;
  /** When the newest backup was consistent: log that was stored before leads to nothing newer. */
  readonly newestBackupAt: number;
}

export interface WindowNeeds {
  readonly ranges: readonly NeededLog[];
  /** The bases that the ranges begin at. */
  readonly anchors: readonly string[];
  /** Lineages whose parent is not known: their restores may need any log. */
  readonly unknown: readonly string[];
}

/**
 * The log that leads to the instants of the window, and the bases that it is replayed on. Of each stretch that reaches into the
 * window everything behind its anchor is needed, through all lineages on the way: the newest preferred base before the window
 * or, where log is left behind others only, the newest of these, or the oldest base within the window. Log that no base leads
 * to is not needed by anybody. Of a store that fell silent, or is lost, before the window the newest stretch that a base leads
 * to is needed all the same: its end is the newest state that there is.
 */
export function windowNeeds(
  state: LogState,
  bases: readonly ReplayBase[],
  isPreferred: (base: ReplayBase) => boolean,
  window: LogWindow,
): WindowNeeds {
  const ranges: NeededLog[] = [];
  const anchors = new Set<string>();
  const unknown: string[] = [];
  const early = bases.filter(({ consistentAt }) => consistentAt <= window.start);
  const late = bases.filter(({ consistentAt }) => consistentAt > window.start);
  const preferred = early.filter(isPreferred);
  for (const stretch of state.stretches.toSorted((a, b) => b.newestAt - a.newestAt)) {
    const isBefore = stretch.newestAt < window.storedAfter;
    if (isBefore && (anchors.size > 0 || stretch.newestAt < window.newestBackupAt)) break;
    const way = wayTo(stretch, state);
    if (way === 'unknown') {
      unknown.push(stretch.lineage);
      continue;
    }
    const anchor =
      newestOn(way, preferred, state) ?? newestOn(way, early, state) ?? newestOn(way.toReversed(), late, state, -1);
    if (!anchor) continue;
    anchors.add(anchor.base.backupId);
    const needed = { why: 'backup', backupId: anchor.base.backupId } as const;
    for (const step of way) {
      const from = step === anchor.step ? anchor.base.log.from : step.stretch.from;
      ranges.push({ lineage: step.stretch.lineage, from, to: step.until ?? step.stretch.to, for: needed });
      if (step === anchor.step) break;
    }
  }
  return { ranges, anchors: [...anchors], unknown };
}

/** In the first step of the way that has one: the newest of the bases, or with `sign` -1 the oldest. */
function newestOn(
  way: readonly Step[],
  bases: readonly ReplayBase[],
  state: LogState,
  sign: 1 | -1 = 1,
): { readonly step: Step; readonly base: ReplayBase } | null {
  for (const step of way) {
    const base = newestIn(step, bases, state, sign);
    if (base) return { step, base };
  }
  return null;
}

/** The stretch itself first, then the ones that lead to it. */
function wayTo(stretch: LogStretch, { stretches, parentOf, compare }: LogState): Step[] | 'unknown' {
  const way: Step[] = [{ stretch, until: null }];
  const seen = new Set([stretch.lineage]);
  for (let step = stretch; ;) {
    const parent = parentOf(step.lineage);
    if (parent === 'unknown') return 'unknown';
    if (parent === null || seen.has(parent.lineage)) return way;
    // Only what begins where its lineage does goes on from the parent.
    const joinedAt = { ...step.from, lineage: parent.lineage };
    if (compare(joinedAt, parent.leftAt) > 0) return way;
    const before = stretches.find(
      (each) => each.lineage === parent.lineage && compare(each.from, joinedAt) <= 0 && compare(each.to, joinedAt) >= 0,
    );
    if (!before) return way;
    way.push({ stretch: before, until: parent.leftAt });
    seen.add(before.lineage);
    step = before;
  }
}

/** Of the bases whose replay goes on through the step. */
function newestIn(
  { stretch, until }: Step,
  bases: readonly ReplayBase[],
  { compare }: LogState,
  sign: 1 | -1,
): ReplayBase | null {
  let newest: ReplayBase | null = null;
  for (const base of bases) {
    const { lineage, from, to } = base.log;
    if (lineage !== stretch.lineage || (newest && compare(newest.log.to, to) * sign >= 0)) continue;
    const within = compare(from, stretch.from) >= 0 && compare(from, stretch.to) <= 0;
    if (within && compare(to, until ?? stretch.to) <= 0) newest = base;
  }
  return newest;
}

/** Whether the log without which the backup cannot be restored is stored whole. */
export function isLogWhole(
  { lineage, from, to }: LogSpan,
  { stretches, compare }: Pick<LogState, 'stretches' | 'compare'>,
): boolean {
  if (compare(from, to) === 0) return true;
  return stretches.some(
    (each) => each.lineage === lineage && compare(each.from, from) <= 0 && compare(each.to, to) >= 0,
  );
}
