import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { toApplication } from '../../config/application';
import { loadConfig } from '../../config/load';
import { alertRules } from '../../core/monitoring/alert-rules';
import { prometheusPrograms } from '../../lab/runtime/prometheus';

/** The rules of the example, on Prometheus's own evaluation (`promtool test rules`). */
const programs = prometheusPrograms();
// CI has Debian's package lists; a person's machine may have none, and then these are listed as not run.
const withPromtool = programs || process.env['CI'] ? describe : describe.skip;
const application = toApplication(loadConfig('config/examples/ultramarket.yaml'));
const monitoring = { ...application.monitoring, proofMaxAgeSeconds: 8 * 86_400 };
const rules = alertRules({ ...application, monitoring });

let folder: string;
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), 'drctl-rules-'))));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const STORE = 'app="ultramarket",store="orders-db",kind="postgresql"';
/** The clock of a test begins at 0 and has a sample every four minutes, for two hours and a half. */
const STEP_MINUTES = 4;
const ALWAYS = (value: number) => `${value}x40`;
/** Always shows the time, so nothing is ever old. */
const ALWAYS_NOW = `0+${STEP_MINUTES * 60}x40`;
const DAYS_AGO = (days: number) => ALWAYS(-86_400 * days);

/** Two workers that tell of a healthy application. */
const HEALTHY: Readonly<Record<string, string>> = Object.fromEntries(
  ['primary', 'dr'].flatMap((site) => {
    const from = `job="drctl",instance="${site}:9464"`;
    return Object.entries({
      [`backup_success{${STORE}}`]: ALWAYS(1),
      [`backup_last_success_timestamp{${STORE}}`]: ALWAYS_NOW,
      [`drctl_backup_delayed_after_seconds{${STORE}}`]: ALWAYS(86_400),
      [`drctl_backup_oldest_timestamp_seconds{${STORE}}`]: ALWAYS(0),
      [`drctl_backups{${STORE},type="full"}`]: ALWAYS(30),
      [`drctl_backups_damaged{${STORE}}`]: ALWAYS(0),
      [`drctl_rpo_seconds{${STORE}}`]: ALWAYS(2),
      [`drctl_rpo_objective_seconds{${STORE}}`]: ALWAYS(900),
      [`drctl_log_slot_state{${STORE},site="${site}",state="reading"}`]: ALWAYS(1),
      [`drctl_log_slot_state{${STORE},site="${site}",state="lost"}`]: ALWAYS(0),
      [`drctl_log_slot_state{${STORE},site="${site}",state="endangered"}`]: ALWAYS(0),
      [`drctl_log_slot_state{${STORE},site="${site}",state="absent"}`]: ALWAYS(0),
      [`drctl_log_slot_state{${STORE},site="${site}",state="unused"}`]: ALWAYS(0),
      [`drctl_replication_expected{${STORE}}`]: ALWAYS(1),
      [`drctl_replication_sample_timestamp_seconds{${STORE}}`]: ALWAYS_NOW,
      [`drctl_proof_success{${STORE},proof="full"}`]: ALWAYS(1),
      [`drctl_proof_last_success_timestamp_seconds{${STORE},proof="full"}`]: ALWAYS_NOW,
      [`drctl_copy_complete_timestamp_seconds{${STORE},copy="offsite"}`]: ALWAYS_NOW,
      [`drctl_copy_lag_objective_seconds{${STORE},copy="offsite"}`]: ALWAYS(3_600),
      [`drctl_copy_damaged_objects{${STORE},copy="offsite"}`]: ALWAYS(0),
      [`recovery_duration_seconds{app="ultramarket",operation="failover"}`]: ALWAYS(600),
      [`drctl_active_site{app="ultramarket",site="primary"}`]: ALWAYS(1),
      [`drctl_active_site{app="ultramarket",site="dr"}`]: ALWAYS(0),
      [`drctl_ready{app="ultramarket",site="dr"}`]: ALWAYS(1),
      [`drctl_readiness_timestamp_seconds{app="ultramarket",site="dr"}`]: ALWAYS_NOW,
      [`drctl_metrics_collected_timestamp_seconds{app="ultramarket"}`]: ALWAYS_NOW,
      [`drctl_metrics_stale_after_seconds{app="ultramarket"}`]: ALWAYS(300),
    }).map(([series, values]) => [series.replace('}', `,${from}}`), values]);
  }),
);
const UP = {
  'up{job="drctl",instance="primary:9464"}': ALWAYS(1),
  'up{job="dr-site-health",instance="dr:9464",worker="dr"}': ALWAYS(1),
};

