import type { LogSpan } from './log-reach';

/** Why something is kept; the first of several is what a person is told. */
export type KeptFor =
  /** Its own time is not over; null: for ever. */
  | { readonly why: 'age'; readonly until: number | null }
  | { readonly why: 'hold'; readonly by: string; readonly reason: string }
  /** The newest backup of its store that can be restored. */
  | { readonly why: 'newest' }
  /** A run reads it now. */
  | { readonly why: 'in use'; readonly by: string }
  /** A backup that is kept builds on it. */
  | { readonly why: 'chain'; readonly backupId: string }
  /** Replay of log that is kept begins at it. */
  | { readonly why: 'log window' }
  /** Log that a kept backup needs, or that leads from it into the time that the log is kept for. */
  | { readonly why: 'backup'; readonly backupId: string }
  /** The end of the newest log: the archiver goes on behind it, and sees by it that nothing is missing between. */
  | { readonly why: 'end of the log' }
  /** Not enough is known to delete anything. */
  | { readonly why: 'unsure'; readonly because: string };

export interface BackupDecision {
  readonly backupId: string;
  readonly storedBytes: number;
  /** Empty where it is deletable. */
  readonly keptFor: readonly KeptFor[];
  /** Since when nothing needs it, in milliseconds; null where something does. */
  readonly deletableSince: number | null;
}

export interface NeededLog extends LogSpan {
  readonly for: KeptFor;
}

export const isDeletable = ({ keptFor }: Pick<BackupDecision, 'keptFor'>): boolean => keptFor.length === 0;

const iso = (milliseconds: number) => `${new Date(milliseconds).toISOString().slice(0, 16)}Z`;

/** `until 2033-11-21T02:00Z`, `hold by sam: audit 2026`. */
export function keptForText(kept: KeptFor): string {
  switch (kept.why) {
    case 'age':
      return kept.until === null ? 'for ever' : `until ${iso(kept.until)}`;
    case 'hold':
      return `hold by ${kept.by}: ${kept.reason}`;
    case 'newest':
      return 'the newest that can be restored';
    case 'in use':
      return `in use by ${kept.by}`;
    case 'chain':
      return `${kept.backupId} builds on it`;
    case 'log window':
      return 'replay of the log begins at it';
    case 'end of the log':
      return 'the archiver goes on behind it';
    case 'backup':
      return `replayed on ${kept.backupId}`;
    default:
      return kept.because;
  }
}
