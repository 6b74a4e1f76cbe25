import type { CallContext } from './call';
import type { Artifact, DumpResult, EarlyFile, JsonObject } from './catalog';
import type { VolumeSink } from './volumes';

/** A finished volume in the spool: durable, complete, and never changed again. */
export interface SpooledVolume extends Omit<Artifact, 'key'> {
  readonly path: string;
}

export interface SpooledEarly extends Omit<EarlyFile, 'key'> {
  readonly path: string;
}

/** What the uploader sees of a backup's spool, in order. After `attempt` everything seen before it is void. */
export type SpoolEvent =
  | { readonly kind: 'attempt'; readonly attempt: number }
  | { readonly kind: 'volume'; readonly volume: SpooledVolume }
  | { readonly kind: 'early'; readonly early: SpooledEarly }
  | { readonly kind: 'failed'; readonly reason: string }
  | { readonly kind: 'done'; readonly dump: DumpResult };

/** One try at dumping into the spool. Ends with `finish` or `fail`; neither when the process died. */
export interface SpoolAttempt extends VolumeSink {
  readonly attempt: number;
  readonly directory: string;
  /** Throws BackupIncomplete while a volume is still open. Repeatable. */
  finish(dump: DumpResult): Promise<void>;
  /** Discards what is still open and tells the uploader. Never throws: the dump's own error is the one to report. */
  fail(error: unknown): Promise<void>;
}

export interface SpoolRequest {
  readonly store: string;
  readonly backupId: string;
  /** The least number the attempt may have: greater than any that the repository has seen (`CatalogStore.nextAttempt`). */
  readonly atLeast: number;
  /** How many bytes are expected to be spooled (after compression), for the check of free space; null: unknown. */
  readonly expectedBytes: number | null;
  readonly targetVolumeBytes: number;
}

export interface SpooledBackup {
  readonly store: string;
  readonly backupId: string;
  readonly sizeBytes: number;
  readonly modifiedAt: string;
}

/** The folder of one host where dumps wait for their upload; also the strategy's local copy until it is removed. */
export interface Spool {
  readonly directory: string;
  /** Opens a new attempt, which makes older ones of the backup obsolete and removes them. Throws DiskFull beforehand. */
  begin(request: SpoolRequest): Promise<SpoolAttempt>;
  /**
   * Follows the newest attempt of a backup, also one that another process writes or that begins later. Returns after
   * `done`. After `failed` it waits for a newer attempt: leave the loop, or abort the signal, to stop waiting.
   */
  follow(store: string, backupId: string, signal: AbortSignal): AsyncGenerator<SpoolEvent, void>;
  /** Removes every attempt of the backup; fine when there is none. */
  remove(store: string, backupId: string): Promise<void>;
  /** What is in the spool, for the local retention. */
  list(): Promise<SpooledBackup[]>;
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
  /** What the caller wants to hand on to the commit (type, parent, …). */
  readonly plan: JsonObject;
}

export type UploadSpooled = (request: UploadRequest, ctx: CallContext) => Promise<AttemptRecord>;

export interface UploadRequest {
  readonly store: string;
  readonly backupId: string;
  /** The prefix of an attempt's artifacts (`layout.attempt`). */
  attemptPrefix(attempt: number): string;
  readonly plan: JsonObject;
  /** What the last heartbeat of an earlier try said; null at first. */
  readonly resume: UploadProgress | null;
  onProgress(progress: UploadProgress): void;
}

/** Where an upload is, for a heartbeat: finished volumes are found in the repository, so only those in flight are named. */
export interface UploadProgress {
  readonly attempt: number;
  readonly inFlight: readonly import('./repository').UploadState[];
}
