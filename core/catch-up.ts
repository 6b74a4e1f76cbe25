import type { Position } from './positions';

export interface CatchUpRequest {
  readonly site: string;
  readonly epoch: number;
  /** What the standby has not applied by then is not waited for any longer: CatchUpIncomplete. */
  readonly withinSeconds: number;
}

/** What a standby took from the archived log before its promotion. */
export interface CaughtUp {
  readonly store: string;
  /** Which of the site's servers has it now, `host:port`. */
  readonly server: string;
  /** What it had applied before, and what afterwards. */
  readonly before: Position;
  readonly reached: Position;
  /** Where the archived log of its history ends; null where nothing of it is archived. */
  readonly archived: Position | null;
  /** Whether the archive had anything that the standby had not. */
  readonly fed: boolean;
  /** In words for the status and the report. */
  readonly how: string;
}
