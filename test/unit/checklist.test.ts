import { readFileSync } from 'node:fs';
import { CHECKLIST_PERIODS, type ChecklistPeriod } from '../../core/checklist';
import {
  type DiskSpace,
  judgeBackups,
  judgeCapacity,
  judgeDrill,
  judgeDrSite,
  judgeNetwork,
  judgeObjectives,
  judgeProofs,
  judgeReplication,
  type StoreProofs,
} from '../../core/checklist-judgements';
import type { OpenApplication } from '../../activities/deps';
import { observeRecoveries } from '../../activities/observe-application';
import { checklistPlan } from '../../config/checklists';
import { parseConfig } from '../../config/load';
import { layout } from '../../core/layout';
import { copyReport } from '../../core/report/from-restore';
import type { Repository } from '../../core/repository';
import { check, type ReadinessResult, type ReadinessState } from '../../core/readiness';
import type { StoreHealth } from '../../core/runs';

const now = '2026-11-23T12:00:00.000Z';
const hoursAgo = (hours: number) => new Date(Date.parse(now) - hours * 3_600_000).toISOString();
const example = readFileSync('config/examples/ultramarket.yaml', 'utf8').replace(/^checklists:\n(?: .*\n)+/m, '');
const plan = (period: ChecklistPeriod, added = '') =>
  checklistPlan(parseConfig(`${example}${added}`, 'drctl.yaml'), period);

test("the lists have the strategy's twenty lines, each with a name of its own and somebody or something to look at it", () => {
  const items = CHECKLIST_PERIODS.flatMap((period) => plan(period).items);
  expect(items.map(({ title }) => title)).toEqual([
    ...['Backup status check', 'Backup integrity', 'Storage monitoring', 'Replication health', 'DR site health'],
    ...['Restore test', 'Network connectivity', 'Documentation review', 'Team training', 'Capacity planning'],
    ...['Full DR test', 'RTO/RPO validation', 'Security review', 'Cost optimization', 'Stakeholder report'],
    ...['DR plan update', 'Vendor review', 'Compliance audit', 'Technology refresh', 'Business impact analysis'],
  ]);
  expect(new Set(items.map(({ id }) => id)).size).toBe(20);
  expect(items.filter((each) => each.check === null && !each.sign)).toEqual([]);
});

test('the config adds items, leaves others out, and says who may sign and how long it may take', () => {
  const added = `
checklists:
  signers: [dana]
  weekly:
    remindEvery: 12h
    dueWithin: 5d
    leaveOut: [training]
    items:
      - { name: tapes, title: Tapes, what: they are in the safe }
      - { name: nightly, title: Nightly, what: last night, check: backups, sign: false }
`;
  const { items, remindSeconds, escalateSeconds, dueSeconds, signers } = plan('weekly', added);
  expect(items.map(({ id }) => id)).toEqual([
    ...['restore-test', 'dr-network', 'documentation', 'capacity-plan', 'tapes', 'nightly'],
  ]);
  expect(items.slice(-2)).toMatchObject([
    { check: null, sign: true },
    { check: 'backups', sign: false },
  ]);
  expect({ remindSeconds, escalateSeconds, dueSeconds, signers }).toEqual({
    ...{ remindSeconds: 43_200, escalateSeconds: 4 * 86_400, dueSeconds: 5 * 86_400, signers: ['dana'] },
  });
});

test.each([
  ['daily: { dueWithin: 2d }', /dueWithin: .*must be at most 1d: the next daily list/],
  ['weekly: { escalateAfter: 6d }', /escalateAfter: .*must be shorter than dueWithin/],
  ['weekly: { remindEvery: 1h }', /remindEvery: .*must be at least a 60th of dueWithin/],
  ['daily: { leaveOut: [backup] }', /"backup".*backup-status/],
  [
    'daily: { items: [{ name: storage, title: x, what: y }] }',
    /items\.0\.name: the list has an item "storage" already/,
  ],
  ['daily: { items: [{ name: x, title: x, what: y, sign: false }] }', /sign: .*must be true where there is no check/],
])('checklists with %s are refused', (line, message) => {
  expect(() => plan('daily', `\nchecklists:\n  ${line}\n`)).toThrow(message);
});

