import type { CallContext } from './call';
import type { Artifact, ArtifactKind, DumpResult, EarlyFile, Manifest } from './catalog';
import type { VolumeSink, VolumeSource } from './volumes';

/** One backup in the making. */
export interface BackupRef {
  readonly store: string;
  readonly backupId: string;
  readonly kind: ArtifactKind;
}

/** A try at dumping it. A try that died is never continued: the next one has a greater number and its own folders. */
export interface AttemptRef extends BackupRef {
  readonly attempt: number;
}

/** A dump in progress: the engine fills `sink`, then exactly one of the two ends it. */
export interface DumpAttempt {
  readonly sink: VolumeSink;
  finish(result: DumpResult): Promise<void>;
  discard(reason: unknown): Promise<void>;
}

/** `…/attempt-<n>/artifacts.json`: all that verifying and committing an attempt needs, on any host. */
export interface AttemptRecord {
  readonly formatVersion: 1;
  readonly store: string;
  readonly backupId: string;
  readonly attempt: number;
  readonly dump: DumpResult;
  readonly artifacts: readonly Artifact[];
  readonly early: readonly EarlyFile[];
}

/**
 * How the dumps of one store move into its repository (DESIGN §4 "Two ways to move a dump"). Spool folders belong to this
 * host; the repository is everybody's. What an attempt stored is kept in its own record beside its artifacts until the
 * commit, so that verifying and committing may run on any host and histories stay small.
 */
export interface BackupTransfer {
  /**
   * Spool: volumes become files of this host. Throws DiskFull before anything is written where it cannot fit, LockHeld
   * when the backup is committed and Aborted when it was swept as a whole (a workflow that was reset).
   */
  beginSpool(ref: AttemptRef, estimatedBytes: number | null): Promise<DumpAttempt>;
  /**
   * Uploads the volumes of the backup's newest attempt while they appear, and ends when that attempt was finished and
   * everything of it is stored. May be repeated: what the repository has, parts included, is not sent again. Throws
   * BackupIncomplete when the newest attempt failed and no newer one began before `ctx.signal` was aborted.
   */
  uploadSpool(ref: BackupRef, ctx: CallContext): Promise<AttemptRecord>;
  /** Stream: volumes go to the repository as they are written; `finish` resolves when everything is stored. Refuses as beginSpool does. */
  beginStream(ref: AttemptRef, ctx: CallContext): Promise<DumpAttempt>;
  /** What a finished attempt stored. Throws BackupIncomplete while it is not complete. */
  stored(ref: AttemptRef): Promise<AttemptRecord>;
  /** Compares size and digest that the repository reports with what was sent; BackupCorrupt names the object. */
  verify(record: AttemptRecord, ctx: CallContext): Promise<void>;
  /** Removes this host's spool of the backup; of one that is stored a copy stays where retention's `local` says so. */
  removeSpool(ref: BackupRef): Promise<void>;
  /**
   * Removes what attempts of the backup left in the repository, except the one kept; unfinished uploads included. With
   * null the backup is given up, and no commit that comes later can succeed; where it was committed already (the answer
   * was lost), or its commit had begun, it stays and the commit is completed. Throws UsageInvalid when another attempt
   * than the one to keep was committed.
   */
  sweep(ref: BackupRef, keepAttempt: number | null): Promise<void>;
  /** `fromLocalTier`: read what the local tier of this host has from there, after it was proven to be the very bytes. */
  source(chain: readonly Manifest[], options?: { readonly fromLocalTier: boolean }): VolumeSource;
  /**
   * Null where the repository's own word (there, size, digest) says nothing against an artifact; with `read` its bytes decide.
   * Throws what keeps anybody from looking.
   */
  whyUnusable(artifact: Artifact, how: 'head' | 'read'): Promise<string | null>;
  /** What of a committed backup is not stored any more, or not with its size, by listing alone; null where all is there. */
  whyIncomplete(manifest: Manifest): Promise<string | null>;
}
