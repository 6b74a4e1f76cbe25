import type { CallContext } from './call';
import type { Amount } from './retention/runs';

/** Something that could not be copied as it is: what is stored of it at the source is damaged, or builds on what is. */
export interface NotCopied {
  readonly key: string;
  readonly problem: string;
}

/** `copies/<store>.json` of the copy: how much of the store it holds. Readable when everything else is lost. */
export interface CopyRecord {
  readonly formatVersion: 1;
  readonly application: string;
  readonly store: string;
  /** Where it was copied from. */
  readonly from: string;
  /** All that could be copied of what was stored at this moment is in the copy. */
  readonly completeUntil: string;
  /** When all of the log was compared last; in between only its end is listed. */
  readonly wholeListingAt: string;
  /** By lineage, the key of the log up to which nothing changes any more. */
  readonly settled: Readonly<Record<string, string>>;
  readonly notCopied: readonly NotCopied[];
}

/** How far a run has come, small enough for a heartbeat: whoever takes it over lists only what is behind it. */
export interface CopyProgress {
  readonly startedAt: string;
  readonly backups: Amount;
  readonly log: Amount;
  readonly others: Amount;
  /** The key of the log up to which everything of this lineage is copied; lineages before it in order are done. */
  readonly lineage: string | null;
  readonly logKey: string | null;
  readonly notCopied: readonly NotCopied[];
}

export interface CopiedStore {
  readonly store: string;
  readonly copy: string;
  readonly backups: Amount;
  readonly log: Amount;
  /** Data keys, history files, holds. */
  readonly others: Amount;
  readonly notCopied: readonly NotCopied[];
  readonly completeUntil: string;
  readonly seconds: number;
}

/** What a copy lacks, by listings alone. */
export interface CopyComparison {
  readonly store: string;
  readonly copy: string;
  readonly location: string;
  readonly completeUntil: string | null;
  readonly maxLagSeconds: number;
  readonly notCopied: readonly NotCopied[];
  /** Backups that can be read from the copy. */
  readonly backups: number;
  /** Ids of those that only the source has. */
  readonly missing: readonly string[];
  /** Those that only the copy has still. */
  readonly more: readonly string[];
}

/** Keeps one store's backups and log the same in a further repository. Every method may be repeated, and goes on where a try died. */
export interface StoreCopier {
  /** What the last complete run left; null before the first. */
  record(): Promise<CopyRecord | null>;
  compare(): Promise<CopyComparison>;
  /**
   * Copies what the copy lacks, without asking the store: data keys first, then backups, the newest chain before the others,
   * each with its manifest last, then the log. What differs from its manifest at the source is not copied and is named.
   * `announce` is told of each chain before it is read. Never deletes what only the copy has.
   */
  run(
    request: { readonly wholeListing: boolean },
    resume: CopyProgress | null,
    keep: (progress: CopyProgress) => void,
    announce: (backups: readonly string[]) => Promise<void>,
    ctx: CallContext,
  ): Promise<CopiedStore>;
}

export const NOTHING_COPIED: Amount = { objects: 0, sizeBytes: 0 };

/** How far a copy is behind at `at`: nothing older than this is missing in it. Null: it was never complete. */
export function copyLagSeconds(record: Pick<CopyRecord, 'completeUntil'> | null, at: string): number | null {
  return record === null ? null : Math.max(0, (Date.parse(at) - Date.parse(record.completeUntil)) / 1_000);
}
