import { countOf, formatDuration } from '../clock';
import { copyLagSeconds } from '../copies';

/** How far a copy of a store is, by what its last complete run left there. */
export interface CopyView {
  /** The name of its repository. */
  readonly copy: string;
  /** All that was stored then is in the copy; null where no run was ever complete. */
  readonly completeUntil: string | null;
  readonly maxLagSeconds: number;
  /** Objects that could not be copied, because they are damaged at the source, or frozen there. */
  readonly notCopied: number;
  /** Why nobody can tell; null where it could be read. */
  readonly problem: string | null;
}

/** Null: not known, or never complete. */
export function lagSecondsOf({ completeUntil }: CopyView, at: string): number | null {
  return copyLagSeconds(completeUntil === null ? null : { completeUntil }, at);
}

/** What is wrong with the copies of a store that was backed up first at `backedUpSince`; null: never, so that nothing is to be copied. */
export function judgeCopies(copies: readonly CopyView[], at: string, backedUpSince: string | null): string[] {
  return copies.flatMap((view) => [...judgeLag(view, at, backedUpSince), ...judgeContent(view)]);
}

function judgeLag(view: CopyView, at: string, backedUpSince: string | null): string[] {
  const { copy, maxLagSeconds, problem } = view;
  if (problem !== null) return [`how far its copy in ${copy} is cannot be seen: ${problem}`];
  if (backedUpSince === null) return [];
  const lag = lagSecondsOf(view, at);
  const seconds = lag ?? copyLagSeconds({ completeUntil: backedUpSince }, at) ?? 0;
  if (seconds <= maxLagSeconds) return [];
  const text = (of: number) => formatDuration(of * 1_000);
  return lag === null
    ? [`its copy in ${copy} was never complete, for ${text(seconds)} since its first backup`]
    : [`its copy in ${copy} is ${text(lag)} behind, more than ${text(maxLagSeconds)}`];
}

function judgeContent({ copy, notCopied }: CopyView): string[] {
  if (notCopied === 0) return [];
  return [`${countOf(notCopied, 'object')} of it cannot be copied to ${copy}: drctl copies list`];
}
