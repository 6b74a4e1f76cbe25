import type { Position } from './positions';

/** What the old primary of a role change has that the promoted one has not, read from both: what was really lost. */
export interface Divergence {
  readonly store: string;
  /** The last position that both have. */
  readonly fork: Position;
  /** Where the old primary is. */
  readonly end: Position;
  /**
   * Of the old primary's log between the two; 0 only where there is nothing. It holds what the server writes for itself too
   * (checkpoints, what a fence notes), so that it is the most that can have been lost.
   */
  readonly bytes: number;
  /** Changes of others than drctl between the two, and how old the newest of them was when the other side began; null where unread. */
  readonly operations: number | null;
  readonly seconds: number | null;
  /** How it was read, for the report. */
  readonly how: string;
}
