import type { BackupType } from '../catalog';
import type { DamagedManifest } from '../catalog-store';
import { formatDuration } from '../clock';
import type { Severity } from '../notify';
import type { WindowGap } from '../recovery-gaps';
import type { ProofKind, ProofResult, ProofSummary } from '../proofs';
import { type CopyView, judgeCopies } from './copy-view';
import { type AlertName, maxAgeSecondsOf, type MonitoringPolicy } from './policy';

/** What is stored of one store and how far it reaches, as it was found at `at`. Unknown is null and never zero. */
export interface StoreView {
  readonly store: string;
  readonly engine: string;
  readonly hasLog: boolean;
  readonly rpoSeconds: number;
  readonly at: string;
  /** Manifests that are there, by type; null where they were not counted. */
  readonly backups: Readonly<Record<BackupType, number>> | null;
  /** The newest that can be read; null where there is none. */
  readonly newest: NewestBackup | null;
  /** Stored bytes of the newest of each type; null where none is among those that were looked at. */
  readonly sizeBytes: Readonly<Record<BackupType, number | null>>;
  /** When the oldest that is there was begun; null where there is none, or where nothing is judged by it. */
  readonly oldestAt: string | null;
  /** Those that were looked at and cannot be read, and those that a verification found damaged and none found sound since. */
  readonly damaged: readonly DamagedManifest[];
  /** The newest instant to which the store can be restored. */
  readonly restorableUntil: string | null;
  /** In the log of the last days; empty for a store without one. */
  readonly gaps: readonly WindowGap[];
  /** Why its log cannot be judged; null where it can, or where it has none. */
  readonly logProblem: string | null;
  /** Of each kind of proof the newest, and the newest that succeeded; empty where nothing was ever proven. */
  readonly proofs: readonly ProofAge[];
  /** In the further repositories of the config; absent: it has none. */
  readonly copies?: readonly CopyView[];
  /** When its last backup that failed ended; null where none is known to have. */
  readonly lastFailureAt: string | null;
}

export interface NewestBackup {
  readonly backupId: string;
  readonly type: BackupType;
  readonly startedAt: string;
  readonly consistentAt: string;
  readonly committedAt: string;
  /** Something of it is stored without encryption. */
  readonly isPlain: boolean;
}

export interface ProofAge {
  readonly kind: ProofKind;
  readonly newestAt: string;
  readonly newestResult: ProofResult;
  /** Null where none of the kind ever succeeded. */
  readonly provenAt: string | null;
}

export type HealthStatus = 'healthy' | 'warning' | 'error';

/** One thing that is wrong with a store. */
export interface HealthReason {
  /** What kind of trouble: decides how long it has to last and how loud it is told. */
  readonly alert: AlertName;
  readonly status: Exclude<HealthStatus, 'healthy'>;
  readonly text: string;
  /** As the config has it for this kind of trouble. */
  readonly severity: Severity;
  readonly forSeconds: number;
}

type Found = Omit<HealthReason, 'severity' | 'forSeconds'>;

/** How long a gap that a new base has closed behind it stays a reason: a day in which somebody should hear of it. */
export const GAP_TOLD_SECONDS = 86_400;

/** Seconds of changes that a loss of the store now would lose; null when that is not known. */
export function atRiskSeconds({ at, restorableUntil }: StoreView): number | null {
  return restorableUntil === null ? null : secondsBetween(restorableUntil, at);
}

/** The last attempt to back it up failed, and nothing was committed since. */
export function lastAttemptFailed({ newest, lastFailureAt }: StoreView): boolean {
  return lastFailureAt !== null && (newest === null || newest.committedAt < lastFailureAt);
}

/** Everything that is wrong with what is stored of it; empty: healthy. */
export function judgeStore(view: StoreView, policy: MonitoringPolicy): HealthReason[] {
  const copies = judgeCopies(view.copies ?? [], view.at, view.oldestAt);
  const found: Found[] = [
    ...[...judgeBackups(view, policy), ...judgeReach(view), ...judgeProofs(view, policy)],
    ...copies.map((text): Found => ({ alert: 'copyBehind', status: 'warning', text })),
  ];
  return found.map((each) => weighed(each, policy));
}

/** How loud it is, and how long it has to last before it is told. */
export function weighed(found: Found, { alerts }: MonitoringPolicy): HealthReason {
  return { ...found, ...alerts[found.alert] };
}

