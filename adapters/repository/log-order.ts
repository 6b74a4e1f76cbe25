import type { LogEntry, LogNaming, ReplacedSlices } from '../../core/log-archive';

/** The entries of a lineage by whether a reader needs them. */
export interface ArrangedLog {
  /**
   * In log order, without the slices that lie inside a segment (a replaced slice that is not removed yet, or that came late
   * from an archiver believed dead). Of slices that begin at one position (an archiver that began anew there wrote more than
   * the one before it) the longest is last: the log goes on at its end.
   */
  readonly visible: LogEntry[];
  /** The slices that are left out, by the segment that holds what they hold. */
  readonly replaced: ReplacedSlices[];
}

export function arrange(entries: readonly LogEntry[], { compare }: Pick<LogNaming, 'compare'>): ArrangedLog {
  const ends = (a: LogEntry, b: LogEntry) => (a.kind === 'segment' ? compare(b.to, a.to) : compare(a.to, b.to));
  const sorted = entries.toSorted((a, b) => compare(a.from, b.from) || kindOrder(a, b) || ends(a, b));
  const visible: LogEntry[] = [];
  const replaced = new Map<LogEntry, LogEntry[]>();
  let segment: LogEntry | null = null;
  for (const entry of sorted) {
    const isCovered: boolean = segment !== null && compare(entry.to, segment.to) <= 0;
    if (entry.kind === 'slice' && segment !== null && isCovered) {
      replaced.set(segment, [...(replaced.get(segment) ?? []), entry]);
      continue;
    }
    visible.push(entry);
    if (entry.kind === 'segment' && !isCovered) segment = entry;
  }
  return { visible, replaced: [...replaced].map(([by, slices]) => ({ segment: by, slices })) };
}

/** A segment before the slices that start with it. */
function kindOrder(a: LogEntry, b: LogEntry): number {
  return a.kind === b.kind ? 0 : a.kind === 'segment' ? -1 : 1;
}

/** Keys of the entries before which something is missing: the pieces of a lineage touch each other. `inOrder` as of `arrange`. */
export function holesIn(inOrder: readonly LogEntry[], { compare }: Pick<LogNaming, 'compare'>): string[] {
  const holes: string[] = [];
  let [furthest] = inOrder;
  for (const entry of inOrder) {
    if (!furthest) break;
    if (compare(furthest.to, entry.from) < 0) holes.push(entry.key);
    if (compare(furthest.to, entry.to) < 0) furthest = entry;
  }
  return holes;
}
