import type { CallContext } from './call';

/** One measured value. Names and dimensions are those that dashboards and alarms of the receiving system know. */
export interface MetricSample {
  readonly name: string;
  readonly value: number;
  readonly unit: 'Count' | 'Seconds' | 'Bytes' | 'Percent' | 'None';
  readonly dimensions: Readonly<Record<string, string>>;
  readonly at: string;
}

/** Where metrics are pushed to, besides what Prometheus scrapes. At least once: a repetition may count twice. */
export interface MetricPublisher {
  readonly kind: string;
  /** Throws NotificationFailed, which never blocks anything. */
  publish(samples: readonly MetricSample[], ctx: CallContext): Promise<void>;
}

/** The strategy's `BackupSuccess` by `BackupType`: 1 for a healthy kind of store, 0 for any other. */
export function backupSuccessSample(backupType: string, healthy: boolean, at: string): MetricSample {
  return { name: 'BackupSuccess', value: healthy ? 1 : 0, unit: 'Count', dimensions: { BackupType: backupType }, at };
}