/** What is different, by the beginning of the series' names; null: not there. Both workers see it. */
interface Case {
  readonly alert: string;
  readonly because: string;
  readonly changes: Readonly<Record<string, string | null>>;
}

const CASES: readonly Case[] = [
  { alert: 'BackupFailure', because: 'the last backup failed', changes: { 'backup_success{': ALWAYS(0) } },
  {
    alert: 'BackupDelayed',
    because: 'no backup for more than a day',
    changes: { 'backup_last_success_timestamp{': DAYS_AGO(1) },
  },
  { alert: 'BackupMissing', because: 'there is no full', changes: { 'drctl_backups{': ALWAYS(0) } },
  { alert: 'BackupDamaged', because: 'a manifest cannot be read', changes: { 'drctl_backups_damaged{': ALWAYS(1) } },
  { alert: 'RPOBreached', because: 'too much is not archived', changes: { 'drctl_rpo_seconds{': ALWAYS(901) } },
  { alert: 'RPOUnknown', because: 'nobody knows how much is not archived', changes: { 'drctl_rpo_seconds{': null } },
  {
    alert: 'LogGap',
    because: 'a gap ended within the last day',
    changes: { 'drctl_log_last_gap_timestamp_seconds{': ALWAYS(60) },
  },
  { alert: 'LogSlotLost', because: 'the slot is lost', changes: { 'state="lost"': ALWAYS(1) } },
  { alert: 'LogSlotLost', because: 'the slot is about to be lost', changes: { 'state="endangered"': ALWAYS(1) } },
  { alert: 'LogSlotLost', because: 'somebody dropped the slot', changes: { 'state="absent"': ALWAYS(1) } },
  {
    alert: 'ReplicationUnmeasured',
    because: 'the watch has ended',
    changes: { 'drctl_replication_sample_timestamp_seconds{': ALWAYS(0) },
  },
  {
    alert: 'ReplicationUnmeasured',
    because: 'nobody has ever measured it',
    changes: { 'drctl_replication_sample_timestamp_seconds{': null },
  },
  { alert: 'ProofFailed', because: 'the newest proof failed', changes: { 'drctl_proof_success{': ALWAYS(0) } },
  {
    alert: 'ProofTooOld',
    because: 'the newest proof is older than eight days',
    changes: { 'drctl_proof_last_success_timestamp_seconds{': DAYS_AGO(8) },
  },
  {
    alert: 'ProofTooOld',
    because: 'nothing was ever proven in eight days of backups',
    changes: {
      'drctl_proof_last_success_timestamp_seconds{': null,
      'drctl_proof_success{': null,
      'drctl_backup_oldest_timestamp_seconds{': DAYS_AGO(8),
    },
  },
  {
    alert: 'CopyBehind',
    because: 'the copy has nothing of the last day',
    changes: { 'drctl_copy_complete_timestamp_seconds{': DAYS_AGO(1) },
  },
  {
    alert: 'CopyMissing',
    because: 'it was never complete, two days after the first backup',
    changes: {
      'drctl_copy_complete_timestamp_seconds{': null,
      'drctl_backup_oldest_timestamp_seconds{': DAYS_AGO(2),
    },
  },
  {
    alert: 'CopyDamaged',
    because: 'an object could not be copied',
    changes: { 'drctl_copy_damaged_objects{': ALWAYS(1) },
  },
  { alert: 'RecoveryTooSlow', because: 'five hours', changes: { 'recovery_duration_seconds{': ALWAYS(18_000) } },
  { alert: 'NotReady', because: 'a look found that it would fail', changes: { 'drctl_ready{': ALWAYS(0) } },
  {
    alert: 'ReadinessUnknown',
    because: 'nobody has looked for a day',
    changes: { 'drctl_readiness_timestamp_seconds{': DAYS_AGO(1) },
  },
  {
    alert: 'ReadinessUnknown',
    because: 'nobody has ever looked',
    changes: { 'drctl_readiness_timestamp_seconds{': null, 'drctl_ready{': null },
  },
  { alert: 'DRSiteDown', because: 'it does not answer', changes: { 'up{job="dr-site-health"': ALWAYS(0) } },
  { alert: 'DRSiteUnwatched', because: 'there is no such job', changes: { 'up{job="dr-site-health"': null } },
  {
    alert: 'MetricsMissing',
    because: 'no worker is scraped',
    changes: Object.fromEntries(Object.keys(HEALTHY).map((series) => [series, null])),
  },
  {
    alert: 'MetricsStale',
    because: 'the workers collect no more',
    changes: { 'drctl_metrics_collected_timestamp_seconds{': ALWAYS(0) },
  },
  {
    alert: 'MetricsIncomplete',
    because: 'a part cannot be read',
    changes: { 'drctl_metrics_problem{': ALWAYS(1) },
  },
];

