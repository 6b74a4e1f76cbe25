import type { Position } from './positions';

/** Something in a repository that is not as it was stored, or not there. */
export interface Finding {
  readonly store: string;
  /** The backup that it belongs to; null for the log. */
  readonly backupId: string | null;
  /** The object; of a missing piece of log, whose name nobody knows any more, the one before or behind it. */
  readonly key: string;
  /** `notice`: nothing that can be restored needs it. */
  readonly severity: 'damage' | 'notice';
  readonly problem: string;
  /** What cannot be restored any more because of it. */
  readonly consequence: string;
}

/** The continuous part of one lineage of a log as a listing shows it. */
export interface LogRange {
  readonly lineage: string;
  readonly from: Position;
  readonly to: Position;
  readonly firstKey: string;
  readonly lastKey: string;
  readonly pieces: number;
  /** Keys of pieces before which something is missing. */
  readonly holes: readonly string[];
}

export interface ObjectCount {
  readonly backups: number;
  readonly objects: number;
  readonly logPieces: number;
  /** Stored bytes that were read; 0 where only listings were. */
  readonly readBytes: number;
}
