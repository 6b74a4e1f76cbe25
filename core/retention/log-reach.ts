import type { Manifest } from '../catalog';
import type { Position } from '../positions';

/** A part of one lineage's log. Empty where `from` and `to` are equal. */
export interface LogSpan {
  readonly lineage: string;
  readonly from: Position;
  readonly to: Position;
}

/** Where a lineage came from. It counts its positions on from its parent's, and its log may repeat the parent's last part. */
export interface LineageParent {
  readonly lineage: string;
  /** In the parent's positions: what lies behind it there is no part of the way. */
  readonly leftAt: Position;
}

/** What an engine's restores read of the log, for whoever decides what may be deleted. Pure functions. */
export interface LogReach {
  /**
   * The log without which the backup itself cannot be restored; replay to anything later begins at its `from`. Null for a
   * backup that no log leads on from.
   */
  needs(backup: Manifest): LogSpan | null;
  /**
   * The lineage that a lineage continues: a restore may begin there. Null where it continues none, `unknown` where what
   * tells it is missing or damaged. `history` as `LogArchive.history` answers it.
   */
  parentOf(lineage: string, history: ReadonlyMap<string, Buffer | Error>): LineageParent | null | 'unknown';
}
