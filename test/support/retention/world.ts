import type { Position } from '../../../core/positions';
import type { LineageParent } from '../../../core/retention/log-reach';
import { type ListedEntry, StretchBuilder } from '../../../core/retention/log-stretches';
import { goingBackups, planStore, type StorePlan } from '../../../core/retention/plan-store';
import type { RetentionKind, RetentionPolicy } from '../../../core/retention/policy';
import type { Hold } from '../../../core/retention/records';
import type { SeededRandom } from '../random';

/**
 * A store of a simulated application and its repository. Time and positions are seconds of one clock: a backup whose log
 * goes from 100 to 130 was consistent at 130. Nothing of the planner is used to judge it (model.ts).
 */
export interface SimBackup {
  readonly id: string;
  readonly kind: RetentionKind;
  readonly parent: string | null;
  readonly lineage: string;
  readonly start: number;
  readonly stop: number;
}

export interface SimPiece {
  readonly from: number;
  readonly to: number;
  readonly storedAt: number;
}

export interface Branch {
  readonly parent: string;
  readonly at: number;
}

export interface Habits {
  readonly fullEvery: number;
  readonly fullKind: RetentionKind;
  /** 0: none. */
  readonly incrementalEvery: number;
  readonly pieceSeconds: number;
  readonly hasLog: boolean;
  /** The chance of each piece of log to be lost, and of each day to bring a promotion. */
  readonly gaps: number;
  readonly promotions: number;
  readonly missedBackups: number;
}

export class SimStore {
  readonly name: string;
  readonly habits: Habits;
  readonly backups = new Map<string, SimBackup>();
  readonly log = new Map<string, SimPiece[]>();
  /** All that ever was, as if nothing had been deleted. */
  readonly everBackups: SimBackup[] = [];
  readonly everLog = new Map<string, { from: number; to: number }[]>();
  readonly branches = new Map<string, Branch>();
  readonly holds: Hold[] = [];
  private readonly random: SeededRandom;
  private lineage = 'sys/1';
  private lineages = 1;
  private clock: number;
  private logFrom: number;
  private wantsFull = true;
  private counter = 0;

  constructor(name: string, habits: Habits, random: SeededRandom, start: number) {
    this.name = name;
    this.habits = habits;
    this.random = random;
    this.clock = start;
    this.logFrom = start;
  }

  /** Lets the store live until then. */
  advance(until: number): void {
    const { pieceSeconds, fullEvery, incrementalEvery, hasLog } = this.habits;
    const happens = (chance: number) => chance > 0 && this.random.integer(1_000_000) < chance * 1_000_000;
    while (this.clock + pieceSeconds <= until) {
      this.clock += pieceSeconds;
      if (hasLog) this.archive(happens(this.habits.gaps));
      if (hasLog && happens((this.habits.promotions * pieceSeconds) / 86_400)) this.promote();
      const due = (every: number) => every > 0 && this.clock % every < pieceSeconds;
      if (due(fullEvery) || this.wantsFull) {
        if (!happens(this.habits.missedBackups)) this.backUp(null);
      } else if (due(incrementalEvery) && !happens(this.habits.missedBackups))
        this.backUp(this.everBackups.at(-1)?.id ?? null);
    }
  }

  /** Nothing is written, backed up or archived until then: it is lost, or nobody uses it. */
  fallSilent(until: number): void {
    this.clock += Math.floor((until - this.clock) / this.habits.pieceSeconds) * this.habits.pieceSeconds;
  }

  private archive(lost: boolean): void {
    const [from, to] = [this.logFrom, this.clock];
    this.logFrom = this.clock;
    if (lost) {
      this.wantsFull = true;
      return;
    }
    const pieces = this.log.get(this.lineage) ?? [];
    this.log.set(this.lineage, pieces);
    pieces.push({ from, to, storedAt: to + this.random.integer(60) });
    const ever = this.everLog.get(this.lineage) ?? [];
    this.everLog.set(this.lineage, ever);
    const last = ever.at(-1);
    if (last && last.to === from) last.to = to;
    else ever.push({ from, to });
  }

