import type { DrillStage } from './drill';
import type { DrillReport, StageResult } from './drill-judgements';
import type { RunReport } from './report/run-report';
import type { RunStatus } from './runs';

/** The monthly rehearsal in isolation: `drill:<application>`, one at a time. Schedules start `launchDrill`, whose child it is. */
export interface DrillInput {
  readonly application: string;
  readonly requestedBy: string;
  readonly reason?: string;
  /** Stages to leave out. */
  readonly without?: readonly DrillStage[];
}

export type DrillOutcome =
  | 'completed'
  | 'completed with failures'
  /** A person or a role change stopped it. */
  | 'aborted'
  | 'cancelled'
  /** Could not begin, or was stopped by an error outside its stages. */
  | 'failed';

export interface DrillStatus extends RunStatus {
  readonly stages: readonly StageResult[];
  readonly outcome: DrillOutcome | null;
}

export interface DrillResult extends DrillReport {
  readonly application: string;
  readonly drillId: string;
  readonly outcome: DrillOutcome;
  readonly verdict: RunReport['verdict'];
  readonly because: string;
  readonly warnings: readonly string[];
  readonly reportId: string;
}

export interface LaunchDrillResult {
  /** Null where one was running already. */
  readonly drill: DrillResult | null;
}
