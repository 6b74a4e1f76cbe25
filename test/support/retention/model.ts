import { keptSeconds, type RetentionKind, type RetentionPolicy } from '../../../core/retention/policy';
import type { Branch, SimBackup, SimPiece, SimStore } from './world';

/**
 * What was promised, judged without the planner: by looking in the simulated repository for the backup and the log that each
 * promised point needs, and in a repository from which nothing was ever deleted for whether it could be reached at all.
 */
const DAY = 86_400;

interface Run {
  readonly from: number;
  readonly to: number;
}

interface Stored {
  readonly backups: ReadonlyMap<string, SimBackup>;
  readonly runs: ReadonlyMap<string, readonly Run[]>;
  readonly branches: ReadonlyMap<string, Branch>;
  readonly hasLog: boolean;
}

export interface Judgement {
  /** Promised points that cannot be reached any more. */
  readonly lost: string[];
  /** Objects that nothing needs, more than a day after their time. */
  readonly left: string[];
}

export class Model {
  private readonly store: SimStore;
  private readonly policy: RetentionPolicy;

  constructor(store: SimStore, policy: RetentionPolicy) {
    this.store = store;
    this.policy = policy;
  }

  /** `instants`: what is looked for besides all backups, as shares of the time that the log is kept for. */
  judge(now: number, instants: readonly number[], lookForLeft: boolean): Judgement {
    const { store } = this;
    const common = { branches: store.branches, hasLog: store.habits.hasLog };
    const here: Stored = { ...common, backups: store.backups, runs: runsOf(store.log) };
    const ever: Stored = {
      backups: new Map(store.everBackups.map((each) => [each.id, each])),
      runs: store.everLog,
      ...common,
    };
    const lost = [
      ...this.lostBackups(now, here),
      ...this.lostInstants(now, here, ever, instants),
      ...this.lostNewest(here, ever),
    ];
    if (store.everBackups.length > 0 && ![...here.backups.values()].some((each) => isRestorable(each, here)))
      lost.push(`${store.name}: no backup can be restored at all`);
    return { lost, left: lookForLeft ? [...this.leftBackups(now, here), ...this.leftLog(now, here)] : [] };
  }

  private seconds(kind: RetentionKind): number {
    return keptSeconds(this.policy, kind) ?? Infinity;
  }

  private isPromised(backup: SimBackup, now: number): boolean {
    const isHeld = this.store.holds.some(({ backupId }) => backupId === backup.id);
    return isHeld || backup.stop + this.seconds(backup.kind) > now;
  }

  private lostBackups(now: number, here: Stored): string[] {
    return this.store.everBackups
      .filter((each) => this.isPromised(each, now) && !(here.backups.has(each.id) && isRestorable(each, here)))
      .map(({ id }) => `${this.store.name}: ${id} is promised and cannot be restored`);
  }

  private lostInstants(now: number, here: Stored, ever: Stored, shares: readonly number[]): string[] {
    if (!this.store.habits.hasLog) return [];
    const back = Math.min(this.seconds('transactionLogs'), now - (this.store.everBackups[0]?.start ?? now));
    const lost: string[] = [];
    for (const share of shares) {
      const instant = Math.ceil(now - share * back);
      for (const lineage of ever.runs.keys()) {
        if (!canReach(ever, lineage, instant) || canReach(here, lineage, instant)) continue;
        lost.push(
          `${this.store.name}: ${instant} of ${lineage} (${((now - instant) / DAY).toFixed(2)} days ago) is lost`,
        );
      }
    }
    return lost;
  }

  /** However long ago it was: of a store that is lost its last state is what everybody wants. */
  private lostNewest(here: Stored, ever: Stored): string[] {
    const newest = newestEnd(ever);
    if (!newest || canReach(here, ...newest)) return [];
    const isNewer = (each: SimBackup) => each.stop >= newest[1] && isRestorable(each, here);
    if ([...here.backups.values()].some(isNewer)) return [];
    return [`${this.store.name}: its newest state, ${newest[1]} of ${newest[0]}, is lost`];
  }

  private leftBackups(now: number, here: Stored): string[] {
    const all = [...here.backups.values()];
    const needed = new Set<string>();
    const want = (backup: SimBackup | undefined): void => {
      for (let each = backup; each && !needed.has(each.id); each = here.backups.get(each.parent ?? ''))
        needed.add(each.id);
    };
    for (const each of all) if (this.isPromised(each, now - DAY)) want(each);
    want(all.filter((each) => isRestorable(each, here)).toSorted((a, b) => b.stop - a.stop)[0]);
    if (here.hasLog) {
      const windowStart = now - DAY - this.seconds('transactionLogs');
      for (const each of all) if (each.parent === null && each.stop > windowStart) want(each);
      for (const lineage of here.runs.keys())
        for (const start of [windowStart, windowStart + DAY])
          for (const each of this.anchors(here, lineage, start)) want(each);
      for (const each of this.newestWay(here, windowStart).bases) want(each);
    }
    return all.filter(({ id }) => !needed.has(id)).map(({ id }) => `${this.store.name}: ${id} is needed by nothing`);
  }

