import type { LogEntry } from '../../core/log-archive';

/**
 * Entries in log order, without the slices that lie inside a segment (a replaced slice that is not removed yet, or that
 * came late from an archiver believed dead).
 */
export function hideReplaced(entries: readonly LogEntry[]): LogEntry[] {
  const sorted = entries.toSorted(
    (a, b) => compareValues(a.from.value, b.from.value) || kindOrder(a, b) || compareValues(b.to.value, a.to.value),
  );
  const visible: LogEntry[] = [];
  let segmentsEnd: string | null = null;
  for (const entry of sorted) {
    const isHidden = segmentsEnd !== null && compareValues(entry.to.value, segmentsEnd) <= 0;
    if (entry.kind === 'slice' && isHidden) continue;
    visible.push(entry);
    if (entry.kind === 'segment' && !isHidden) segmentsEnd = entry.to.value;
  }
  return visible;
}

/** A segment before the slices that start with it. */
function kindOrder(a: LogEntry, b: LogEntry): number {
  return a.kind === b.kind ? 0 : a.kind === 'segment' ? -1 : 1;
}

/**
 * Orders positions of one lineage by what their notations have in common (LSN `0/3000148`, optime `1763800000:3`, offset
 * `1234567`): numbers, most significant first, all in one base. The engine's codec decides wherever more is asked.
 */
export function compareValues(a: string, b: string): number {
  const [left, right] = [a.toUpperCase().split(/[^0-9A-Z]+/), b.toUpperCase().split(/[^0-9A-Z]+/)];
  for (let part = 0; part < Math.max(left.length, right.length); part += 1) {
    const [one, other] = [left[part] ?? '', right[part] ?? ''];
    const width = Math.max(one.length, other.length);
    const [x, y] = [one.padStart(width, '0'), other.padStart(width, '0')];
    if (x !== y) return x < y ? -1 : 1;
  }
  return 0;
}
