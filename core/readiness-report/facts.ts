import type { BackupType } from '../catalog';
import type { DiskSpace } from '../checklist-judgements';
import type { Finding } from '../checklist';
import type { HealthDay, ReadinessDay } from '../day-records';
import type { Tally } from '../monitoring/tally';
import type { ProofKind, ProofResult, RestoreProof } from '../proofs';
import type { ReadinessResult } from '../readiness';
import type { RunReport } from '../report/run-report';
import type { CheckHealthResult } from '../runs';
import type { UptimeDay } from '../uptime';
import type { ReadinessReport } from './report';

/** One copy of one store when the report was made. Unknown is null. */
export interface CopyFacts {
  readonly store: string;
  /** The name of its repository. */
  readonly copy: string;
  readonly maxLagSeconds: number;
  /** How old what it has all of is; null: not known, or it was never complete. */
  readonly lagSeconds: number | null;
  /** Objects that could not be copied. */
  readonly notCopied: number;
  /** The newest instant to which the store can be restored from this copy alone. */
  readonly restorableUntil: string | null;
  /** The newest proof of this copy; null: none. */
  readonly verified: { readonly at: string; readonly kind: ProofKind; readonly result: ProofResult } | null;
  /** Why it could not be seen; null where it could. */
  readonly problem: string | null;
}

/** What the config wants to be held against what was measured, besides RTO and RPO. */
export interface ReportTargets {
  readonly uptimePercent: number;
  readonly backupSuccessPercent: number;
  readonly dataIntegrityPercent: number;
  /** Null where the config names no prices. */
  readonly prices: StoragePrices | null;
}

/** What a GiB costs a month, by repository and storage class; what is not named is not known, and never nothing. */
export interface StoragePrices {
  readonly currency: string;
  readonly perGibMonth: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

/** The part of a month that a report is on: all of it, unless it is not over yet. Instants of UTC; `until` is not part of it. */
export interface Period {
  readonly month: string;
  readonly from: string;
  readonly until: string;
  readonly isWhole: boolean;
}

export interface CommittedBackup {
  readonly backupId: string;
  readonly type: BackupType;
  readonly startedAt: string;
  readonly committedAt: string;
}

export interface ProofOfPeriod {
  readonly proofId: string;
  readonly kind: ProofKind;
  readonly result: ProofResult;
  readonly at: string;
  /** Objects and pieces of log that were read or looked at. */
  readonly objects: number;
  readonly damaged: number;
  readonly problem: string | null;
  readonly restore: Pick<RestoreProof, 'recoverySeconds' | 'rtoSeconds' | 'lossSeconds' | 'rpoSeconds'> | null;
}

/** Objects of one store, kind and class in one repository. */
export interface StoredPart {
  readonly repository: string;
  readonly store: string;
  /** `full`, `incr`, `log`, `files`, `config`. */
  readonly content: string;
  readonly storageClass: string;
  readonly bytes: number;
  readonly objects: number;
}

export interface StoredSum {
  readonly parts: readonly StoredPart[];
  /** What was stored in the period and is still there, by day of UTC. */
  readonly addedByDay: Readonly<Record<string, number>>;
}

/** All that a report is made of, as it is recorded. A part that could not be read is null and named in `unread`. */
export interface ReadinessFacts {
  readonly application: string;
  readonly requestedBy: string;
  readonly at: string;
  readonly period: Period;
  readonly stores: readonly { readonly store: string; readonly engine: string; readonly rpoSeconds: number }[];
  readonly activeSite: string | null;
  readonly rtoSeconds: number;
  readonly targets: ReportTargets;
  /** How many endpoints the config has: without one nothing tells whether the application is up. */
  readonly endpoints: number;
  readonly tally: Tally | null;
  /** By store, oldest first: of the period, and the newest before it. */
  readonly backups: Readonly<Record<string, readonly CommittedBackup[]>> | null;
  readonly health: readonly HealthDay[] | null;
  readonly lastHealth: CheckHealthResult | null;
  readonly readiness: readonly { readonly site: string; readonly days: readonly ReadinessDay[] }[] | null;
  readonly lastReadiness: readonly ReadinessResult[] | null;
  readonly uptime: readonly UptimeDay[] | null;
  /** By store, newest first. */
  readonly proofs: Readonly<Record<string, readonly ProofOfPeriod[]>> | null;
  /** Of runs that ended in the period, oldest first. */
  readonly runs: readonly RunReport[] | null;
  readonly stored: StoredSum | null;
  readonly copies: readonly CopyFacts[] | null;
  /** Of the workers' disks; what could not be seen is a finding. */
  readonly disks: readonly (DiskSpace | Finding)[];
  /** That of the month before. */
  readonly previous: ReadinessReport | null;
  readonly unread: readonly { readonly part: string; readonly reason: string }[];
}
