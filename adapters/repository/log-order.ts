import type { LogEntry, LogNaming } from '../../core/log-archive';

/**
 * Entries in log order, without the slices that lie inside a segment (a replaced slice that is not removed yet, or that
 * came late from an archiver believed dead). Of slices that begin at one position (an archiver that began anew there wrote
 * more than the one before it) the longest is last: the log goes on at its end.
 */
export function hideReplaced(entries: readonly LogEntry[], { compare }: Pick<LogNaming, 'compare'>): LogEntry[] {
  const ends = (a: LogEntry, b: LogEntry) => (a.kind === 'segment' ? compare(b.to, a.to) : compare(a.to, b.to));
  const sorted = entries.toSorted((a, b) => compare(a.from, b.from) || kindOrder(a, b) || ends(a, b));
  const visible: LogEntry[] = [];
  let segmentsEnd: LogEntry['to'] | null = null;
  for (const entry of sorted) {
    const isHidden = segmentsEnd !== null && compare(entry.to, segmentsEnd) <= 0;
    if (entry.kind === 'slice' && isHidden) continue;
    visible.push(entry);
    if (entry.kind === 'segment' && !isHidden) segmentsEnd = entry.to;
  }
  return visible;
}

/** A segment before the slices that start with it. */
function kindOrder(a: LogEntry, b: LogEntry): number {
  return a.kind === b.kind ? 0 : a.kind === 'segment' ? -1 : 1;
}