const health = (store: string, more: Partial<StoreHealth> = {}): StoreHealth => ({
  ...{ store, status: 'healthy', reasons: [], lastBackupAt: now, lastBackupAgeHours: 3, rpoSeconds: 1, problems: [] },
  ...more,
});

test('backups: every store has to be healthy, and what is not says why', () => {
  const good = { application: 'shop', at: now, stores: [health('orders')] };
  expect(judgeBackups(good)).toEqual({
    ...{ holds: true, found: 'every store is healthy; newest backups: orders 3h 0m old' },
  });
  const bad = health('events', {
    status: 'error',
    reasons: [
      { alert: 'backupMissing', status: 'error', text: 'there is no backup', severity: 'critical', forSeconds: 0 },
    ],
  });
  expect(judgeBackups({ ...good, stores: [...good.stores, bad] })).toEqual({
    ...{ holds: false, found: 'events: there is no backup' },
  });
});

const proven = (store: string, kind: 'quick' | 'full' | 'restore', hours: number, result = 'proven'): StoreProofs => ({
  store,
  newest: [{ store, proofId: `${store}-${kind}`, kind, result: result as 'proven', at: hoursAgo(hours) }],
  restore: null,
});

test('proofs: each store needs one as deep as asked, not failed, and not too old', () => {
  const judged = (proofs: StoreProofs[], kind: 'full' | 'restore', period: ChecklistPeriod) =>
    judgeProofs(proofs, kind, period, now);
  expect(judged([proven('orders', 'restore', 20), proven('events', 'full', 3)], 'full', 'daily')).toEqual({
    ...{ holds: true, found: 'read completely: orders 20h 0m ago; events 3h 0m ago' },
  });
  for (const [proofs, kind, period, words] of [
    [proven('orders', 'quick', 1), 'full', 'daily', 'orders: no backup of it was ever read completely'],
    [proven('orders', 'full', 1), 'restore', 'weekly', 'orders: no backup of it was ever restored and read'],
    [proven('orders', 'full', 27), 'full', 'daily', 'orders: read completely 1d 3h ago, which is too long'],
    [proven('orders', 'full', 1, 'failed'), 'full', 'daily', 'orders: proof orders-full failed 1h 0m ago'],
  ] as const) {
    expect(judged([proven('good', 'restore', 1), proofs], kind, period)).toEqual({ holds: false, found: words });
  }
});

test('objectives: measured on real restores; one that was never done proves nothing', () => {
  const restored = (recoverySeconds: number, lossSeconds: number | null): StoreProofs => ({
    ...proven('orders', 'restore', 1),
    restore: { proofId: 'p', recoverySeconds, rtoSeconds: 14_400, lossSeconds, rpoSeconds: 900 },
  });
  expect(judgeObjectives([restored(90, 2)])).toEqual({
    ...{ holds: true, found: 'orders: back in 1m 30s of 4h 0m, lost at most 2.0 s of 15m 0s' },
  });
  expect(judgeObjectives([restored(90, null)]).found).toBe('orders: back in 1m 30s of 4h 0m');
  expect(judgeObjectives([restored(20_000, 2)]).holds).toBe(false);
  expect(judgeObjectives([restored(90, 901)]).found).toMatch(/OVER$/);
  expect(judgeObjectives([proven('orders', 'full', 1)])).toMatchObject({ holds: false });
});

const ready = (states: Record<string, ReadinessState>): ReadinessResult => {
  const checks = Object.entries(states).map(([id, state]) => check(id, id, [state, `it is ${state}`, null]));
  const verdict = Object.values(states).every((state) => state === 'ok') ? 'ready' : 'not ready';
  return { application: 'shop', fromSite: 'primary', toSite: 'dr', at: now, verdict, score: 50, checks };
};

