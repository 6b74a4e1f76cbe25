import type { RecoveryWindow } from './recovery';

/** Instants between two windows to which nothing can be restored. */
export interface WindowGap {
  readonly from: string;
  readonly to: string;
}

/** The gaps between windows. Windows of several lineages overlap: what one of them covers is no gap. */
export function gapsBetween(windows: readonly RecoveryWindow[]): WindowGap[] {
  const gaps: WindowGap[] = [];
  let reach: string | null = null;
  for (const { from, to } of windows.toSorted((a, b) => Date.parse(a.from) - Date.parse(b.from))) {
    if (reach !== null && Date.parse(from) > Date.parse(reach)) gaps.push({ from: reach, to: from });
    if (reach === null || Date.parse(to) > Date.parse(reach)) reach = to;
  }
  return gaps;
}
