import { countOf, formatBytes, formatDuration } from '../core/clock';
import type { KeptLog } from '../core/engine';
import type { RecoveryWindow } from '../core/recovery';
import type { WindowGap } from '../core/recovery-gaps';
import { shortTime, tableLines } from './table';
import { barCells, drawBar } from './window-bar';

/** What of a store's past can be restored, and whether its log is being followed. */
export interface LogStatus {
  readonly store: string;
  readonly windows: readonly RecoveryWindow[];
  /** Between the windows: nothing there can be restored. */
  readonly gaps: readonly WindowGap[];
  /** Seconds of changes that are not stored yet; null when not known. */
  readonly atRiskSeconds: number | null;
  readonly archiver: 'running' | 'not running' | 'unknown';
  /** Why its log cannot be judged (a damaged history file); null where it can. */
  readonly problem: string | null;
}

/** With what the server itself says of its log. */
export interface WatchedLog extends LogStatus {
  readonly engine: string;
  readonly rpoSeconds: number;
  /** The site that is active, and what of its server is known. */
  readonly source: {
    readonly site: string;
    readonly lineage: string | null;
    /** Null where the server holds nothing for an archiver, or did not answer. */
    readonly keptLog: KeptLog | null;
    /** Why it could not be asked; null where it was. */
    readonly problem: string | null;
  };
}

const INDENT = '  ';
/** Fits a terminal of 80 columns. */
const BAR_CELLS = 76;

/** Of each store: one line of judgement, the window as a bar, its parts, what the server keeps. */
export function logLines(stores: readonly WatchedLog[], now: Date, hasColour: boolean): string[] {
  if (stores.length === 0) return ['None of these stores has a log.'];
  return stores.flatMap((each, index) => [
    ...(index > 0 ? [''] : []),
    `${each.store}  ${each.engine}: ${judgement(each)}`,
    ...[...windowLines(each, now, hasColour), ...serverLines(each)].map((line) => (line ? INDENT + line : line)),
  ]);
}

function judgement({ windows, gaps, atRiskSeconds, rpoSeconds, archiver, problem }: WatchedLog): string {
  if (problem !== null) return `ITS LOG CANNOT BE READ: ${problem}`;
  const objective = formatDuration(rpoSeconds * 1_000);
  if (windows.length === 0) return 'NOTHING CAN BE RESTORED: no backup is stored with its log';
  const risk = formatDuration((atRiskSeconds ?? 0) * 1_000);
  const late = (atRiskSeconds ?? 0) > rpoSeconds;
  return [
    `${risk} at risk${late ? ` - OVER ITS OBJECTIVE OF ${objective}` : ` (objective ${objective})`}`,
    gaps.length === 0 ? 'no gap' : countOf(gaps.length, 'gap'),
    `archiver ${archiver === 'not running' ? 'NOT RUNNING' : archiver}`,
  ].join(', ');
}

function windowLines(
  { windows, gaps, atRiskSeconds, rpoSeconds }: WatchedLog,
  now: Date,
  hasColour: boolean,
): string[] {
  const [first] = windows.map(({ from }) => from).toSorted();
  const last = windows
    .map(({ to }) => to)
    .toSorted()
    .at(-1);
  if (first === undefined || last === undefined) return [];
  // What is within the objective is how archiving works; more than that is missing and is drawn so.
  const until = (atRiskSeconds ?? 0) > rpoSeconds ? now.toISOString() : last;
  const [left, right] = [shortTime(first), until === last ? shortTime(until) : 'now'];
  const parts = [
    ...windows.map(({ from, to, lineage }) => ({ from, to, what: lineage ?? '' })),
    ...gaps.map(({ from, to }) => ({ from, to, what: 'GAP: cannot be restored' })),
  ].toSorted((a, b) => a.from.localeCompare(b.from) || a.to.localeCompare(b.to));
  return [
    drawBar(barCells(windows, until, BAR_CELLS), hasColour),
    left.padEnd(BAR_CELLS - right.length) + right,
    '',
    ...tableLines(
      ['from', 'to', 'length', 'lineage'],
      parts.map(({ from, to, what }) => [
        shortTime(from),
        shortTime(to),
        formatDuration(Date.parse(to) - Date.parse(from)),
        what,
      ]),
    ),
    '',
  ];
}

function serverLines({ source: { site, lineage, keptLog, problem } }: WatchedLog): string[] {
  if (problem !== null) return [`server at ${site} cannot be asked: ${problem}`];
  const on = lineage === null ? `server at ${site}` : `server at ${site} writes ${lineage}`;
  return [on, ...(keptLog === null ? [] : [keptLine(keptLog)])];
}

const STATES: Readonly<Record<KeptLog['state'], string>> = {
  reading: 'is being read',
  waiting: 'waits for an archiver',
  endangered: 'IS ABOUT TO BE LOST',
  lost: 'IS LOST: a new full backup is needed, and is taken when the archiver runs',
  absent: 'IS GONE: nothing keeps the log for an archiver',
  unused: 'is not there yet: no archiver ever ran',
};

function keptLine({ holder, state, keptBytes, headroomBytes }: KeptLog): string {
  const isHeld = state === 'reading' || state === 'waiting' || state === 'endangered';
  const held = keptBytes === null ? '' : `, ${formatBytes(keptBytes)} not archived yet`;
  const room = !isHeld
    ? ''
    : headroomBytes === null
      ? ', NO LIMIT: it can fill the disk'
      : `, lost after ${formatBytes(Math.max(0, headroomBytes))} more`;
  return `slot ${holder} ${STATES[state]}${isHeld ? held : ''}${room}`;
}
