import type { Position } from '../positions';
import type { KeptFor, NeededLog } from './decisions';
import type { ComparePositions, ListedEntry } from './log-stretches';

export interface LogKeeping {
  /** Not null: nothing goes, for this reason. */
  readonly everything: KeptFor | null;
  /** Whatever was stored later than this stays, in milliseconds. */
  readonly storedAfter: number;
  /** Where the newest log ends; null where there is none. */
  readonly end: Position | null;
  /** How long a piece is kept for its own sake; null: for ever. */
  readonly seconds: number | null;
}

/** Ranges of one lineage joined where they overlap; `for` that of the first. */
interface Joined {
  readonly from: NeededLog['from'];
  to: NeededLog['to'];
  readonly for: KeptFor;
}

/** What becomes of each piece of a store's log, asked piece by piece: a plan holds as little of a million as of ten. */
export class LogPlan {
  private readonly byLineage = new Map<string, Joined[]>();
  private readonly compare: ComparePositions;
  private readonly keeping: LogKeeping;
  private cursor = { lineage: '', index: -1 };

  constructor(needed: readonly NeededLog[], compare: ComparePositions, keeping: LogKeeping) {
    this.compare = compare;
    this.keeping = keeping;
    const real = needed.filter(({ from, to }) => compare(from, to) < 0);
    for (const [lineage, ranges] of Map.groupBy(real, (each) => each.lineage)) {
      const joined: Joined[] = [];
      for (const each of ranges.toSorted((a, b) => compare(a.from, b.from))) {
        const last = joined.at(-1);
        if (!last || compare(last.to, each.from) < 0) joined.push({ from: each.from, to: each.to, for: each.for });
        else if (compare(last.to, each.to) < 0) last.to = each.to;
      }
      this.byLineage.set(lineage, joined);
    }
  }

  /** Null for a piece that nothing needs any more. */
  keptFor({ lineage, from, to, storedAt }: Omit<ListedEntry, 'key' | 'sizeBytes'>): KeptFor | null {
    const { everything, storedAfter, seconds, end } = this.keeping;
    if (everything) return everything;
    if (storedAfter === -Infinity || storedAt > storedAfter)
      return { why: 'age', until: seconds === null ? null : storedAt + seconds * 1_000 };
    if (end && end.lineage === lineage && this.compare(to, end) >= 0) return { why: 'end of the log' };
    return this.rangeOver(lineage, from, to)?.for ?? null;
  }

  /** Since when its own time is over, in milliseconds. */
  expiredAt({ storedAt }: Pick<ListedEntry, 'storedAt'>): number {
    return storedAt + (this.keeping.seconds ?? 0) * 1_000;
  }

  /** The last range that begins before the piece's end is the only one that may reach into it. */
  private rangeOver(lineage: string, from: ListedEntry['from'], to: ListedEntry['to']): Joined | null {
    const ranges = this.byLineage.get(lineage) ?? [];
    const last = ranges[this.lastBefore(ranges, lineage, to)];
    return last && this.compare(from, last.to) < 0 ? last : null;
  }

  /** Pieces are asked for in the order of the log: the answer is mostly the one before, or the next. */
  private lastBefore(ranges: readonly Joined[], lineage: string, to: ListedEntry['to']): number {
    const begins = (index: number) => index < ranges.length && this.compare((ranges[index] as Joined).from, to) < 0;
    const before = this.cursor.lineage === lineage ? this.cursor.index : -1;
    let low = before >= 0 && !begins(before) ? 0 : before + 1;
    if (begins(low)) {
      let high = ranges.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (begins(middle)) low = middle + 1;
        else high = middle;
      }
    }
    this.cursor = { lineage, index: low - 1 };
    return low - 1;
  }
}