  /** The new lineage repeats the last piece of the old one; sometimes the old one is only a restore's, without a parent. */
  private promote(): void {
    const next = `sys/${++this.lineages}`;
    if (this.random.integer(4) > 0) {
      this.branches.set(next, { parent: this.lineage, at: this.clock - this.random.integer(this.habits.pieceSeconds) });
      this.logFrom = this.clock - this.habits.pieceSeconds;
    }
    this.lineage = next;
    this.wantsFull = true;
    this.archive(false);
  }

  private backUp(parent: string | null): void {
    const { hasLog, fullKind, pieceSeconds } = this.habits;
    const previous = parent === null ? null : this.backups.get(parent);
    if (parent !== null && (!previous || previous.lineage !== this.lineage)) return this.backUp(null);
    const run = this.everLog.get(this.lineage)?.at(-1);
    // Without its log no backup is committed; it is tried again.
    this.wantsFull = hasLog && run?.to !== this.clock;
    if (this.wantsFull) return;
    const start = run ? Math.max(run.from, this.clock - 1 - this.random.integer(3 * pieceSeconds)) : this.clock;
    const stamp = new Date(this.clock * 1_000).toISOString().replaceAll(/[-:]|\.\d+/g, '');
    const id = `${stamp}-${previous ? 'incr' : 'full'}-${String(++this.counter).padStart(8, '0')}`;
    const kind = previous ? 'databaseIncremental' : fullKind;
    const backup: SimBackup = {
      id,
      kind,
      parent: previous?.id ?? null,
      lineage: this.lineage,
      start,
      stop: this.clock,
    };
    this.backups.set(id, backup);
    this.everBackups.push(backup);
  }

  plan(now: number, policy: RetentionPolicy): StorePlan {
    const position = (lineage: string, value: number): Position => ({ engine: 'sim', lineage, value: String(value) });
    const compare = (a: Position, b: Position) => {
      if (a.lineage !== b.lineage) throw new Error(`${a.lineage} and ${b.lineage} are compared`);
      return Number(a.value) - Number(b.value);
    };
    const stretches = [...this.log].flatMap(([lineage, pieces]) => {
      const builder = new StretchBuilder(compare);
      for (const piece of pieces) builder.add(this.entry(lineage, piece));
      return builder.stretches();
    });
    const parentOf = (lineage: string): LineageParent | null => {
      const branch = this.branches.get(lineage);
      return branch ? { lineage: branch.parent, leftAt: position(branch.parent, branch.at) } : null;
    };
    return planStore({
      store: this.name,
      now: now * 1_000,
      policy,
      backups: [...this.backups.values()].map((each) => ({
        backupId: each.id,
        kind: each.kind,
        parent: each.parent,
        consistentAt: each.stop * 1_000,
        committedAt: each.stop * 1_000,
        storedBytes: 1,
        log: this.habits.hasLog
          ? { lineage: each.lineage, from: position(each.lineage, each.start), to: position(each.lineage, each.stop) }
          : null,
        damage: null,
      })),
      log: this.habits.hasLog ? { stretches, parentOf, compare } : null,
      holds: this.holds,
      uses: [],
    });
  }

  /** Deletes what the plan lets go, in its order; dies after `steps` deletions. */
  sweep(plan: StorePlan, steps = Infinity): void {
    let left = steps;
    for (const { backupId } of goingBackups(plan)) if (left-- > 0) this.backups.delete(backupId);
    for (const [lineage, pieces] of this.log) {
      const goes = (piece: SimPiece) => plan.log?.keptFor(this.entry(lineage, piece)) === null && left-- > 0;
      this.log.set(
        lineage,
        pieces.filter((piece) => !goes(piece)),
      );
    }
  }

  private entry(lineage: string, { from, to, storedAt }: SimPiece): ListedEntry {
    return {
      key: `${lineage}/${from}-${to}`,
      lineage,
      from: { engine: 'sim', lineage, value: String(from) },
      to: { engine: 'sim', lineage, value: String(to) },
      sizeBytes: 1,
      storedAt: storedAt * 1_000,
    };
  }
}
