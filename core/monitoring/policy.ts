import type { Severity } from '../notify';

/** Every kind of trouble that people are told of, by the name that it has in the config and among the alert rules. */
export const ALERTS = [
  'backupFailure',
  'backupDelayed',
  'backupMissing',
  'backupDamaged',
  'rpoBreached',
  'logGap',
  'slotLost',
  'proofFailed',
  'proofTooOld',
  'copyBehind',
  'recoveryTooSlow',
  'notReady',
  'drSiteDown',
  'metricsMissing',
] as const;
export type AlertName = (typeof ALERTS)[number];

export interface AlertPolicy {
  /** How long it has to last before anybody is told. */
  readonly forSeconds: number;
  readonly severity: Severity;
}

/** When a store counts as healthy, and what people are told of and when. */
export interface MonitoringPolicy {
  /** A newest backup that is older makes a store a warning; the strategy's 25 hours. */
  readonly backupMaxAgeSeconds: number;
  /** Stores that are backed up more rarely or more often than the others. */
  readonly storeMaxAgeSeconds: Readonly<Record<string, number>>;
  /** Null: a proof may be of any age. */
  readonly proofMaxAgeSeconds: number | null;
  /** Of `backupDelayed`: the strategy's 24 hours, for as long as `forSeconds`. Stores with an age of their own have that. */
  readonly delayedAfterSeconds: number;
  /** A recovery that took longer is too slow; the RTO where the config names nothing else. */
  readonly recoverySeconds: number;
  readonly alerts: Readonly<Record<AlertName, AlertPolicy>>;
  /** The same trouble is told again after this long. */
  readonly repeatAfterSeconds: number;
  readonly dashboard: DashboardPolicy;
}

/** What is drawn as a line on the dashboard. */
export interface DashboardPolicy {
  readonly successRate: number;
  readonly backupSeconds: number;
  readonly sizeTrend: 'increasing' | 'stable';
}

export function maxAgeSecondsOf(policy: MonitoringPolicy, store: string): number {
  return policy.storeMaxAgeSeconds[store] ?? policy.backupMaxAgeSeconds;
}

export function delayedAfterSecondsOf(policy: MonitoringPolicy, store: string): number {
  return policy.storeMaxAgeSeconds[store] ?? policy.delayedAfterSeconds;
}
