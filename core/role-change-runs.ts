import type { FenceEvidence, ForceAttestation } from './fencing';
import type { SwitchOverFacts } from './hand-over';
import type { LossEstimate } from './replication';
import type { ForcedPromotion } from './roles';
import type { commands, RoleChangeKind, RunStatus, StepStatus } from './runs';
import type { EndpointResult } from './traffic';

/** What a starter asks of the workflow failOver. The other workflows are in `runs.ts`. */
export interface FailOverInput {
  readonly application: string;
  readonly toSite: string;
  readonly requestedBy: string;
  readonly reason: string;
}

/** A planned role change: both sites are healthy, and nothing may be lost. */
export type SwitchOverInput = FailOverInput;

/** What an approver sees, answered by the `status` query of failOver besides RunStatus. */
export interface ApprovalCard {
  /** Counts the cards of one run: the loss is measured again and again while nobody has decided. */
  readonly number: number;
  readonly application: string;
  readonly fromSite: string;
  readonly toSite: string;
  readonly requestedBy: string;
  readonly reason: string;
  readonly evidence: readonly string[];
  readonly losses: readonly LossEstimate[];
  readonly measuredAt: string;
  /** Why the loss could not be measured anew since `measuredAt`; null where it was. */
  readonly problem: string | null;
  /** Why the people are asked again: what an earlier approval did not cover. Empty where nothing became worse. */
  readonly worse: readonly string[];
  readonly rtoSeconds: number;
  readonly rpoSeconds: number;
  /** Of a planned role change only: nothing is lost, and past this long before the promotion it takes itself back. */
  readonly planned?: { readonly withinSeconds: number };
}

/** The commands to a role change. */
export type FailOverCommand = Exclude<keyof typeof commands, 'moveTo' | 'sign'>;

export type FailOverOutcome =
  | 'completed'
  | 'not necessary'
  | 'rejected'
  | 'aborted'
  | 'rolled back'
  /** Stopped by an error or cancelled before anything was changed. */
  | 'failed'
  /** Stopped before the promotion, and something that was done could not be undone: the reason lists it. */
  | 'undo incomplete';

/** Of a failover and of a switchover alike. */
export interface FailOverStatus extends RunStatus {
  readonly kind: RoleChangeKind;
  readonly fromSite: string | null;
  readonly toSite: string;
  /** The newest before the approval, the one that was approved after it. */
  readonly card: ApprovalCard | null;
  /** The commands that would be taken now. */
  readonly accepts: readonly FailOverCommand[];
  readonly approvedBy: string | null;
  readonly approvedAt: string | null;
  readonly epoch: number | null;
  readonly evidence: readonly FenceEvidence[];
  readonly outcome: FailOverOutcome | null;
}

/** A store that was promoted by force: what is not kept is lost, and must not come back by itself. */
export interface ForcedStore extends ForcedPromotion {
  readonly store: string;
  readonly attestation: ForceAttestation;
}

export interface FailOverResult {
  readonly outcome: FailOverOutcome;
  readonly reason: string;
  readonly epoch: number | null;
  /** Null when nobody was asked. */
  readonly approvedBy: string | null;
  readonly fromSite: string;
  readonly toSite: string;
  /** As the approver was shown; the newest measured where nobody approved. */
  readonly losses: readonly LossEstimate[];
  /** As measured once more when the approval came; empty where none came or where it could not be measured. */
  readonly lossesAtApproval: readonly LossEstimate[];
  /** What the undo could not bring back by itself, or whom it is left to; empty where nothing was undone. */
  readonly afterUndo: readonly string[];
  readonly evidence: readonly FenceEvidence[];
  readonly endpoints: readonly EndpointResult[];
  readonly steps: readonly StepStatus[];
  /** From the approval to the verified service; null when it was not reached. */
  readonly approvalToVerifiedSeconds: number | null;
  /** Absent where nothing was. */
  readonly forced?: readonly ForcedStore[];
  /** Key of the report in the repository (JSON; the Markdown and the page are beside it). */
  readonly reportKey: string | null;
  /** Only a planned role change has it. */
  readonly switchover?: SwitchOverFacts;
}
