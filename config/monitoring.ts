import { type AlertName, ALERTS, type MonitoringPolicy } from '../core/monitoring/policy';
import type { Config } from './schema';

/** What the config says of health, alerts and dashboard, in one place and in seconds. */
export function monitoringPolicy({ monitoring, alerts, dashboard, objectives }: Config): MonitoringPolicy {
  const policies = ALERTS.map((name) => [
    name,
    { forSeconds: alerts[name].for.seconds, severity: alerts[name].severity },
  ]);
  return {
    backupMaxAgeSeconds: monitoring.backupMaxAge.seconds,
    storeMaxAgeSeconds: Object.fromEntries(
      Object.entries(monitoring.stores).map(([store, { backupMaxAge }]) => [store, backupMaxAge.seconds]),
    ),
    proofMaxAgeSeconds: monitoring.proofMaxAge?.seconds ?? null,
    delayedAfterSeconds: alerts.backupDelayed.olderThan.seconds,
    recoverySeconds: (dashboard.recoveryTime ?? objectives.rto).seconds,
    alerts: Object.fromEntries(policies) as Record<AlertName, MonitoringPolicy['alerts'][AlertName]>,
    repeatAfterSeconds: alerts.repeatAfter.seconds,
    dashboard: {
      successRate: dashboard.successRate,
      backupSeconds: dashboard.backupDuration.seconds,
      sizeTrend: dashboard.backupSizeTrend,
    },
  };
}
