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

/** The ancestors of a timeline, oldest first, from its history file (lines "tli TAB lsn TAB reason"). */
export function parseHistory(content: string): TimelineSwitch[] {
  return content
    .split('\n')
    .map((line) => /^\s*(\d+)\s+([0-9A-Fa-f]+\/[0-9A-Fa-f]+)/.exec(line))
    .filter((match) => match !== null)
    .map((match) => ({ timeline: Number(match[1]), switchLsn: parseLsn(match[2] as string) }));
}
