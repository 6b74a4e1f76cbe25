import type { Proof, ProofKind } from './proofs';
import type { RecoveryTarget } from './recovery';

/** Started by schedules and by `drctl verify`. */
export interface VerifyStoresInput {
  readonly application: string;
  readonly stores: readonly string[];
  readonly kind: ProofKind;
  /**
   * Full: the backup that is read with its chain and its log, one by chance where it is left out; `all` of them and all of
   * the log. Restore: the backup that is restored.
   */
  readonly backup?: 'all' | { readonly backupId: string };
  /** Restore: what it is restored to. Without it and a backup chance chooses; a store without a log has its latest state only. */
  readonly to?: RecoveryTarget;
  /** Of the choice; the run takes one of its own where it is left out. */
  readonly seed?: number;
  /** Ask back what the named backup has in archive classes, and wait for it; left out: it is not read, and that is said. */
  readonly thaw?: boolean;
  /** Whose worker restores; a site that is not active where it is left out. */
  readonly site?: string;
  /** The copies in that repository instead of what is in the stores' own. */
  readonly copy?: string;
  readonly requestedBy: string;
  /** Tell people what is damaged; false where a person looks at the result anyway. */
  readonly tell: boolean;
}

/** Of a store's proof, what is told of it at once. */
export interface VerifiedStore extends Pick<
  Proof,
  'store' | 'result' | 'backups' | 'looked' | 'findings' | 'moreFindings' | 'restorable' | 'problem' | 'restore'
> {
  /** Null where the proof could not be stored; `problem` says why. */
  readonly proofId: string | null;
  readonly seconds: number;
}

export interface VerifyStoresResult {
  readonly application: string;
  readonly kind: ProofKind;
  readonly seed: number;
  readonly stores: readonly VerifiedStore[];
}
