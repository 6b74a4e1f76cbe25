import { hasCode } from '../../../core/errors';
import type { LogReach } from '../../../core/retention/log-reach';
import { floorToSegment, lineageOf, parseLsn, positionAt, systemOf, timelineOf } from './lsn';
import { historyKey, parseHistory, type TimelineSwitch } from './timeline-history';

/**
 * What a restore reads of the WAL: for the backup itself from the segment in which it began to where it became consistent
 * (backups hold no WAL of their own), and on through the timelines that its own leads to, as log-chain.ts goes.
 */
export const logReach: LogReach = {
  needs({ start, stop, lineage, detail }) {
    const segmentBytes = Number(detail['segmentBytes']);
    if (!start || !stop || lineage === null || !Number.isSafeInteger(segmentBytes) || segmentBytes <= 0) return null;
    const from = floorToSegment(parseLsn(start.value), BigInt(segmentBytes));
    return { lineage, from: positionAt(lineage, from), to: positionAt(lineage, parseLsn(stop.value)) };
  },

  parentOf(lineage, history) {
    const [systemId, timeline] = [systemOf(lineage), timelineOf(lineage)];
    if (timeline === 1) return null;
    const name = historyKey(systemId, timeline);
    const content = history.get(name);
    if (!(content instanceof Buffer)) return 'unknown';
    const parent = lastSwitch(content, timeline, name);
    if (!parent) return 'unknown';
    const before = lineageOf(systemId, parent.timeline);
    return { lineage: before, leftAt: positionAt(before, parent.switchLsn) };
  },
};

/** Null for a file that cannot be read: whoever restores is told what is wrong with it. */
function lastSwitch(content: Buffer, timeline: number, name: string): TimelineSwitch | null {
  try {
    return parseHistory(content.toString('utf8'), timeline, `history file ${name}`).at(-1) ?? null;
  } catch (error) {
    if (!hasCode(error, 'BackupCorrupt')) throw error;
    return null;
  }
}
