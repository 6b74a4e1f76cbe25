import type { CallContext } from './call';
import type { CatchUpRequest, CaughtUp } from './catch-up';
import type { Divergence } from './divergence';
import type { FenceEvidence, FenceOutlook, ForceAttestation, StoreEnd } from './fencing';
import type { Following, FollowRequest, HandOver, HandOverRequest, MemberFollowing } from './hand-over';
import type { LogArchive } from './log-archive';
import type { Position } from './positions';
import type { ReplicaState, ReplicationSample } from './replication';

export interface PromoteRequest {
  readonly site: string;
  readonly epoch: number;
  /** Refuses with FencingUnconfirmed unless it covers this store (rule 2). */
  readonly evidence: readonly FenceEvidence[];
  /**
   * Which of several servers, as `choose` said: what repeats a promotion must not take another, or there are two. Left out:
   * as the engine chooses at the moment.
   */
  readonly server?: string;
  /**
   * Where the members that are left are no majority: an approver's word that they shall go on without the others. Does
   * nothing where a majority answers, and nothing without *proven* evidence.
   */
  readonly force?: ForceAttestation;
}

/** One of several servers of a site. */
export interface Candidate {
  readonly server: string;
  /** Why that one, and what the others have. */
  readonly why: string;
}

/** What a promotion by force did to a set that elects its primary itself. */
export interface ForcedPromotion {
  readonly kept: readonly string[];
  /** Members that do not belong to the set any more. Returning together, and cut off from those kept, they may elect a primary of their own. */
  readonly removed: readonly string[];
}

export interface PromoteResult {
  readonly site: string;
  readonly position: Position;
  readonly promotedAt: string;
  /** True when it was writable at this epoch already: the step was repeated. */
  readonly already: boolean;
  /** Only where this role change had to force it. */
  readonly forced?: ForcedPromotion;
  /** Which of several servers it is, and why that one. */
  readonly chosen?: string;
}

/** One write and one read back through the store's normal door, as proof that it serves. */
export interface WriteProbe {
  readonly site: string;
  readonly at: string;
  readonly marker: string;
  readonly roundTripMilliseconds: number;
}

