import type { ArtifactKind } from '../catalog';

/** The rows of the retention table. */
export const RETENTION_KINDS = [
  'databaseFull',
  'databaseIncremental',
  'transactionLogs',
  'files',
  'configuration',
] as const;
export type RetentionKind = (typeof RETENTION_KINDS)[number];

/** How long each tier keeps a kind, in seconds; null: for ever. */
export interface TierSeconds {
  /** A copy in the spool of the worker that made the backup, as long as its disk has room; 0: none. */
  readonly local: number | null;
  /** The repository, in a storage class that is read at once. */
  readonly cloud: number | null;
  /** The repository, in whatever storage class. */
  readonly archive: number | null;
}

export type RetentionPolicy = Readonly<Record<RetentionKind, TierSeconds>>;

/** How retention goes about its work. */
export interface RetentionSettings {
  readonly policy: RetentionPolicy;
  /** From the mark to the sweep: time to put a hold on what was marked. */
  readonly graceSeconds: number;
  /** A run that would delete a larger share of a store's backups, or of its bytes, refuses. */
  readonly maxDeleteShare: number;
  /** Data without a manifest, and unfinished uploads, that are younger may belong to a backup that runs. */
  readonly orphansAfterSeconds: number;
}

const KIND_OF: Readonly<Record<ArtifactKind, RetentionKind>> = {
  full: 'databaseFull',
  incr: 'databaseIncremental',
  files: 'files',
  config: 'configuration',
};

export const kindOf = (artifactKind: ArtifactKind): RetentionKind => KIND_OF[artifactKind];

/** How long the repository keeps a kind: as long as the tier that keeps it longest. Null: for ever. */
export function keptSeconds(policy: RetentionPolicy, kind: RetentionKind): number | null {
  const { cloud, archive } = policy[kind];
  return cloud === null || archive === null ? null : Math.max(cloud, archive);
}
