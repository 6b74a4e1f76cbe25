import { failure } from '../../../core/errors';
import { parseLsn } from './lsn';

/** One switch: `timeline` ended at `switchLsn`, where its successor began. */
export interface TimelineSwitch {
  readonly timeline: number;
  readonly switchLsn: bigint;
}

/** `0000000A.history`, as the server names and asks for it. */
export function historyName(timeline: number): string {
  return `${timeline.toString(16).toUpperCase().padStart(8, '0')}.history`;
}

/** Under which name the repository keeps it: two clusters have equal timelines. */
export function historyKey(systemId: string, timeline: number): string {
  return `${systemId}-${historyName(timeline)}`;
}

const LINE = /^\s*(?<timeline>[1-9]\d{0,9})\s+(?<lsn>[0-9A-F]{1,8}\/[0-9A-F]{1,8})(?:\s|$)/;

/**
 * The ancestors of `timeline`, oldest first, from its history file: lines "tli TAB lsn TAB reason". As strict as the server
 * (timeline.c readTimeLineHistory): only empty lines and comments may be something else, and each timeline is newer than the
 * one before it. `where` is named by the BackupCorrupt that is thrown otherwise.
 */
export function parseHistory(content: string, timeline: number, where: string): TimelineSwitch[] {
  const switches: TimelineSwitch[] = [];
  for (const [index, line] of content.split('\n').entries()) {
    if (/^\s*(#|$)/.test(line)) continue;
    const found = LINE.exec(line)?.groups;
    const ancestor = Number(found?.['timeline']);
    if (!found || ancestor <= (switches.at(-1)?.timeline ?? 0) || ancestor >= timeline) {
      throw failure(
        'BackupCorrupt',
        `${where}: line ${index + 1} is not of a history of timeline ${timeline}: ${line}`,
      );
    }
    switches.push({ timeline: ancestor, switchLsn: parseLsn(found['lsn'] as string) });
  }
  if (switches.length > 0) return switches;
  throw failure('BackupCorrupt', `${where}: it names no timeline that led to timeline ${timeline}`);
}

/** What `LogArchive.history` answers, where it is needed. Throws what stands in the place of a damaged one. */
export function intact<T extends Buffer | undefined>(history: T | Error): T {
  if (history instanceof Error) throw history;
  return history;
}