/** Roles of a store that lives at several sites. */
export interface Replication {
  /**
   * True where the members elect their primary themselves and two can never both commit (MongoDB): such a store may be
   * writable at the surviving site before anybody promoted it, and lifting its fence is always safe.
   */
  readonly electsItself: boolean;
  /** Measures both sides from where the worker stands; a side that does not answer is null, with the problem said. */
  sample(primarySite: string, standbySite: string, ctx: CallContext): Promise<ReplicationSample>;
  /** One side alone, for the moment of decision. Null when it does not answer. */
  state(site: string, ctx: CallContext): Promise<ReplicaState | null>;
  /**
   * Makes the store at the site refuse writes by the engine's own means and tries to prove it. Never throws for a server
   * that does not answer: the evidence then says `none`. Repeatable; StaleEpoch where the store holds a newer epoch.
   */
  fence(site: string, survivingSite: string, epoch: number, ctx: CallContext): Promise<FenceEvidence>;
  /** Lifts what `fence` did, before anything was promoted. Repeatable; StaleEpoch where the store holds a newer epoch. */
  unfence(site: string, epoch: number, ctx: CallContext): Promise<void>;
  /**
   * Ends the writing at the old primary of a planned role change and waits until the other side has all that was ever
   * acknowledged there. Promotes nothing, so that it can be undone with `unfence` (members that elect their primary
   * themselves may have done so). Repeatable; StaleEpoch as `fence`, TargetUnreachable where a side does not answer,
   * HandOverIncomplete (retryable) where the other side did not get that far in time.
   */
  handOver(request: HandOverRequest, ctx: CallContext): Promise<HandOver>;
  /**
   * Waits until the site has replayed past the place where its old primary was shut down: nothing can have been acknowledged
   * behind that. Answers what it has reached, HandOverIncomplete (retryable) as `handOver`. Left out by engines whose
   * `handOver` leaves nothing to prove.
   */
  passedEnd?(
    request: { readonly site: string; readonly end: StoreEnd; readonly withinSeconds: number },
    ctx: CallContext,
  ): Promise<Position>;
  /**
   * After `promote`: makes the old primary follow the new one where the engine can do that through its own door, and says
   * what somebody else has to do where it cannot. Never makes anything writable. Repeatable; StaleEpoch as `fence`.
   */
  follow(request: FollowRequest, ctx: CallContext): Promise<Following>;
  /**
   * Before `promote`, the old primary being fenced: brings to the site's replica what the archived log has and it has not, and
   * resolves once that is applied, whole. Promotes nothing and changes no role. Repeatable; StaleEpoch as `fence`,
   * CatchUpIncomplete where the time is over or a person has to mend something. Left out by engines whose archived log no
   * replica can take.
   */
  catchUp?(request: CatchUpRequest, log: LogArchive, ctx: CallContext): Promise<CaughtUp>;
  /** What would keep `catchUp` at the site from doing that, as far as it can be seen now: a right that the account lacks. Changes nothing. */
  catchUpLacks?(site: string, ctx: CallContext): Promise<readonly string[]>;
  /** Takes back what a `catchUp` that died has left at the replica; whether there was anything. Repeatable. */
  leaveArchive?(site: string, ctx: CallContext): Promise<boolean>;
  /**
   * Which of several servers of the site a promotion has to take. PromotionFailed (retryable) where none that answers has got
   * as far as `atLeast`. Changes nothing. Left out by engines whose members do that themselves.
   */
  choose?(request: { readonly site: string; readonly atLeast: Position | null }, ctx: CallContext): Promise<Candidate>;
  /**
   * Makes the site's replica the writable primary and notes the epoch in the store itself; StaleEpoch if it holds a newer one,
   * MajorityLost where it would have to be forced and nobody attests that.
   */
  promote(request: PromoteRequest, ctx: CallContext): Promise<PromoteResult>;
  /**
   * After `promote` at a site with several servers: makes the others follow the new primary, and says of each whether it does
   * or what is left to do. Repeatable; StaleEpoch as `fence`. Left out by engines whose members do that themselves.
   */
  followMembers?(
    request: { readonly site: string; readonly epoch: number },
    ctx: CallContext,
  ): Promise<readonly MemberFollowing[]>;
  /**
   * What the old primary, which can be read again, has beyond the point at which `newSite` was promoted. Changes nothing.
   * RoleMismatch saying why where it cannot be told (any more), TargetUnreachable where a side does not answer.
   */
  divergence(oldSite: string, newSite: string, ctx: CallContext): Promise<Divergence>;
  /** The epoch noted in the store at the site; null when none is or when it does not answer. */
  epoch(site: string, ctx: CallContext): Promise<number | null>;
  /**
   * What would keep `promote` at the site from succeeding once `lostSite` is gone, as far as it can be seen now: a right that
   * the account lacks, a copy that is not whole, votes that are not there. Changes nothing. Throws where it cannot be seen.
   */
  obstacles(site: string, lostSite: string, ctx: CallContext): Promise<readonly string[]>;
  /**
   * Why `promote` at the site would have to be forced once `lostSite` is gone, null where it would not; changes nothing.
   * Absent for engines whose promotion needs no votes.
   */
  mustForce?(site: string, lostSite: string, ctx: CallContext): Promise<string | null>;
  /**
   * What `fence` and `handOver` at the site, whose primary answers, could do today, as far as it can be seen without doing it.
   * Changes nothing. Throws TargetUnreachable where nobody answers there.
   */
  fenceOutlook(site: string, survivingSite: string, ctx: CallContext): Promise<FenceOutlook>;
  /** Throws RoleMismatch where the site's server follows or refuses writes. */
  writeProbe(site: string, marker: string, ctx: CallContext): Promise<WriteProbe>;
}