test('replication, network and the DR site are judged by the looks of the readiness check that are about them', () => {
  const looks = { worker: 'ok', 'standby:orders': 'ok', 'loss:orders': 'ok', 'control-repository': 'ok' } as const;
  const mute = ready({ ...looks, 'loss:orders': 'unknown' });
  expect(judgeReplication(mute)).toEqual({ holds: false, found: 'loss:orders: it is unknown' });
  expect(judgeNetwork(mute).holds).toBe(true);
  expect(judgeDrSite(mute)).toEqual({
    ...{ holds: false, found: 'dr is not ready to take over, 50 of 100: loss:orders (drctl plan failover --dry-run)' },
  });
  const closed = ready({ ...looks, 'control-repository': 'failing' });
  expect([judgeReplication(closed).holds, judgeNetwork(closed).holds]).toEqual([true, false]);
  // Where the worker does not answer nothing else was seen.
  const gone = ready({ worker: 'failing' });
  expect([judgeReplication(gone).holds, judgeNetwork(gone).holds, judgeDrSite(gone).holds]).toEqual([
    false,
    false,
    false,
  ]);
});

test('drill: there has to be one of this month that achieved what it was for', () => {
  const report = { id: 'drill-1', outcome: 'completed', because: '5 of 5', endedAt: hoursAgo(24) };
  expect(judgeDrill({ ...report, verdict: 'achieved' }, now)).toMatchObject({ holds: true });
  expect(judgeDrill({ ...report, verdict: 'failed' }, now)).toMatchObject({ holds: false });
  expect(judgeDrill({ ...report, verdict: 'achieved', endedAt: hoursAgo(33 * 24) }, now).found).toMatch(/too long ago/);
  expect(judgeDrill(null, now)).toMatchObject({ holds: false });
});

test('capacity: disks have to take what is coming; a site that cannot be seen does not hold', () => {
  const store = { store: 'orders', backups: 3, storedBytes: 3_000, monthBytes: 2_000, fullBytes: 1_000 };
  const disk = (freeBytes: number, use: DiskSpace['use'] = 'spool'): DiskSpace => ({
    ...{ site: 'dr', use, directory: '/backup', freeBytes, totalBytes: 10_000 },
  });
  expect(judgeCapacity([store], [disk(2_000), disk(2_000, 'repository')])).toMatchObject({ holds: true });
  expect(judgeCapacity([store], [disk(1_999)])).toEqual({
    ...{ holds: false, found: 'spool /backup at dr: 2.0 KiB of 9.8 KiB free, 2.0 KiB are needed' },
  });
  expect(judgeCapacity([store], [disk(1_999, 'repository')])).toMatchObject({ holds: false });
  expect(judgeCapacity([store], [{ holds: false, found: 'nobody there' }])).toEqual({
    holds: false,
    found: 'nobody there',
  });
});

test('a checklist is no recovery, and however many there are they hide none', async () => {
  const report = (kind: 'restore' | 'checklist', runId: string, seconds: number) =>
    copyReport({
      ...{ kind, workflowId: 'w', runId, application: 'shop', requestedBy: 'dana', decisions: null, outcome: 'done' },
      ...{ verdict: 'achieved', because: 'done', stores: [], steps: [], warnings: [], messages: [] },
      ...{ startedAt: hoursAgo(24), endedAt: new Date(Date.parse(hoursAgo(24)) + seconds * 1_000).toISOString() },
    });
  const reports = [
    report('restore', 'r', 60),
    ...Array.from({ length: 60 }, (_, n) => report('checklist', `c${n}`, 9_000)),
  ];
  const byKey = new Map(reports.map((each) => [layout.report(each.id, 'json'), each]));
  const control = {
    async *list() {
      let age = 0;
      for (const key of byKey.keys()) yield { key, sizeBytes: 1, modifiedAt: hoursAgo(100 - (age += 1)) };
    },
    read: async (key: string) => Buffer.from(JSON.stringify(byKey.get(key))),
  } as unknown as Repository;
  await expect(observeRecoveries({ control } as OpenApplication, new Map())).resolves.toMatchObject([
    { operation: 'restore', seconds: 60 },
  ]);
});
