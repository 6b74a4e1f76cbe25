import { setTimeout as sleep } from 'node:timers/promises';
import type { CallContext } from '../../../core/call';
import { failure, hasCode } from '../../../core/errors';
import type { LogArchive, LogEntry } from '../../../core/log-archive';
import { floorToSegment, formatLsn, lineageOf, parseLsn, systemOf } from './lsn';
import type { ReplicationConnection } from './replication-connection';
import { historyKey, parseHistory, type TimelineSwitch } from './timeline-history';

/** A stretch of one timeline that is to be archived. */
export interface Stretch {
  readonly lineage: string;
  readonly timeline: number;
  /** First position of a segment. */
  readonly from: bigint;
  /** What of it is durable already. */
  readonly durable: bigint;
  /** Where the timeline ended; null for the current one. */
  readonly until: bigint | null;
  /** Stored slices of the segment that `from` begins; the whole segment will replace them. */
  readonly slices: readonly LogEntry[];
}

export interface ArchiveStart {
  readonly systemId: string;
  /** Ancestors first, where something of them is still missing. */
  readonly stretches: readonly Stretch[];
  readonly needsBase: string | null;
}

/** A killed archiver's walsender is gone within a moment; one whose host died holds the slot until wal_sender_timeout. */
const SLOT_FREE_MILLISECONDS = 5_000;

/** Resolves where archiving has to go on: behind what is durable, over promotions, or anew after a gap. */
export async function findStart(
  connection: ReplicationConnection,
  slot: string,
  archive: LogArchive,
  segmentBytes: bigint,
): Promise<ArchiveStart> {
  const [systemId, timelineText, flushed] = (await connection.query('IDENTIFY_SYSTEM'))[0] as [string, string, string];
  const timeline = Number(timelineText);
  const lineage = lineageOf(systemId, timeline);
  const history = await keepHistory(connection, systemId, timeline, archive);
  const entries = await archive.entries(lineage);
  if (entries.length > 0) {
    const stretch = resume(lineage, timeline, entries, segmentBytes);
    if (parseLsn(flushed) < stretch.durable) {
      throw failure(
        'LogGap',
        `${lineage} is archived up to ${formatLsn(stretch.durable)}, the server has only ${flushed}`,
        {
          data: 'The server lost WAL that it had sent, or is a copy of an earlier state under the same timeline.',
          next: 'Find out which server is the right one; promote it (a new timeline) and take a new full backup.',
        },
      );
    }
    return { systemId, stretches: [stretch], needsBase: null };
  }
  const behind = await behindAncestors(systemId, history, archive, segmentBytes);
  if (behind !== null) {
    const from = floorToSegment((history.at(-1) as TimelineSwitch).switchLsn, segmentBytes);
    const current = { lineage, timeline, from, durable: from, until: null, slices: [] };
    return { systemId, stretches: [...behind, current], needsBase: null };
  }
  const others = (await archive.lineages()).filter((each) => each !== lineage);
  return {
    systemId,
    stretches: [await begin(connection, slot, lineage, timeline, segmentBytes)],
    needsBase:
      others.length === 0
        ? null
        : others.some((each) => systemOf(each) === systemId)
          ? `timeline ${timeline} does not continue anything that is archived`
          : `the server is another cluster (${systemId}) than the one archived before`,
  };
}

/**
 * What is missing of the timelines that led to the server's: the rest of the newest one that is archived, and all of those
 * after it. A successor's first segment repeats its ancestor's bytes up to the switch, so that only earlier segments can
 * be missing. Null where nothing of any of them is archived.
 */
async function behindAncestors(
  systemId: string,
  history: readonly TimelineSwitch[],
  archive: LogArchive,
  segmentBytes: bigint,
): Promise<Stretch[] | null> {
  const missing: Stretch[] = [];
  for (let index = history.length - 1; index >= 0; index -= 1) {
    const { timeline, switchLsn } = history[index] as TimelineSwitch;
    const lineage = lineageOf(systemId, timeline);
    const before = await archive.entries(lineage);
    const end = floorToSegment(switchLsn, segmentBytes);
    const begun = history[index - 1];
    const from = begun ? floorToSegment(begun.switchLsn, segmentBytes) : end;
    const rest =
      before.length > 0
        ? resume(lineage, timeline, before, segmentBytes)
        : { lineage, timeline, from, durable: from, until: null, slices: [] };
    if (rest.durable < end) missing.unshift({ ...rest, until: switchLsn });
    if (before.length > 0) return missing;
  }
  return null;
}

