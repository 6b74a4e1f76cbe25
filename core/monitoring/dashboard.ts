import type { Application } from '../application';
import { DR_SITE_JOB } from './scrape-config';

/** One query of a panel, as Prometheus takes it. */
interface Target {
  readonly expr: string;
  readonly legend: string;
}

interface PanelText {
  readonly title: string;
  readonly description: string;
  readonly type: 'timeseries' | 'stat' | 'table' | 'bargauge';
  readonly unit: string;
  readonly targets: readonly Target[];
  /** Drawn as a line, and where a value turns red: above it, or below it where `below` is set. */
  readonly limit?: { readonly value: number; readonly below?: true };
  readonly width?: number;
}

const GRID_COLUMNS = 24;
const PANEL_HEIGHT = 8;

/** Every worker tells of the whole application: of what all tell one is taken. */
const store = (expr: string, how: 'max' | 'min' = 'max') => `${how} by (app, store, kind) (${expr})`;

/** The dashboard of one application: the strategy's four panels first, with its thresholds, then what else a person on call asks. */
export function dashboard({ name, monitoring, objectives }: Application): object {
  const app = `app="${name}"`;
  const { successRate, backupSeconds, sizeTrend } = monitoring.dashboard;
  // The same backup is counted by each worker: of each series the largest, then their sum.
  const counted = (metric: string, by: string, range: string) =>
    `sum(max by (${by}) (increase(${metric}{${app}}[${range}])))`;
  const rate = (range: string) => {
    const good = counted('backup_success_total', 'store, type', range);
    return `${good} / (${good} + ${counted('backup_failure_total', 'store', range)})`;
  };
  const panels: PanelText[] = [
    {
      title: 'Backup success rate',
      description: `Backups that were committed of those that ended; at least ${successRate * 100} %.`,
      type: 'stat',
      unit: 'percentunit',
      limit: { value: successRate, below: true },
      targets: [
        { expr: rate('24h'), legend: '24 hours' },
        { expr: rate('30d'), legend: '30 days' },
      ],
    },
    {
      title: 'Backup duration, 95th percentile of a week',
      description: 'From the start of a backup to its commit.',
      type: 'timeseries',
      unit: 's',
      limit: { value: backupSeconds },
      targets: [
        {
          expr: `histogram_quantile(0.95, max by (le, store, type) (increase(backup_duration_seconds_bucket{${app}}[7d])))`,
          legend: '{{store}} {{type}}',
        },
      ],
    },
    {
      title: 'Backup size',
      description: `Stored bytes of the newest backup; expected to be ${sizeTrend}.`,
      type: 'timeseries',
      unit: 'bytes',
      targets: [{ expr: `max by (store, type) (backup_size_bytes{${app}})`, legend: '{{store}} {{type}}' }],
    },
    {
      title: 'Recovery time',
      description: 'How long the newest failover, switchover, restore and drill took.',
      type: 'bargauge',
      unit: 's',
      limit: { value: monitoring.recoverySeconds },
      targets: [{ expr: `max by (operation) (recovery_duration_seconds{${app}})`, legend: '{{operation}}' }],
    },
    {
      title: 'Health',
      description: '1 healthy, 0.5 warning, 0 error.',
      type: 'stat',
      unit: 'short',
      limit: { value: 1, below: true },
      targets: [{ expr: store(`drctl_healthy{${app}}`, 'min'), legend: '{{store}}' }],
    },
    {
      title: 'At risk',
      description: `What would be lost with a store now. The application's objective is ${objectives.rpoSeconds} s.`,
      type: 'timeseries',
      unit: 's',
      limit: { value: objectives.rpoSeconds },
      targets: [{ expr: store(`drctl_rpo_seconds{${app}}`, 'min'), legend: '{{store}}' }],
    },
    {
      title: 'Age of the newest backup',
      description: 'Since it was committed.',
      type: 'timeseries',
      unit: 's',
      limit: { value: monitoring.delayedAfterSeconds },
      targets: [{ expr: `time() - ${store(`backup_last_success_timestamp{${app}}`)}`, legend: '{{store}}' }],
    },
    {
      title: 'Age of the newest proof',
      description: 'Since a backup was last read completely or restored.',
      type: 'timeseries',
      unit: 's',
      ...(monitoring.proofMaxAgeSeconds === null ? {} : { limit: { value: monitoring.proofMaxAgeSeconds } }),
      targets: [{ expr: store(`drctl_proof_age_seconds{${app}}`, 'min'), legend: '{{store}}' }],
    },
    {
      title: 'Replication lag',
      description: 'How far the standby was behind at the newest sample, at most.',
      type: 'timeseries',
      unit: 's',
      targets: [{ expr: store(`drctl_replication_lag_seconds{${app}}`), legend: '{{store}}' }],
    },
    {
      title: 'Log that is not archived yet',
      description: 'What the primary holds for the archiver.',
      type: 'timeseries',
      unit: 'bytes',
      targets: [{ expr: `max by (store, site) (drctl_log_slot_kept_bytes{${app}})`, legend: '{{store}} at {{site}}' }],
    },
    {
      title: 'Gaps in the log',
      description: 'Nothing within one can be restored.',
      type: 'stat',
      unit: 'short',
      limit: { value: 0 },
      targets: [{ expr: store(`drctl_log_gaps{${app}}`), legend: '{{store}}' }],
    },
    {
      title: 'Repository',
      description: 'Stored bytes by what they are.',
      type: 'timeseries',
      unit: 'bytes',
      targets: [
        {
          expr: `sum by (repository, content) (max by (repository, content, store) (drctl_repository_bytes{${app}}))`,
          legend: '{{repository}} {{content}}',
        },
      ],
    },
    {
      title: 'Sites',
      description: '1 for the active one; 1 for a standby site that answers.',
      type: 'stat',
      unit: 'short',
      targets: [
        { expr: `max by (site) (drctl_active_site{${app}})`, legend: 'active: {{site}}' },
        { expr: `max by (worker) (up{job="${DR_SITE_JOB}"})`, legend: 'answers: {{worker}}' },
      ],
    },
    {
      title: 'Role change',
      description: 'The phase of the one that runs.',
      type: 'table',
      unit: 'short',
      targets: [{ expr: `max by (kind, phase) (drctl_failover_phase{${app}})`, legend: '{{kind}}: {{phase}}' }],
    },
    {
      title: 'Readiness',
      description: 'Points of 100 of the newest look at whether a site could take over.',
      type: 'timeseries',
      unit: 'short',
      limit: { value: 100, below: true },
      targets: [{ expr: `max by (site) (drctl_readiness_score{${app}})`, legend: '{{site}}' }],
    },
    {
      title: 'Copies',
      description: 'How far each is behind its store.',
      type: 'timeseries',
      unit: 's',
      targets: [{ expr: `min by (store, copy) (drctl_copy_lag_seconds{${app}})`, legend: '{{store}} in {{copy}}' }],
    },
    {
      title: 'Age of these figures',
      description: 'Since a worker collected them.',
      type: 'stat',
      unit: 's',
      limit: { value: 300 },
      targets: [
        { expr: `time() - max by (app) (drctl_metrics_collected_timestamp_seconds{${app}})`, legend: '{{app}}' },
      ],
    },
  ];
  return {
    uid: `drctl-${name}`,
    title: `Backup and disaster recovery: ${name}`,
    tags: ['drctl'],
    schemaVersion: 39,
    refresh: '1m',
    time: { from: 'now-24h', to: 'now' },
    templating: { list: [{ name: 'datasource', type: 'datasource', query: 'prometheus', label: 'Prometheus' }] },
    panels: panels.map(panel),
  };
}

function panel({ title, description, type, unit, targets, limit, width = 12 }: PanelText, index: number): object {
  const perRow = GRID_COLUMNS / width;
  const datasource = { type: 'prometheus', uid: '${datasource}' };
  const [under, over] = limit?.below ? ['red', 'green'] : ['green', 'red'];
  const steps = [{ color: limit ? under : 'green', value: null }];
  return {
    id: index + 1,
    title,
    description,
    type,
    datasource,
    gridPos: { x: (index % perRow) * width, y: Math.floor(index / perRow) * PANEL_HEIGHT, w: width, h: PANEL_HEIGHT },
    fieldConfig: {
      defaults: {
        unit,
        thresholds: { mode: 'absolute', steps: limit ? [...steps, { color: over, value: limit.value }] : steps },
        ...(type === 'timeseries' && limit ? { custom: { thresholdsStyle: { mode: 'dashed' } } } : {}),
      },
      overrides: [],
    },
    targets: targets.map(({ expr, legend }, at) => ({
      refId: String.fromCharCode(65 + at),
      datasource,
      expr,
      legendFormat: legend,
      ...(type === 'timeseries' ? {} : { instant: true }),
      ...(type === 'table' ? { format: 'table' } : {}),
    })),
  };
}
