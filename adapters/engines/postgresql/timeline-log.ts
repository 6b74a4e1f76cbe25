import type { LogEntry } from '../../../core/log-archive';
import { parseLsn, timelineOf } from './lsn';

/**
 * One timeline's archived log, its positions read once: whatever is asked of it for however many backups is answered by
 * halving. A month at 1 MB/s is 160,000 entries, and each of hundreds of backups has a way through them.
 */
export class TimelineLog {
  readonly timeline: number;
  /** Only those that lead further than all before them (see `hideReplaced` for those that do not): `to` grows. */
  readonly entries: readonly LogEntry[];
  private readonly from: readonly bigint[];
  private readonly to: readonly bigint[];
  /** Of each entry: the index behind the last one that it leads to without a gap. */
  private readonly unbrokenUntil: Uint32Array;

  /** `all`: in log order. */
  constructor(lineage: string, all: readonly LogEntry[]) {
    this.timeline = timelineOf(lineage);
    const entries: LogEntry[] = [];
    const [from, to]: [bigint[], bigint[]] = [[], []];
    for (const entry of all) {
      const end = parseLsn(entry.to.value);
      if (end <= (to.at(-1) ?? -1n)) continue;
      entries.push(entry);
      from.push(parseLsn(entry.from.value));
      to.push(end);
    }
    const unbrokenUntil = new Uint32Array(entries.length);
    for (let index = entries.length - 1, end = index + 1; index >= 0; index -= 1) {
      unbrokenUntil[index] = end;
      if (index > 0 && (from[index] as bigint) > (to[index - 1] as bigint)) end = index;
    }
    this.entries = entries;
    this.from = from;
    this.to = to;
    this.unbrokenUntil = unbrokenUntil;
  }

  /** Index of the first entry from `low` on that ends at `lsn` or behind it; the number of entries where none does. */
  endingAt(lsn: bigint, low = 0): number {
    return firstIndex(this.to, low, (to) => to >= lsn);
  }

  /** The entries that lead on from `start` without a gap, those that begin at `until` or behind it left out. */
  behind(start: bigint, until: bigint | null): LogStretch {
    const first = this.endingAt(start + 1n);
    if (first === this.entries.length || (this.from[first] as bigint) > start) {
      return { log: this, first, end: first, reaches: start };
    }
    const unbroken = this.unbrokenUntil[first] as number;
    const end =
      until === null
        ? unbroken
        : Math.min(
            unbroken,
            firstIndex(this.from, first, (from) => from >= until),
          );
    return { log: this, first, end, reaches: end > first ? (this.to[end - 1] as bigint) : start };
  }
}

/** The entries `first` to `end` (exclusive) of a timeline, without a gap. */
export interface LogStretch {
  readonly log: TimelineLog;
  readonly first: number;
  readonly end: number;
  /** Where the last one ends. */
  readonly reaches: bigint;
}

/** The unbroken log behind a backup, in replay order; its entries are counted through all its timelines. */
export class LogChain {
  readonly stretches: readonly LogStretch[];
  /** Whether it reaches the backup's stop position: without that the backup cannot be used. */
  readonly reachesStop: boolean;
  private all: readonly LogEntry[] | null = null;

  constructor(stretches: readonly LogStretch[], reachesStop: boolean) {
    this.stretches = stretches;
    this.reachesStop = reachesStop;
  }

  /** Put together when they are asked for: of hundreds of backups few are looked at so closely. */
  get entries(): readonly LogEntry[] {
    this.all ??= this.stretches.flatMap(({ log, first, end }) => log.entries.slice(first, end));
    return this.all;
  }

  get last(): LogEntry | undefined {
    const end = this.stretches.at(-1);
    return end?.log.entries[end.end - 1];
  }

  /** Index of the first entry that ends at `lsn` or behind it, of one timeline or of any; -1 where none does. */
  endingAt(lsn: bigint, timeline: number | null = null): number {
    let before = 0;
    for (const { log, first, end } of this.stretches) {
      const index = timeline === null || timeline === log.timeline ? log.endingAt(lsn, first) : end;
      if (index < end) return before + index - first;
      before += end - first;
    }
    return -1;
  }
}

/** Of ordered values the first from `low` on that `holds`, by its index; all behind it hold as well. */
function firstIndex(values: readonly bigint[], low: number, holds: (value: bigint) => boolean): number {
  let [from, to] = [low, values.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if (holds(values[middle] as bigint)) to = middle;
    else from = middle + 1;
  }
  return from;
}
