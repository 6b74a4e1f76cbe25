import type { Application } from '../application';
import type { AlertName, AlertPolicy } from './policy';
import { DR_SITE_JOB, WORKERS_JOB } from './scrape-config';

/** A rule as Prometheus reads it. */
export interface AlertRule {
  readonly alert: string;
  readonly expr: string;
  readonly for: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface RuleFile {
  readonly groups: readonly { readonly name: string; readonly rules: readonly AlertRule[] }[];
}

/** Every worker tells of the whole application: of what all tell one is taken. */
const STORE = 'by (app, store, kind)';
const ON_STORE = 'on (app, store, kind)';

/** A gap that a new base has closed behind it is told for a day. */
const GAP_TOLD = '86400';
/** The watch measures every few seconds; nobody knows a lag that is older. */
const SAMPLE_TOO_OLD = '300';
/** A look is taken hourly by the strategy's schedule. */
const LOOK_TOO_OLD = '86400';

interface Told {
  readonly alert: string;
  readonly policy: AlertName;
  readonly expr: string;
  readonly summary: string;
  readonly description: string;
}

/**
 * The rules of one application. The first three and `DRSiteDown` are the strategy's; where theirs could not fire (a metric that is
 * not there equals nothing, a label that nothing carries) the rule beside it does. `docs/monitoring.md` has them in words.
 */
export function alertRules({ name, monitoring }: Application): RuleFile {
  const proofs = proofRules(name, monitoring.proofMaxAgeSeconds);
  const told = [...backupRules(name), ...reachRules(name), ...proofs, ...copyRules(name)];
  const all = [...told, ...moveRules(name, monitoring.recoverySeconds), ...watchRules(name)];
  const rules = all.map((each) => ruleOf(name, each, monitoring.alerts[each.policy]));
  return { groups: [{ name: `drctl-${name}`, rules }] };
}

function ruleOf(app: string, { alert, expr, summary, description }: Told, policy: AlertPolicy): AlertRule {
  return {
    alert,
    expr,
    for: duration(policy.forSeconds),
    labels: { severity: policy.severity, app },
    annotations: { summary, description },
  };
}

function backupRules(name: string): Told[] {
  const app = `{app="${name}"}`;
  const fulls = `max ${STORE} (drctl_backups{app="${name}",type="full"})`;
  return [
    {
      alert: 'BackupFailure',
      policy: 'backupFailure',
      expr: `min ${STORE} (backup_success${app}) == 0`,
      summary: 'Backup failed for {{ $labels.store }}',
      description: 'The last backup of {{ $labels.store }} ({{ $labels.kind }}) failed. See: drctl runs list',
    },
    {
      alert: 'BackupDelayed',
      policy: 'backupDelayed',
      expr: `time() - max ${STORE} (backup_last_success_timestamp${app}) > ${ON_STORE} max ${STORE} (drctl_backup_delayed_after_seconds${app})`,
      summary: 'Backup is delayed for {{ $labels.store }}',
      description: 'Its newest backup is {{ $value | humanizeDuration }} old. See: drctl status',
    },
    {
      alert: 'BackupMissing',
      policy: 'backupMissing',
      expr: `${fulls} == 0`,
      summary: '{{ $labels.store }} has no backup',
      description: 'Nothing of it can be restored. Take one: drctl backup {{ $labels.store }}',
    },
    {
      alert: 'BackupDamaged',
      policy: 'backupDamaged',
      expr: `max ${STORE} (drctl_backups_damaged${app}) > 0`,
      summary: 'A backup of {{ $labels.store }} is damaged',
      description:
        '{{ $value }} of its backups cannot be restored. See: drctl status, drctl proofs list {{ $labels.store }}',
    },
  ];
}

function reachRules(name: string): Told[] {
  const app = `{app="${name}"}`;
  const risk = `min ${STORE} (drctl_rpo_seconds${app})`;
  const objective = `max ${STORE} (drctl_rpo_objective_seconds${app})`;
  return [
    {
      alert: 'RPOBreached',
      policy: 'rpoBreached',
      expr: `${risk} > ${ON_STORE} ${objective}`,
      summary: '{{ $labels.store }} would lose more than its objective',
      description:
        'Changes of {{ $value | humanizeDuration }} are in no backup and in no archived log. See: drctl log status',
    },
    {
      alert: 'RPOUnknown',
      policy: 'rpoBreached',
      // What is missing is no number that could be too large; a store without any backup is told as such.
      expr: `(${objective} unless ${ON_STORE} ${risk}) and ${ON_STORE} max ${STORE} (drctl_backups{app="${name}",type="full"}) > 0`,
      summary: 'What {{ $labels.store }} would lose is not known',
      description: 'How far it can be restored cannot be told. See: drctl log status',
    },
    {
      alert: 'LogGap',
      policy: 'logGap',
      expr: `time() - max ${STORE} (drctl_log_last_gap_timestamp_seconds${app}) < ${GAP_TOLD}`,
      summary: 'The log of {{ $labels.store }} has a gap',
      description:
        'Nothing within it can be restored; it ended {{ $value | humanizeDuration }} ago. See: drctl log status',
    },
    {
      alert: 'LogSlotLost',
      policy: 'slotLost',
      expr: `max by (app, store, kind, site, state) (drctl_log_slot_state{app="${name}",state=~"endangered|lost|absent"}) == 1`,
      summary: 'The log slot of {{ $labels.store }} at {{ $labels.site }} is {{ $labels.state }}',
      description: 'The server does not keep, or soon will not keep, what is not archived yet. See: drctl log status',
    },
    {
      alert: 'ReplicationUnmeasured',
      policy: 'notReady',
      // A sample that was never taken has no time that could be old.
      expr:
        `max ${STORE} (drctl_replication_expected${app}) unless ${ON_STORE} ` +
        `time() - max ${STORE} (drctl_replication_sample_timestamp_seconds${app}) <= ${SAMPLE_TOO_OLD}`,
      summary: 'The replication of {{ $labels.store }} is not measured',
      description: 'What a failover would lose is not known. See: drctl runs status watch:{{ $labels.app }}',
    },
  ];
}

function proofRules(name: string, maxAgeSeconds: number | null): Told[] {
  const app = `{app="${name}"}`;
  const proven = `max ${STORE} (drctl_proof_last_success_timestamp_seconds{app="${name}",proof!="quick"})`;
  const failed: Told = {
    alert: 'ProofFailed',
    policy: 'proofFailed',
    expr: `min by (app, store, kind, proof) (drctl_proof_success${app}) == 0`,
    summary: 'The {{ $labels.proof }} proof of {{ $labels.store }} failed',
    description: 'What was looked at is damaged, missing or too slow to bring back.',
  };
  if (maxAgeSeconds === null) return [failed];
  return [
    failed,
    {
      alert: 'ProofTooOld',
      policy: 'proofTooOld',
      expr:
        `time() - ${proven} > ${maxAgeSeconds} or ` +
        `(time() - max ${STORE} (drctl_backup_oldest_timestamp_seconds${app}) > ${maxAgeSeconds} unless ${ON_STORE} ${proven})`,
      summary: 'No backup of {{ $labels.store }} was proven for too long',
      description: 'None was read completely or restored for {{ $value | humanizeDuration }}.',
    },
  ];
}

function copyRules(name: string): Told[] {
  const app = `{app="${name}"}`;
  const copy = 'by (app, store, kind, copy)';
  const allowed = `max ${copy} (drctl_copy_lag_objective_seconds${app})`;
  const complete = `max ${copy} (drctl_copy_complete_timestamp_seconds${app})`;
  const on = 'on (app, store, kind, copy)';
  const aDayOld = `${ON_STORE} (time() - max ${STORE} (drctl_backup_oldest_timestamp_seconds${app}) > 86400)`;
  return [
    {
      alert: 'CopyBehind',
      policy: 'copyBehind',
      expr: `time() - ${complete} > ${on} ${allowed}`,
      summary: 'The copy of {{ $labels.store }} in {{ $labels.copy }} is behind',
      description: 'It is complete only until {{ $value | humanizeDuration }} ago. See: drctl copies list',
    },
    {
      alert: 'CopyMissing',
      policy: 'copyBehind',
      // A store that was backed up first today may still be on its way.
      expr: `(${allowed} unless ${on} ${complete}) and ${aDayOld}`,
      summary: '{{ $labels.store }} was never copied completely to {{ $labels.copy }}',
      description: 'The loss of its repository would be the loss of its backups. See: drctl copies list',
    },
    {
      alert: 'CopyDamaged',
      policy: 'backupDamaged',
      expr: `max ${copy} (drctl_copy_damaged_objects${app}) > 0`,
      summary: 'Stored objects of {{ $labels.store }} cannot be copied to {{ $labels.copy }}: they are damaged',
      description: 'There are {{ $value }}. See: drctl copies list {{ $labels.store }}',
    },
  ];
}

function moveRules(name: string, recoverySeconds: number): Told[] {
  const app = `{app="${name}"}`;
  const passive = `on (app, site) max by (app, site) (drctl_active_site${app}) == 0`;
  return [
    {
      alert: 'RecoveryTooSlow',
      policy: 'recoveryTooSlow',
      expr: `max by (app, operation) (recovery_duration_seconds${app}) > ${recoverySeconds}`,
      summary: 'The newest {{ $labels.operation }} took too long',
      description: 'It took {{ $value | humanizeDuration }}. See: drctl report list',
    },
    {
      alert: 'NotReady',
      policy: 'notReady',
      expr: `min by (app, site) (drctl_ready${app}) == 0 and ${passive}`,
      summary: '{{ $labels.app }} could not fail over to {{ $labels.site }}',
      description: 'Something would fail on the day. See: drctl plan failover --dry-run',
    },
    {
      alert: 'ReadinessUnknown',
      policy: 'notReady',
      // A look that was never taken has no time that could be old.
      expr:
        `max by (app, site) (drctl_active_site${app}) == 0 unless on (app, site) ` +
        `time() - max by (app, site) (drctl_readiness_timestamp_seconds${app}) <= ${LOOK_TOO_OLD}`,
      summary: 'Nobody looked whether {{ $labels.app }} could fail over to {{ $labels.site }}',
      description: 'Nobody did for a day, or ever. Schedule `run: readiness`.',
    },
  ];
}

/** What tells that nobody looks any more: without these, everything that is not seen looks healthy. */
function watchRules(name: string): Told[] {
  const app = `{app="${name}"}`;
  return [
    {
      alert: 'DRSiteDown',
      policy: 'drSiteDown',
      expr: `max by (job, worker) (up{job="${DR_SITE_JOB}"}) == 0`,
      summary: 'DR site is not responding: {{ $labels.worker }}',
      description: 'Its worker, or a database server that its worker needs, does not answer.',
    },
    {
      alert: 'DRSiteUnwatched',
      policy: 'metricsMissing',
      expr: `absent(up{job="${DR_SITE_JOB}"})`,
      summary: 'Nobody watches the DR site',
      description: `Prometheus has no job ${DR_SITE_JOB}. See: drctl metrics scrape`,
    },
    {
      alert: 'MetricsMissing',
      policy: 'metricsMissing',
      expr: `absent(drctl_metrics_collected_timestamp_seconds${app})`,
      summary: `No worker tells of ${name}`,
      description: `No other alert of ${name} can fire. Is a worker up, and does Prometheus have the job ${WORKERS_JOB}?`,
    },
    {
      alert: 'MetricsStale',
      policy: 'metricsMissing',
      // From then on the workers tell no figure any more: no other alert could fire.
      expr: `time() - max by (app) (drctl_metrics_collected_timestamp_seconds${app}) > on (app) max by (app) (drctl_metrics_stale_after_seconds${app})`,
      summary: 'The figures of {{ $labels.app }} are not collected any more',
      description: "They are {{ $value | humanizeDuration }} old: no other alert can fire. See the worker's log.",
    },
    {
      alert: 'MetricsIncomplete',
      policy: 'metricsMissing',
      expr: `min by (app, part) (drctl_metrics_problem${app}) == 1`,
      summary: 'A part of the figures of {{ $labels.app }} cannot be read: {{ $labels.part }}',
      description: "Its alerts cannot fire. See the worker's log for the reason.",
    },
  ];
}

/** As Prometheus writes it: `90s`, `15m`, `1h`. */
function duration(seconds: number): string {
  if (seconds > 0 && seconds % 3_600 === 0) return `${seconds / 3_600}h`;
  return seconds > 0 && seconds % 60 === 0 ? `${seconds / 60}m` : `${seconds}s`;
}
