import { setTimeout as sleep } from 'node:timers/promises';
import type { CallContext } from '../../../core/call';
import { failure, hasCode } from '../../../core/errors';
import type { LogArchive, LogEntry } from '../../../core/log-archive';
import { type HistoryFile, readHistory } from './kept-history';
import { floorToSegment, formatLsn, lineageOf, parseLsn, systemOf } from './lsn';
import type { ReplicationConnection } from './replication-connection';
import { type Overlap, SPLIT_BRAIN_NEXT } from './same-history';
import type { TimelineSwitch } from './timeline-history';

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
  /** What is archived before the first stretch, where it continues no slice that would tell: the server must have the same. */
  readonly overlap: Overlap | null;
  /** To be kept once the server was seen to have what is archived, and before anything of its timeline is. */
  readonly histories: readonly HistoryFile[];
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
  ctx: CallContext,
): Promise<ArchiveStart> {
  const [systemId, timelineText, flushed] = (await connection.query('IDENTIFY_SYSTEM'))[0] as [string, string, string];
  const timeline = Number(timelineText);
  const lineage = lineageOf(systemId, timeline);
  const { switches, missing: histories } = await readHistory(connection, systemId, timeline, archive);
  const entries = await sweptEntries(archive, lineage, ctx);
  if (entries.length > 0) {
    const stretch = resume(lineage, timeline, entries, segmentBytes);
    if (parseLsn(flushed) < stretch.durable) {
      throw failure(
        'LogGap',
        `${lineage} is archived up to ${formatLsn(stretch.durable)}, the server has only ${flushed}`,
        {
          data: 'The server lost WAL that it had sent, or is a copy of an earlier state under the same timeline.',
          next: SPLIT_BRAIN_NEXT,
        },
      );
    }
    const overlap = stretch.slices.length > 0 ? null : overlapBefore(stretch.durable, entries);
    return { systemId, stretches: [stretch], overlap, histories, needsBase: null };
  }
  const behind = await behindAncestors(systemId, switches, archive, segmentBytes, ctx);
  if (behind !== null) {
    const from = floorToSegment((switches.at(-1) as TimelineSwitch).switchLsn, segmentBytes);
    const stretches = [...behind.missing, untouched(lineage, timeline, from)];
    return { systemId, stretches, overlap: behind.overlap, histories, needsBase: null };
  }
  const others = (await archive.lineages()).filter((each) => each !== lineage);
  const first = await begin(connection, slot, lineage, timeline, segmentBytes);
  // Said with the place: a slot that is lost meanwhile begins at another one, which another base has to come after.
  const anew = `its log begins anew at ${formatLsn(first.from)}`;
  return {
    systemId,
    stretches: [first],
    overlap: null,
    histories,
    needsBase:
      others.length === 0
        ? null
        : others.some((each) => systemOf(each) === systemId)
          ? `timeline ${timeline} does not continue anything that is archived: ${anew}`
          : `the server is another cluster (${systemId}) than the one archived before: ${anew}`,
  };
}

/**
 * What is missing of the timelines that led to the server's: the rest of the newest one that is archived, and all of those
 * after it. A successor's first segment repeats its ancestor's bytes up to the switch, so that of a timeline that was never
 * archived only earlier segments can be missing. Where no slice is continued, the ancestor's last piece before the switch
 * is the overlap. Null where nothing of any of them is archived.
 */
async function behindAncestors(
  systemId: string,
  history: readonly TimelineSwitch[],
  archive: LogArchive,
  segmentBytes: bigint,
  ctx: CallContext,
): Promise<{ missing: Stretch[]; overlap: Overlap | null } | null> {
  const missing: Stretch[] = [];
  for (let index = history.length - 1; index >= 0; index -= 1) {
    const { timeline, switchLsn } = history[index] as TimelineSwitch;
    const lineage = lineageOf(systemId, timeline);
    const before = await sweptEntries(archive, lineage, ctx);
    const end = floorToSegment(switchLsn, segmentBytes);
    const begun = history[index - 1];
    const from = begun ? floorToSegment(begun.switchLsn, segmentBytes) : end;
    const rest =
      before.length > 0 ? resume(lineage, timeline, before, segmentBytes) : untouched(lineage, timeline, from);
    // Of an archived timeline its very end as well: it is what somebody restores who names the timeline.
    const isMissing = rest.durable < (before.length > 0 ? switchLsn : end);
    if (isMissing) missing.unshift({ ...rest, until: switchLsn });
    if (before.length === 0) continue;
    const last = rest.durable < switchLsn ? rest.durable : switchLsn;
    return { missing, overlap: isMissing && rest.slices.length > 0 ? null : overlapBefore(last, before) };
  }
  return null;
}

/**
 * What is archived of a lineage. An archiver that died between a whole segment and the removal of its slices left slices
 * that no later one continues: they are removed here, once their segment was read back. Where it cannot be, they are what
 * is left of that WAL: they stay, and the archive goes on, because what the server writes now must not wait for a repair.
 */
async function sweptEntries(archive: LogArchive, lineage: string, ctx: CallContext): Promise<LogEntry[]> {
  for (const { segment, slices } of await archive.replaced(lineage)) {
    try {
      await archive.replace(slices, segment);
      ctx.log.info({ segment: segment.key, slices: slices.length }, 'removed slices that a segment had replaced');
    } catch (error) {
      if (!hasCode(error, 'BackupCorrupt')) throw error;
      ctx.log.error({ segment: segment.key, cause: String(error) }, 'a segment is damaged: its slices are kept');
    }
  }
  return archive.entries(lineage);
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
  return untouched(lineage, timeline, floorToSegment(parseLsn(restartLsn), segmentBytes));
}

function untouched(lineage: string, timeline: number, from: bigint): Stretch {
  return { lineage, timeline, from, durable: from, until: null, slices: [] };
}

function resume(lineage: string, timeline: number, entries: readonly LogEntry[], segmentBytes: bigint): Stretch {
  // Two archivers may have overlapped for a moment: the last entry is not always the one that reaches furthest.
  const durable = entries.map((each) => parseLsn(each.to.value)).reduce((a, b) => (a > b ? a : b));
  const from = floorToSegment(durable, segmentBytes);
  const slices = entries.filter((entry) => entry.kind === 'slice' && parseLsn(entry.from.value) >= from);
  return { lineage, timeline, from, durable, until: null, slices };
}

/** The last piece that begins before a position. */
function overlapBefore(position: bigint, entries: readonly LogEntry[]): Overlap | null {
  const entry = entries.findLast((each) => parseLsn(each.from.value) < position);
  if (!entry) return null;
  const to = parseLsn(entry.to.value);
  return { entry, until: to < position ? to : position };
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