/** Where a slot's WAL begins: for a first start, and after a gap. */
export async function begin(
  connection: ReplicationConnection,
  slot: string,
  lineage: string,
  timeline: number,
  segmentBytes: bigint,
): Promise<Stretch> {
  const [, restartLsn] = (await connection.query(`READ_REPLICATION_SLOT ${slot}`))[0] as [string, string | null];
  if (!restartLsn) throw failure('TargetUnreachable', `the replication slot ${slot} reserves no WAL`);
  const from = floorToSegment(parseLsn(restartLsn), segmentBytes);
  return { lineage, timeline, from, durable: from, until: null, slices: [] };
}

function resume(lineage: string, timeline: number, entries: readonly LogEntry[], segmentBytes: bigint): Stretch {
  // Two archivers may have overlapped for a moment: the last entry is not always the one that reaches furthest.
  const durable = entries.map((each) => parseLsn(each.to.value)).reduce((a, b) => (a > b ? a : b));
  const from = floorToSegment(durable, segmentBytes);
  const slices = entries.filter((entry) => entry.kind === 'slice' && parseLsn(entry.from.value) >= from);
  return { lineage, timeline, from, durable, until: null, slices };
}

/** Makes sure that the slot exists and reserves WAL. Repeatable. */
export async function ensureSlot(connection: ReplicationConnection, slot: string): Promise<void> {
  const [type, restartLsn] = (await connection.query(`READ_REPLICATION_SLOT ${slot}`))[0] as [
    string | null,
    string | null,
  ];
  if (type !== null && restartLsn !== null) return;
  if (type !== null) await connection.query(`DROP_REPLICATION_SLOT ${slot}`);
  await connection.query(`CREATE_REPLICATION_SLOT ${slot} PHYSICAL RESERVE_WAL`);
}

/** Replaces a slot whose WAL is gone by one that reserves what is there. */
export async function renewSlot(connection: ReplicationConnection, slot: string, ctx: CallContext): Promise<void> {
  await dropSlot(connection, slot, ctx);
  await ensureSlot(connection, slot);
}

/** Fine where there is none. Waits a little for an archiver that is just ending; LockHeld for one that goes on. */
export async function dropSlot(connection: ReplicationConnection, slot: string, ctx: CallContext): Promise<void> {
  const deadline = Date.now() + SLOT_FREE_MILLISECONDS;
  for (;;) {
    try {
      await connection.query(`DROP_REPLICATION_SLOT ${slot}`);
      return;
    } catch (error) {
      if (/does not exist/.test(String(error))) return;
      if (!isSlotBusy(error)) throw error;
      if (Date.now() > deadline) {
        throw failure('LockHeld', `the replication slot ${slot} is used by an archiver`, { cause: error });
      }
      await sleep(100, undefined, { signal: ctx.signal });
    }
  }
}

export function isSlotBusy(error: unknown): boolean {
  return /replication slot .* is active for PID/.test(String(error));
}

/** The server has already removed what we asked for: a gap in our log. */
export function isWalGone(error: unknown): boolean {
  return (
    hasCode(error, 'TargetUnreachable') &&
    /has already been removed|can no longer access replication slot|can no longer get changes|invalidated/.test(
      String(error),
    )
  );
}

/** History files are tiny and choose the segments at every later restore: all of them are kept for ever. */
async function keepHistory(
  connection: ReplicationConnection,
  systemId: string,
  timeline: number,
  archive: LogArchive,
): Promise<TimelineSwitch[]> {
  if (timeline === 1) return [];
  const [, content] = (await connection.query(`TIMELINE_HISTORY ${timeline}`))[0] as [string, string];
  const known = await archive.history();
  const switches = parseHistory(content);
  if (!known.has(historyKey(systemId, timeline))) {
    await archive.putHistory(historyKey(systemId, timeline), Buffer.from(content));
  }
  for (const each of switches) {
    if (each.timeline === 1 || known.has(historyKey(systemId, each.timeline))) continue;
    const [, older] = (await connection.query(`TIMELINE_HISTORY ${each.timeline}`))[0] as [string, string];
    await archive.putHistory(historyKey(systemId, each.timeline), Buffer.from(older));
  }
  return switches;
}
