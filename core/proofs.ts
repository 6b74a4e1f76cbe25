import type { Finding, LogRange, ObjectCount } from './verification';
import type { Fingerprint, RecoveryWindow } from './recovery';
import type { ChosenInstant } from './restorable-instant';
import type { CheckResult } from './restore-checks';
import type { HeartbeatFound } from './restored-heartbeat';

/**
 * How deep a store was looked into. `quick`: manifests, listings, the continuity of the log. `full`: backups and their log
 * read completely. `restore`: restored from the repository alone into a scratch server and read there.
 */
export const PROOF_KINDS = ['quick', 'full', 'restore'] as const;
export type ProofKind = (typeof PROOF_KINDS)[number];

/** `failed`: something is damaged, missing, did not come back, or took longer than its objective. */
export type ProofResult = 'proven' | 'failed';

/** What a listing alone tells: the name of a proof holds it. */
export interface ProofSummary {
  readonly store: string;
  /** `<UTC basic time>-<kind>-<result>-<8 hex>`; sorts by time. */
  readonly proofId: string;
  readonly kind: ProofKind;
  readonly result: ProofResult;
  /** When it ended, ISO 8601, whole seconds. */
  readonly at: string;
}

/** A restore that was really done, and what came of it. */
export interface RestoreProof {
  readonly chain: readonly string[];
  /** The state that was reached, ISO 8601; null where the engine cannot tell. */
  readonly reachedTime: string | null;
  readonly reachedPosition: string | null;
  /** From the plan until the store could be used: what an outage would have waited for it. */
  readonly recoverySeconds: number;
  readonly rtoSeconds: number;
  /**
   * How old the newest state that can be restored was when the restore began; null where a person named what to restore, which
   * has no say in that.
   */
  readonly lossSeconds: number | null;
  readonly rpoSeconds: number;
  readonly fingerprint: Fingerprint;
  /** An earlier proof that restored the same state, whose content this one was compared with; null where there is none. */
  readonly comparedWith: string | null;
  readonly checks: readonly CheckResult[];
  /** What chance made of it; absent where it had no say, and in proofs of before it had one. */
  readonly instant?: ChosenInstant;
  /** What was compared with it of the time itself; absent where nothing was recorded. */
  readonly heartbeat?: HeartbeatFound;
}

/** `proofs/<store>/<proofId>.json`: what was looked at, how, and what was found. Never changes. */
export interface Proof extends ProofSummary {
  readonly formatVersion: 1;
  readonly application: string;
  readonly startedAt: string;
  readonly requestedBy: string;
  readonly workflowId: string;
  readonly runId: string;
  /** What chose the backup, so that the choice can be made again; null where nothing was left to chance. */
  readonly seed: number | null;
  /** The backups that were read or restored; empty for a quick look, which reads none. */
  readonly backups: readonly string[];
  readonly looked: ObjectCount;
  readonly findings: readonly Finding[];
  /** Findings that are too many to be kept one by one. */
  readonly moreFindings: number;
  /** Where each lineage of the log began and ended: what is missing there at the next look has gone since. */
  readonly log: readonly LogRange[];
  /** Why it failed, or could not come to its end, besides what was found; null where there is nothing of the kind. */
  readonly problem: string | null;
  /** What can be restored without what is damaged. */
  readonly restorable: readonly RecoveryWindow[];
  readonly restore: RestoreProof | null;
}

/** The proofs of one repository. */
export interface ProofStore {
  /** Repeatable: the same proof may be kept again. */
  keep(proof: Proof): Promise<void>;
  /** The newest of each kind that there is, by listing alone. */
  newest(store: string): Promise<ProofSummary[]>;
  /** Newest first, by listing alone. */
  list(store: string): Promise<ProofSummary[]>;
  /** Throws NotFound, and BackupCorrupt for one that is not as it was written. */
  get(store: string, proofId: string): Promise<Proof>;
}

const PROOF_ID = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z-(quick|full|restore)-(proven|failed)-[0-9a-f]{8}$/;

/** Null for what is no id of a proof. */
export function readProofId(store: string, proofId: string): ProofSummary | null {
  const [, year, month, day, hour, minute, second, kind, result] = PROOF_ID.exec(proofId) ?? [];
  if (kind === undefined) return null;
  return {
    store,
    proofId,
    kind: kind as ProofKind,
    result: result as ProofResult,
    at: `${year}-${month}-${day}T${hour}:${minute}:${second}.000Z`,
  };
}