  private leftLog(now: number, here: Stored): string[] {
    const windowStart = now - DAY - this.seconds('transactionLogs');
    const left: string[] = [];
    const newest = Math.max(...[...this.store.log.values()].flat().map(({ to }) => to));
    const ranges = new Map<string, Run[]>();
    const wantAll = (lineage: string, run: Run) => ranges.set(lineage, [...(ranges.get(lineage) ?? []), run]);
    for (const { lineage, start, stop } of here.backups.values()) wantAll(lineage, { from: start, to: stop });
    for (const lineage of here.runs.keys()) {
      for (const run of here.runs.get(lineage) ?? []) {
        if (run.to >= windowStart - 120)
          for (const way of this.waysBack(here, lineage, run, windowStart)) wantAll(...way);
      }
    }
    for (const way of this.newestWay(here, windowStart).ways) wantAll(...way);
    for (const [lineage, pieces] of this.store.log) {
      const own = (ranges.get(lineage) ?? []).toSorted((a, b) => a.from - b.from);
      for (const piece of pieces) {
        if (piece.storedAt > windowStart - 1_000 || piece.to === newest) continue;
        if (own.some(({ from, to }) => piece.to > from && piece.from < to)) continue;
        left.push(`${this.store.name}: log ${lineage} ${piece.from}-${piece.to} is needed by nothing`);
      }
    }
    return left;
  }

  /** What leads to the newest state of all, where that is older than the window. */
  private newestWay(here: Stored, windowStart: number): { ways: [string, Run][]; bases: SimBackup[] } {
    const newest = newestEnd(here);
    if (!newest || newest[1] >= windowStart + DAY) return { ways: [], bases: [] };
    const [lineage, end] = newest;
    const run = (here.runs.get(lineage) ?? []).find(({ to }) => to === end);
    const ways = run ? this.waysBack(here, lineage, run, windowStart) : [];
    const oldest = ways.at(-1);
    const bases = [...here.backups.values()].filter(
      (each) => each.lineage === oldest?.[0] && each.start === oldest[1].from,
    );
    return { ways, bases };
  }

  /** The stretches from the newest base before the window to the run, if there is such a base. */
  private waysBack(here: Stored, lineage: string, run: Run, windowStart: number): [string, Run][] {
    const found: [string, Run][] = [];
    for (let [at, part, until] = [lineage, run as Run | undefined, run.to]; part;) {
      const within = part;
      const base = basesIn(here, at, within, Math.min(until, windowStart))[0];
      if (base) return [...found, [at, { from: base.start, to: until }]];
      found.push([at, { from: within.from, to: until }]);
      const branch = here.branches.get(at);
      if (!branch || within.from > branch.at) return [];
      [at, until] = [branch.parent, branch.at];
      part = here.runs.get(at)?.find(({ from, to }) => from <= within.from && to >= within.from);
    }
    return [];
  }

  private anchors(here: Stored, lineage: string, windowStart: number): SimBackup[] {
    return (here.runs.get(lineage) ?? []).flatMap((run) => {
      if (run.to < windowStart - 120) return [];
      const oldest = this.waysBack(here, lineage, run, windowStart).at(-1);
      // Where nothing was before the window, the first one within it.
      if (!oldest) return firstOn(here, lineage, run);
      return [...here.backups.values()].filter((each) => each.lineage === oldest[0] && each.start === oldest[1].from);
    });
  }
}

function runsOf(log: ReadonlyMap<string, readonly SimPiece[]>): Map<string, Run[]> {
  const all = new Map<string, Run[]>();
  for (const [lineage, pieces] of log) {
    const runs: { from: number; to: number }[] = [];
    for (const { from, to } of pieces) {
      const last = runs.at(-1);
      if (last && last.to >= from) last.to = Math.max(last.to, to);
      else runs.push({ from, to });
    }
    all.set(lineage, runs);
  }
  return all;
}

function isRestorable(backup: SimBackup, { backups, runs, hasLog }: Stored): boolean {
  for (let each: SimBackup | undefined = backup; each.parent !== null;) {
    each = backups.get(each.parent);
    if (!each) return false;
  }
  const { lineage, start, stop } = backup;
  return !hasLog || start === stop || (runs.get(lineage) ?? []).some(({ from, to }) => from <= start && to >= stop);
}

/** Newest first: the bases whose log lies within the run and that are consistent by then. */
function basesIn(stored: Stored, lineage: string, run: Run, until: number): SimBackup[] {
  return [...stored.backups.values()]
    .filter((each) => each.lineage === lineage && each.start >= run.from && each.start <= run.to && each.stop <= until)
    .filter((each) => isRestorable(each, stored))
    .toSorted((a, b) => b.stop - a.stop);
}

/** The oldest base on the way to the run. */
function firstOn(stored: Stored, lineage: string, run: Run): SimBackup[] {
  let first: SimBackup[] = [];
  for (let [at, part, until] = [lineage, run as Run | undefined, run.to]; part;) {
    const within = part;
    first = basesIn(stored, at, within, until).slice(-1).concat(first).slice(0, 1);
    const branch = stored.branches.get(at);
    if (!branch || within.from > branch.at) return first;
    [at, until] = [branch.parent, branch.at];
    part = stored.runs.get(at)?.find(({ from, to }) => from <= within.from && to >= within.from);
  }
  return first;
}

/** The end of a run that can be reached, the newest. */
function newestEnd(stored: Stored): [lineage: string, end: number] | undefined {
  return [...stored.runs]
    .flatMap(([lineage, runs]) => runs.map(({ to }): [string, number] => [lineage, to]))
    .toSorted((a, b) => b[1] - a[1])
    .find((end) => canReach(stored, ...end));
}

function canReach(stored: Stored, lineage: string, instant: number): boolean {
  let run = stored.runs.get(lineage)?.find(({ from, to }) => from <= instant && instant <= to);
  for (let [at, until] = [lineage, instant]; run;) {
    if (basesIn(stored, at, run, until).length > 0) return true;
    const branch = stored.branches.get(at);
    const { from } = run;
    if (!branch || from > branch.at) return false;
    [at, until] = [branch.parent, Math.min(until, branch.at)];
    run = stored.runs.get(at)?.find((each) => each.from <= from && each.to >= from);
  }
  return false;
}
