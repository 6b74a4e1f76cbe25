import type { FenceEvidence } from './fencing';
import type { Position } from './positions';

/** A planned role change of one store: both sides answer, and nothing may be lost. */
export interface HandOverRequest {
  readonly fromSite: string;
  readonly toSite: string;
  readonly epoch: number;
  /** How long the new side may take to have everything; past it the step fails and may be tried again. */
  readonly withinSeconds: number;
}

/** The token of zero loss: where the old primary ended, and that the new one has all of it. */
export interface HandOver {
  readonly store: string;
  /** Nothing was acknowledged at the old site behind it. */
  readonly final: Position;
  /** What the new site has applied: at `final` or behind it. */
  readonly reached: Position;
  readonly at: string;
  /** In words for the report: what was ended, and how both positions were read. */
  readonly how: string;
  /** Why the old primary takes no writes any more; what is not proven needs the site's own fence or an attestation. */
  readonly evidence: FenceEvidence;
}

export interface FollowRequest {
  /** The old primary's. */
  readonly site: string;
  /** Where the new primary is. */
  readonly primarySite: string;
  readonly epoch: number;
  /** True where its host was told to start it as a standby a moment ago: it is waited for. */
  readonly starting?: boolean;
}

/** Whether the old primary is the new one's standby by now. */
export interface Following {
  readonly store: string;
  readonly site: string;
  readonly follows: boolean;
  /** What was seen; where it does not follow, what a person or the site's agent has to do. */
  readonly how: string;
}

/** Whether another server of the new primary's site follows it by now. */
export interface MemberFollowing {
  readonly server: string;
  readonly follows: boolean;
  /** What was seen; where it does not follow, what a person has to do. */
  readonly how: string;
}

/** What the report of a planned role change has besides that of an unplanned one. */
export interface SwitchOverFacts {
  /** The proof that nothing was lost, a store each. */
  readonly handOvers: readonly HandOver[];
  /** Whether the old primaries are the new ones' standbys by now, and what people still have to do for it. */
  readonly following: readonly Following[];
  /** When the first service was told to stop; null where none was yet. */
  readonly stoppedAt: string | null;
  /** From the first service that was stopped to the verified service; null when it was not reached. */
  readonly outageSeconds: number | null;
}
