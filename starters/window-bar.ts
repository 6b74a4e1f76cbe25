import type { RecoveryWindow } from '../core/recovery';
import { gapsBetween } from '../core/recovery-gaps';

export type BarCell = 'whole' | 'broken' | 'missing';

/**
 * A stretch of time in equal cells. A cell with any part of a gap in it is never `whole`, so that a gap of a second is seen in
 * a bar of a month. Nothing is `missing` behind the last window before `until` is reached by a cell of its own.
 */
export function barCells(windows: readonly RecoveryWindow[], until: string, cells: number): BarCell[] {
  const begin = Math.min(...windows.map(({ from }) => Date.parse(from)));
  const span = Math.max(1, Date.parse(until) - begin);
  const last = Math.max(...windows.map(({ to }) => Date.parse(to)));
  const holes = gapsBetween(windows).map(({ from, to }) => [Date.parse(from), Date.parse(to)] as const);
  return Array.from({ length: cells }, (_, index) => {
    const [from, to] = [begin + (span * index) / cells, begin + (span * (index + 1)) / cells];
    if (from >= last && last < begin + span) return 'missing';
    const inside = holes.filter(([hole, end]) => hole < to && end > from);
    if (inside.some(([hole, end]) => hole <= from && end >= to)) return 'missing';
    return inside.length > 0 ? 'broken' : 'whole';
  });
}

const GLYPHS: Readonly<Record<BarCell, string>> = { whole: '█', broken: '▒', missing: '·' };
/** Green, yellow, red: SGR codes of every terminal. */
const COLOURS: Readonly<Record<BarCell, number>> = { whole: 32, broken: 33, missing: 31 };

/** `████▒····████`; with colour each run of equal cells in its own. */
export function drawBar(cells: readonly BarCell[], hasColour: boolean): string {
  let drawn = '';
  for (let at = 0; at < cells.length;) {
    const kind = cells[at] as BarCell;
    const end = cells.findIndex((cell, index) => index > at && cell !== kind);
    const length = (end === -1 ? cells.length : end) - at;
    const run = GLYPHS[kind].repeat(length);
    drawn += hasColour ? `\u001b[${COLOURS[kind]}m${run}\u001b[0m` : run;
    at += length;
  }
  return drawn;
}
