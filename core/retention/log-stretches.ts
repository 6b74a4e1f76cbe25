import type { LogEntry } from '../log-archive';
import type { Position } from '../positions';

/** A stored piece of the log as a listing shows it, without what nobody plans with. */
export type ListedEntry = Pick<LogEntry, 'key' | 'lineage' | 'from' | 'to' | 'sizeBytes'> & {
  /** When it was stored, by the repository's clock, in milliseconds: what it holds is older. */
  readonly storedAt: number;
};

/** Log of one lineage without a gap: all that a plan has to know of any number of pieces. */
export interface LogStretch {
  readonly lineage: string;
  readonly from: Position;
  readonly to: Position;
  readonly newestAt: number;
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

export type ComparePositions = (a: Position, b: Position) => number;

/**
 * Joins the pieces of one lineage as they are listed. Names sort as the log does but for pieces that begin alike (a segment
 * comes behind its slices), so that a piece may close a gap that was just seen.
 */
export class StretchBuilder {
  private readonly compare: ComparePositions;
  private readonly found: Writable<LogStretch>[] = [];

  constructor(compare: ComparePositions) {
    this.compare = compare;
  }

  add({ lineage, from, to, storedAt }: ListedEntry): void {
    const before = this.found.at(-1);
    // Nearly every one of a million: told without reading a position.
    if (before && before.to.value === from.value) {
      before.to = to;
      if (storedAt > before.newestAt) before.newestAt = storedAt;
      return;
    }
    let joined: LogStretch = { lineage, from, to, newestAt: storedAt };
    for (let last = this.found.at(-1); last && this.touches(last, joined); last = this.found.at(-1)) {
      this.found.pop();
      joined = this.union(last, joined);
    }
    this.found.push(joined);
  }

  /** In log order. */
  stretches(): readonly LogStretch[] {
    return this.found;
  }

  private touches(before: LogStretch, after: LogStretch): boolean {
    return this.compare(before.to, after.from) >= 0 && this.compare(before.from, after.to) <= 0;
  }

  private union(a: LogStretch, b: LogStretch): LogStretch {
    return {
      lineage: a.lineage,
      from: this.compare(a.from, b.from) <= 0 ? a.from : b.from,
      to: this.compare(a.to, b.to) >= 0 ? a.to : b.to,
      newestAt: Math.max(a.newestAt, b.newestAt),
    };
  }
}
