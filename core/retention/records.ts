import type { ArtifactKind, Manifest } from '../catalog';
import type { UnfinishedUpload } from '../repository';
import type { ListedEntry } from './log-stretches';

/** Somebody's word that a backup stays, with all that it needs, until it is released. */
export interface Hold {
  readonly store: string;
  readonly backupId: string;
  readonly by: string;
  readonly reason: string;
  readonly at: string;
}

/**
 * A run that reads from the repository, or builds on what is there: what it names is not deleted meanwhile. Renewed with each
 * of its steps; one that died is believed until `until`.
 */
export interface Use {
  readonly store: string;
  /** `restore` reads log as well; `backup` builds on a chain; `proof` looks at everything that there is. */
  readonly kind: 'restore' | 'backup' | 'proof';
  /** The id of its workflow. */
  readonly by: string;
  readonly backups: readonly string[];
  readonly since: string;
  readonly until: string;
}

/** Log pieces that follow each other and are all to go, by their keys' last parts. */
export interface LogRun {
  readonly lineage: string;
  readonly first: string;
  readonly last: string;
  readonly objects: number;
  readonly sizeBytes: number;
}

/** What a run said it would delete, before it deleted anything: only what is named in it goes. */
export interface Mark {
  readonly store: string;
  readonly runId: string;
  readonly markedAt: string;
  /** Not before. */
  readonly sweepAt: string;
  readonly by: string;
  readonly backups: readonly string[];
  readonly log: readonly LogRun[];
}

/** Data of a backup that has no manifest: what a crash, or a deletion that was not finished, left. */
export interface Leftover {
  readonly kind: ArtifactKind;
  readonly backupId: string;
  readonly objects: number;
  readonly sizeBytes: number;
  /** Of the newest of its objects, in milliseconds. */
  readonly newestAt: number;
}

/** What a sweep has to have seen: the use that a run announced, or the hold on a backup. */
export type SweepWord = { readonly useBy: string } | { readonly holdOn: string };

/** One store's side of the repository as retention sees it. Every method may be repeated. */
export interface RetentionStore {
  holds(): Promise<Hold[]>;
  /** LockHeld where another hold is on the backup already. */
  hold(hold: Hold): Promise<void>;
  /** Takes the hold away and notes who did, and why. Throws NotFound where there is none. */
  release(release: {
    readonly backupId: string;
    readonly by: string;
    readonly reason: string;
    readonly at: string;
  }): Promise<Hold>;

  /** Those that are believed at `now`. */
  uses(now: number): Promise<Use[]>;
  announce(use: Use): Promise<void>;
  /** Says that the run has ended, or reads no more. */
  withdraw(by: string): Promise<void>;

  /**
   * Claims of sweeps (core/retention/sweep-claim.ts) that may not have seen the use or the hold: that are not newer, and that were
   * believed until now, `waitedMilliseconds` after whoever asks began to. All times are the repository's. A sweep writes its claim,
   * then looks at holds and uses, and only then deletes.
   */
  sweepsUnawareOf(word: SweepWord, waitedMilliseconds: number): Promise<string[]>;
  claimSweep(name: string): Promise<void>;
  /** When the claim was written, by the repository's clock, in milliseconds; null where it is not there. */
  sweepClaimedAt(name: string): Promise<number | null>;
  endSweep(name: string): Promise<void>;

  mark(mark: Mark): Promise<void>;
  /** Null where the run marked nothing, or its mark is gone. */
  marked(runId: string): Promise<Mark | null>;
  unmark(runId: string): Promise<void>;

  lineages(): Promise<string[]>;
  /** The pieces of a lineage as they are listed, one after the other, hidden slices included. */
  scan(lineage: string): AsyncIterable<ListedEntry>;
  removeLog(keys: readonly string[], signal: AbortSignal): Promise<void>;

  /** The manifest as its commit noted it beside, for one that cannot be read any more; null where that tells nothing either. */
  notedManifest(backupId: string): Promise<Manifest | null>;

  /**
   * Makes the backup not exist: from here on it can neither be restored nor committed again, and what is stored of it are
   * leftovers.
   */
  removeManifest(backupId: string, signal: AbortSignal): Promise<void>;
  leftovers(): Promise<Leftover[]>;
  unfinishedUploads(): Promise<UnfinishedUpload[]>;
  abortUpload(upload: UnfinishedUpload): Promise<void>;
}