/** The worst of them. */
export function statusOf(reasons: readonly HealthReason[]): HealthStatus {
  if (reasons.some(({ status }) => status === 'error')) return 'error';
  return reasons.length > 0 ? 'warning' : 'healthy';
}

function judgeBackups(view: StoreView, policy: MonitoringPolicy): Found[] {
  const { store, at, newest, damaged, lastFailureAt } = view;
  const reasons: Found[] = damaged.map(({ backupId, problem }) => ({
    alert: 'backupDamaged',
    status: 'warning',
    text: `backup ${backupId} cannot be restored: ${problem}`,
  }));
  if (!newest) {
    reasons.push({ alert: 'backupMissing', status: 'error', text: 'there is no backup' });
  } else {
    const age = secondsBetween(newest.committedAt, at);
    const allowed = maxAgeSecondsOf(policy, store);
    if (age >= allowed) {
      const text = `the newest backup is ${hours(age)} old, more than ${hours(allowed)}`;
      reasons.push({ alert: 'backupDelayed', status: 'warning', text });
    }
  }
  if (lastAttemptFailed(view)) {
    const text = `its last backup failed at ${lastFailureAt}, and none was taken since`;
    reasons.push({ alert: 'backupFailure', status: 'warning', text });
  }
  return reasons;
}

function judgeReach(view: StoreView): Found[] {
  const { at, hasLog, newest, rpoSeconds, gaps, logProblem } = view;
  if (logProblem !== null) {
    return [{ alert: 'rpoBreached', status: 'error', text: `its log cannot be read: ${logProblem}` }];
  }
  const reasons: Found[] = gaps
    .filter(({ to }) => secondsBetween(to, at) < GAP_TOLD_SECONDS)
    .map(({ from, to }) => ({
      alert: 'logGap',
      status: 'warning',
      text: `nothing between ${from} and ${to} can be restored: its log has a gap`,
    }));
  const risk = atRiskSeconds(view);
  if (newest && risk === null) {
    reasons.push({ alert: 'rpoBreached', status: 'error', text: 'how far it can be restored is not known' });
  }
  if (risk !== null && risk > rpoSeconds) {
    const what = hasLog ? 'of changes are not archived' : 'of changes are in no backup';
    const text = `${formatDuration(risk * 1_000)} ${what}, more than its objective of ${formatDuration(rpoSeconds * 1_000)}`;
    reasons.push({ alert: 'rpoBreached', status: 'error', text });
  }
  return reasons;
}

function judgeProofs({ at, oldestAt, proofs }: StoreView, { proofMaxAgeSeconds }: MonitoringPolicy): Found[] {
  const reasons: Found[] = proofs
    .filter(({ newestResult }) => newestResult === 'failed')
    .map(({ kind, newestAt }) => ({
      alert: 'proofFailed',
      status: 'error',
      text: `the newest ${kind} proof, of ${newestAt}, failed`,
    }));
  const provenAt = contentProvenAt(proofs);
  // A store that was never proven could have been since its oldest backup.
  const since = provenAt ?? oldestAt;
  if (proofMaxAgeSeconds === null || since === null) return reasons;
  const age = secondsBetween(since, at);
  if (age <= proofMaxAgeSeconds) return reasons;
  const text =
    provenAt === null
      ? 'no backup of it was ever read completely or restored'
      : `a backup of it was last read completely or restored ${formatDuration(age * 1_000)} ago`;
  return [...reasons, { alert: 'proofTooOld', status: 'warning', text }];
}

/** When bytes of a backup were last read and found right: a quick look reads none. */
export function contentProvenAt(proofs: readonly ProofAge[]): string | null {
  const times = proofs.flatMap(({ kind, provenAt }) => (kind === 'quick' || provenAt === null ? [] : [provenAt]));
  return times.toSorted().at(-1) ?? null;
}

/** By kind; newest first as they are listed. */
export function proofAges(listed: readonly ProofSummary[]): ProofAge[] {
  const kinds = [...new Set(listed.map(({ kind }) => kind))];
  return kinds.flatMap((kind) => {
    const ofKind = listed.filter((each) => each.kind === kind);
    const newest = ofKind[0];
    const provenAt = ofKind.find(({ result }) => result === 'proven')?.at ?? null;
    return newest ? [{ kind, newestAt: newest.at, newestResult: newest.result, provenAt }] : [];
  });
}

const secondsBetween = (from: string, to: string) => Math.max(0, (Date.parse(to) - Date.parse(from)) / 1_000);
const hours = (seconds: number) => `${(seconds / 3_600).toFixed(1)} hours`;
