import type { CallContext } from '../../../core/call';
import type { LogArchive, LogEntry } from '../../../core/log-archive';
import { floorToSegment, lineageOf, systemOf, timelineOf } from './lsn';
import { historyKey, intact, parseHistory, type TimelineSwitch } from './timeline-history';
import { TimelineLog } from './timeline-log';
import { WalSearch } from './wal-search';

/** Where a standby is. */
export interface StandbyPlace {
  readonly systemId: string;
  readonly timeline: number;
  readonly replayed: bigint;
  /** On its disk: at `replayed` or behind it. */
  readonly received: bigint;
  readonly segmentBytes: bigint;
}

/** One timeline's part of what is archived behind a standby, without a gap. */
export interface WayStretch {
  readonly timeline: number;
  /** Where its successor begins; null for the last one. */
  readonly until: bigint | null;
  readonly entries: readonly LogEntry[];
  readonly from: bigint;
  readonly reaches: bigint;
}

/** What is archived of a standby's history from where it is, in the order of replay. */
export interface ArchivedWay {
  readonly systemId: string;
  readonly stretches: readonly WayStretch[];
  /** The history files that the standby may ask for, by timeline. */
  readonly histories: ReadonlyMap<number, Buffer>;
  /** The newest timeline that it leads to. */
  readonly timeline: number;
  readonly reaches: bigint;
  /** Whether more of the last timeline is archived behind a hole. */
  readonly broken: boolean;
}

/**
 * The archived log that leads on from where the standby is: along its own timeline, and into the newest one that branched
 * off at or behind that place. Null where nothing of its cluster is archived.
 */
export async function archivedWay(log: LogArchive, place: StandbyPlace): Promise<ArchivedWay | null> {
  const { systemId, timeline, received, segmentBytes } = place;
  const newestFirst = (await log.lineages())
    .filter((lineage) => systemOf(lineage) === systemId)
    .map(timelineOf)
    .filter((each) => each >= timeline)
    .toSorted((a, b) => b - a);
  if (newestFirst.length === 0) return null;
  const stored = await log.history();
  const historyOf = (each: number) => intact(stored.get(historyKey(systemId, each)));
  const path = newestFirst.map((each) => wayTo(each, historyOf(each), place)).find((found) => found !== null);
  if (!path) return null;

  const stretches: WayStretch[] = [];
  let cursor = received;
  let broken = false;
  for (const { timeline: each, until } of path) {
    const lineage = lineageOf(systemId, each);
    const own = new TimelineLog(lineage, await log.entries(lineage));
    const start = floorToSegment(cursor, segmentBytes);
    // A standby asks for whole segments; an archive that began within this one has the rest, which is all that it lacks.
    const whole = own.behind(start, until);
    const found = whole.end > whole.first ? whole : own.behind(cursor, until);
    const entries = own.entries.slice(found.first, found.end);
    const reaches = until !== null && found.reaches > until ? until : found.reaches;
    stretches.push({ timeline: each, until, entries, from: found === whole ? start : cursor, reaches });
    const end = own.entries.at(-1);
    broken = end !== undefined && found.end < own.entries.length && until === null;
    if (until !== null && reaches < until) break;
    cursor = until ?? reaches;
  }
  const last = stretches.at(-1) as WayStretch;
  const timelines = stretches.map((each) => each.timeline);
  const histories = timelines.flatMap((each) => {
    const history = historyOf(each);
    return history ? [[each, history] as const] : [];
  });
  return { systemId, stretches, histories: new Map(histories), timeline: last.timeline, reaches: last.reaches, broken };
}

/** From the standby's timeline to another one; null where that one branched off before the place where the standby is. */
function wayTo(
  wanted: number,
  history: Buffer | undefined,
  { timeline, received, systemId }: StandbyPlace,
): { readonly timeline: number; readonly until: bigint | null }[] | null {
  const last = { timeline: wanted, until: null };
  if (wanted === timeline) return [last];
  if (!history) return null;
  const ancestors: TimelineSwitch[] = parseHistory(history.toString('utf8'), wanted, historyKey(systemId, wanted));
  const from = ancestors.findIndex((each) => each.timeline === timeline);
  const own = ancestors[from];
  if (!own || own.switchLsn < received) return null;
  return [...ancestors.slice(from).map((each) => ({ timeline: each.timeline, until: each.switchLsn })), last];
}

/**
 * Where the last record that is archived whole begins: a server that has replayed past it has all that a restore would have.
 * What lies behind it is the beginning of a record that nobody can replay. Null for a way without one.
 */
export async function lastRecordOf(way: ArchivedWay, log: LogArchive, ctx: CallContext): Promise<bigint | null> {
  const entries = way.stretches.flatMap((each) => each.entries);
  const last = await new WalSearch(log, ctx).last(entries);
  return last === null ? null : last.record.start;
}