/** Series that a healthy application does not have at all. */
const ADDED: Readonly<Record<string, string>> = {
  'drctl_log_last_gap_timestamp_seconds{': `drctl_log_last_gap_timestamp_seconds{${STORE}}`,
  'drctl_metrics_problem{': 'drctl_metrics_problem{app="ultramarket",part="temporal"}',
};

function testOf(name: string, changes: Case['changes'], after: string, firing: readonly string[]) {
  const series = Object.entries({ ...HEALTHY, ...UP }).flatMap(([each, values]) => {
    const change = Object.entries(changes).find(
      ([part]) => each.startsWith(part) || (part.startsWith('state=') && each.includes(part)),
    );
    const value = change ? change[1] : values;
    return value === null ? [] : [{ series: each, values: value }];
  });
  const added = Object.entries(changes).flatMap(([part, values]) => {
    const fresh = ADDED[part];
    return fresh && values !== null ? [{ series: fresh, values }] : [];
  });
  return {
    name,
    interval: `${STEP_MINUTES}m`,
    input_series: [...series, ...added],
    promql_expr_test: [
      {
        expr: 'count by (alertname) (ALERTS{alertstate="firing"})',
        eval_time: after,
        exp_samples: firing.map((alertname) => ({ labels: `{alertname="${alertname}"}`, value: 1 })),
      },
    ],
  };
}

function promtool(what: string, tests: readonly object[]): string {
  writeFileSync(join(folder, 'rules.yml'), stringify(rules));
  writeFileSync(
    join(folder, `${what}.yml`),
    stringify({ rule_files: ['rules.yml'], evaluation_interval: `${STEP_MINUTES}m`, tests }),
  );
  const { stdout, stderr, status } = spawnSync(programs!.promtool, ['test', 'rules', join(folder, `${what}.yml`)], {
    encoding: 'utf8',
  });
  return status === 0 ? '' : `${stdout}${stderr}`;
}

withPromtool('promtool', () => {
  test('nothing is told of a healthy application', () => {
    const unused = testOf('a server that no archiver has read yet', { 'state="unused"': ALWAYS(1) }, '2h', []);
    expect(promtool('healthy', [testOf('healthy', {}, '2h', []), unused])).toBe('');
  });

  test('each alert is told once, for its reason and for no other, however many workers tell of it', () => {
    const tests = CASES.map(({ alert, because, changes }) => {
      // Two workers see a slot each: both are told.
      const firing = testOf(`${alert}: ${because}`, changes, '2h', [alert]);
      if (alert === 'LogSlotLost') firing.promql_expr_test[0]!.exp_samples[0]!.value = 2;
      return firing;
    });
    expect(promtool('cases', tests)).toBe('');
  });

  test('what lasts less than it has to is not told', () => {
    // A timestamp of before the beginning is old at once; one of the beginning is not after one step.
    const pending = CASES.filter(({ alert }) => forOf(alert) !== '0s');
    expect(pending.length).toBeGreaterThan(10);
    const tests = pending.map(({ alert, because, changes }) =>
      testOf(`${alert} too early: ${because}`, changes, `${STEP_MINUTES}m`, []),
    );
    expect(promtool('early', tests)).toBe('');
  });
});

test('every rule is made to fire, and says what to look at', () => {
  const names = rules.groups.flatMap((group) => group.rules.map(({ alert }) => alert));
  expect([...new Set(CASES.map(({ alert }) => alert))].toSorted()).toEqual([...new Set(names)].toSorted());
  expect(forOf('BackupFailure')).toBe('15m');
  expect(forOf('BackupDelayed')).toBe('1h');
});

function forOf(alert: string): string {
  return rules.groups.flatMap((group) => group.rules).find((rule) => rule.alert === alert)?.for ?? '';
}
