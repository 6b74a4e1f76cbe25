import type { CallContext } from './call';

export interface MirrorRequest {
  readonly site: string;
  /** Compares and counts, changes nothing. */
  readonly dryRun: boolean;
  /** Of the objects that are there: a sync that would delete more of them deletes none. Null: what the config says. */
  readonly maxDeleteShare: number | null;
}

export interface MirrorResult {
  readonly site: string;
  readonly from: string;
  readonly to: string;
  readonly dryRun: boolean;
  readonly uploaded: number;
  readonly uploadedBytes: number;
  readonly unchanged: number;
  readonly deleted: number;
  /** The first of the names that were (or with `dryRun` would be) uploaded and deleted, for people. */
  readonly uploadedNames: readonly string[];
  readonly deletedNames: readonly string[];
  /** What is not in the mirror, and why. */
  readonly notes: readonly string[];
}

/** Keeps an exact copy of a directory where the public reads it, deletions included. */
export interface AssetMirror {
  readonly from: string;
  /** Shown to people: `s3://bucket/prefix`. */
  readonly to: string;
  /**
   * Makes the copy equal, by content and not by times; may be repeated. New and changed files first, deletions last, so
   * that no page names a file that is not there. Throws DeletionRefused with nothing deleted, TargetUnreachable for a
   * source that is missing or empty, and the errors of a repository.
   */
  sync(request: MirrorRequest, ctx: CallContext): Promise<MirrorResult>;
}
