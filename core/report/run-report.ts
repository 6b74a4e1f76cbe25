import type { Json } from '../catalog';
import type { DrillReport } from '../drill-judgements';
import type { FenceEvidence } from '../fencing';
import type { LossEstimate } from '../replication';
import type { StepState, StepStatus } from '../runs';
import type { EndpointResult } from '../traffic';

/** Raised when a reader of the older form would misread the newer one; what is merely added does not raise it. */
export const REPORT_FORMAT_VERSION = 1;

/**
 * What a run did, complete in itself: `reports/<id>.json`. Plain JSON, times in UTC. A section that a kind of run does not
 * have is null, one that it has and that stayed empty is an empty list. Never holds a secret: it is made of what the run's
 * history holds. The page and the Markdown beside it are made of this alone.
 */
export interface RunReport {
  readonly formatVersion: typeof REPORT_FORMAT_VERSION;
  readonly id: string;
  readonly kind: 'failover' | 'switchover' | 'restore' | 'backup' | 'drill' | 'checklist';
  readonly application: string;
  readonly workflowId: string;
  readonly runId: string;
  /** In the words of the kind: "completed", "rolled back". */
  readonly outcome: string;
  /**
   * How the outcome is meant. `achieved`: what was asked for is done. `attention`: done, and somebody has to look at what is
   * listed. `unchanged`: nothing was done, or all of it undone. `failed`: neither.
   */
  readonly verdict: 'achieved' | 'attention' | 'unchanged' | 'failed';
  /** Why it ended so. */
  readonly because: string;
  readonly requestedBy: string | null;
  readonly requestReason: string | null;
  readonly startedAt: string;
  readonly endedAt: string;
  readonly move: SiteMove | null;
  readonly recovery: RecoveryTime | null;
  readonly loss: LossReport | null;
  readonly decisions: readonly Decision[] | null;
  readonly evidence: readonly FenceEvidence[] | null;
  readonly stores: readonly StoreReport[];
  readonly services: readonly PartReport[] | null;
  readonly dns: readonly (PartReport & { readonly values: readonly string[]; readonly ttlSeconds: number })[] | null;
  readonly endpoints: readonly EndpointResult[] | null;
  readonly steps: readonly StepStatus[];
  /** What somebody has to look at or to do. */
  readonly warnings: readonly string[];
  /** What was said while it ran, in order. */
  readonly messages: readonly string[];
  /** Of a drill only. */
  readonly drill?: DrillReport;
}

export interface SiteMove {
  readonly from: string;
  readonly to: string;
  /** Null where none was taken. */
  readonly epoch: number | null;
}

/** The instants from which times of recovery are told. */
export interface RecoveryTime {
  readonly objectiveSeconds: number;
  /** From when the outage is counted, and why from there: the failure itself may be older than anybody noticed. */
  readonly outageFrom: string;
  readonly outageBasis: string;
  readonly approvedAt: string | null;
  /** When the service was seen to work through its public name; null where that was not reached. */
  readonly verifiedAt: string | null;
}

export interface LossReport {
  readonly rpoSeconds: number;
  /** By whom the estimates were approved; null where nobody did. */
  readonly approvedBy: string | null;
  readonly stores: readonly {
    readonly store: string;
    readonly rpoSeconds: number;
    /** As the approver was shown it, else the newest that was measured. Null where none was. */
    readonly estimate: LossEstimate | null;
    /** As measured once more when the approval came. */
    readonly atApproval: LossEstimate | null;
    /** Null where nothing was promoted: there is nothing to compare. */
    readonly actual: ActualLoss | null;
  }[];
}

/** What was really lost. Null is unknown and never zero; zero is only said where something proves it. */
export interface ActualLoss {
  readonly certainty: 'proven' | 'measured' | 'not known';
  readonly bytes: number | null;
  readonly operations: number | null;
  readonly seconds: number | null;
  /** How it is known, or why it is not and what would tell. */
  readonly basis: string;
}

/** A command that a person gave and that was accepted. */
export interface Decision {
  readonly command: string;
  readonly by: string;
  readonly at: string;
  readonly reason: string | null;
  /** The step that it was about, where one was named. */
  readonly step: string | null;
  /** What became of it, where that is not plain: an approval that was not taken, with why. */
  readonly note: string | null;
}

/** One store in a run, and what was done to it in the order of the run; what is absent does not belong to this kind. */
export interface StoreReport {
  readonly store: string;
  readonly engine: string;
  readonly results: readonly StoreResult[];
}

/** `waiting` is what was not reached. */
export interface StoreResult extends PartResult {
  /** "promoted": the heading of its column. */
  readonly what: string;
}

export interface PartResult {
  readonly state: StepState;
  readonly note: string | null;
}

export interface PartReport extends PartResult {
  readonly name: string;
}

/** Reads what is stored. Null for what this version cannot read: another format. */
export function readReport(stored: Json): RunReport | null {
  if (typeof stored !== 'object' || stored === null || Array.isArray(stored)) return null;
  return (stored as { formatVersion?: unknown }).formatVersion === REPORT_FORMAT_VERSION
    ? (stored as unknown as RunReport)
    : null;
}
