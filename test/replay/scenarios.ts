import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { failure } from '../../core/errors';
import { taskQueues } from '../../core/names';
import type { FailOverStatus } from '../../core/role-change-runs';
import type { RunStatus } from '../../core/runs';
import { fakeBackupWorld } from '../support/fake-backup';
import { checkedItem, fakeChecklistWorld } from '../support/fake-checklist';
import { fakeCopyWorld } from '../support/fake-copies';
import { fakeFailoverWorld, healthyWorld } from '../support/fake-failover';
import { fakeDrillWorld } from '../support/fake-drill';
import { fakeReadinessWorld } from '../support/fake-readiness';
import { fakeRetentionWorld } from '../support/fake-retention';
import { fakeArchiveRestore, fakeRestoreActivities } from '../support/fake-restore';
import { fakeVerifyWorld } from '../support/fake-verify';
import { follow } from '../support/follow';
import { waitUntil } from '../support/servers';
import { shop } from '../support/shop-application';
import type { FakeActivities } from '../support/workflow-environment';

/** One course of one workflow whose history is kept: the workflow must be able to replay it for ever. */
export interface Scenario {
  readonly name: string;
  readonly type: string;
  readonly input: object;
  readonly activities: FakeActivities;
  /** Brings the run to the point where its history is worth keeping: to its end, unless it lives for ever. */
  drive(env: TestWorkflowEnvironment, workflowId: string): Promise<void>;
}

const toTheEnd: Scenario['drive'] = async (env, workflowId) =>
  void (await env.client.workflow.getHandle(workflowId).result());
const toFailure: Scenario['drive'] = (env, workflowId) =>
  env.client.workflow
    .getHandle(workflowId)
    .result()
    .then(
      () => Promise.reject(new Error(`${workflowId} was to fail`)),
      () => {},
    );

const toRefusal = (update: Promise<unknown>) =>
  update.then(
    () => Promise.reject(new Error('the update was to be refused')),
    () => {},
  );

const status = <S extends RunStatus>(env: TestWorkflowEnvironment, workflowId: string) =>
  env.client.workflow.getHandle(workflowId).query<S>('status');

const decided =
  (...commands: readonly (readonly [wait: RegExp, name: string, payload: object])[]): Scenario['drive'] =>
  async (env, workflowId) => {
    for (const [wait, name, payload] of commands) {
      const waits = async () => wait.test((await status<FailOverStatus>(env, workflowId)).waitingFor ?? '');
      await waitUntil(`${workflowId} to wait for ${wait}`, waits, { deadlineMs: 30_000 });
      await env.client.workflow.getHandle(workflowId).executeUpdate(name, { args: [payload] });
    }
    await toTheEnd(env, workflowId);
  };

/** One round at primary, then moved to dr, where it goes on. */
const moved =
  (world: { activeSite?: string; epoch?: unknown }, calls: readonly string[], call: string): Scenario['drive'] =>
  async (env, workflowId) => {
    await waitUntil(`${call} at primary`, async () => calls.includes(`${call}:primary`), { deadlineMs: 30_000 });
    Object.assign(world, { activeSite: 'dr', epoch: 1 });
    await env.client.workflow.getHandle(workflowId).signal('moveTo', { epoch: 1 });
    await waitUntil(`${call} at dr`, async () => calls.includes(`${call}:dr`), { deadlineMs: 30_000 });
  };

export const QUEUES = ['primary', 'dr'].flatMap((site) => [
  taskQueues.site(shop.name, site),
  taskQueues.host(shop.name, site, 'h1'),
]);

export function scenarios(): Scenario[] {
  const application = shop.name;
  const backup = { application, store: 'orders', type: 'full', reason: 'recorded' };
  const failover = { application, toSite: 'dr', requestedBy: 'sam', reason: 'recorded' };
  const spool = fakeBackupWorld();
  const stream = fakeBackupWorld();
  stream.mode = 'stream';
  const broken = fakeBackupWorld();
  broken.before['verifyArtifacts'] = () => Promise.reject(failure('BackupCorrupt', 'bytes differ'));
  const refused = fakeBackupWorld();
  refused.before['dumpVolumes'] = () => {
    const first = refused.calls.filter((call) => call === 'dumpVolumes').length === 1;
    if (first) throw failure('IncrementalRefused', 'WAL summaries are gone');
  };
  refused.before['uploadVolumes'] = async () => {
    if (!refused.calls.includes('sweepAttempts:null')) await follow();
  };
  const archive = fakeBackupWorld();
  archive.before['archiveLog'] = follow;
  const watchCalls: string[] = [];
  const uptimeRounds: string[] = [];
  const watch = { activeSite: 'primary', epoch: 0 };
  const completed = fakeFailoverWorld();
  const aborted = fakeFailoverWorld();
  Object.assign(aborted, { siteFence: 'none' });
  const attested = fakeFailoverWorld();
  Object.assign(attested, { siteFence: 'none' });
  const worse = fakeFailoverWorld();
  const planned = healthyWorld();
  const takenBack = healthyWorld();
  takenBack.siteFence = 'none';
  const healthy = healthyWorld();
  const unready = fakeReadinessWorld();
  unready.states.set('standby:orders', 'failing');
  const dana = { by: 'dana', reason: 'recorded' };
  const abortedDrill = fakeDrillWorld();
  abortedDrill.before['startInBubble'] = follow;
  const checklist = fakeChecklistWorld([
    checkedItem('backup-status', 'backups'),
    checkedItem('dr-site', 'dr-site'),
    checkedItem('dr-test', 'drill', true),
    checkedItem('training', null, true),
  ]);
  checklist.plan = { ...checklist.plan, remindSeconds: 1, escalateSeconds: 2, dueSeconds: 60 };
  checklist.sick.set('orders', 'there is no backup');
  const place = { directory: '/restore/orders', host: '127.0.0.1', port: 0, osUser: null, overwrite: false };
  const restore = {
    application,
    restoreId: 'r1',
    site: 'primary',
    target: { kind: 'latest' },
    stores: [{ store: 'orders', place }],
    requestedBy: 'sam',
    approved: false,
  };
  const settled = {
    target: shop.dns[0],
    answers: [],
    changedAt: '2026-01-01T00:00:00.000Z',
    previousTtlSeconds: 60,
    staleUntil: '2026-01-01T00:01:00.000Z',
  };
  const wokenUp = {
    strength: 'weak' as const,
    site: 'primary',
    stores: ['orders'],
    epoch: 1,
    at: '2026-01-01T00:00:00.000Z',
    how: 'a write was refused',
    by: 'recorded',
  };
  const lowered = {
    name: 'api.shop.test',
    type: 'A' as const,
    previousTtlSeconds: 60,
    ttlSeconds: 5,
    loweredAt: '2026-01-01T00:00:00.000Z',
    effectiveAt: '2026-01-01T00:01:00.000Z',
    by: 'sam',
  };
  const approve = [/approval/, 'approve', { by: 'dana' }] as const;
  return [
    { name: 'back-up-store-spool', type: 'backUpStore', input: backup, activities: spool.activities, drive: toTheEnd },
    {
      name: 'back-up-store-stream',
      type: 'backUpStore',
      input: backup,
      activities: stream.activities,
      drive: toTheEnd,
    },
    {
      name: 'back-up-store-failed',
      type: 'backUpStore',
      input: backup,
      activities: broken.activities,
      drive: toFailure,
    },
    {
      name: 'back-up-store-refused',
      type: 'backUpStore',
      input: { ...backup, type: 'incr' },
      activities: refused.activities,
      drive: toTheEnd,
    },
    {
      name: 'launch-backups',
      type: 'launchBackups',
      input: { application, stores: ['orders', 'events'], type: 'full', reason: 'recorded' },
      activities: fakeBackupWorld().activities,
      drive: toTheEnd,
    },
    {
      name: 'archive-log-moved',
      type: 'archiveLog',
      input: { application, store: 'orders' },
      activities: archive.activities,
      drive: moved(archive, archive.calls, 'archiveLog'),
    },
    {
      name: 'watch-replication-moved',
      type: 'watchReplication',
      input: { application },
      activities: {
        describeApplication: async () => ({ application: shop, activeSite: watch.activeSite, epoch: watch.epoch }),
        sampleReplication: async ({ primarySite }) => {
          watchCalls.push(`sample:${primarySite}`);
          return follow();
        },
      },
      drive: moved(watch, watchCalls, 'sample'),
    },
    {
      name: 'watch-uptime',
      type: 'watchUptime',
      input: { application },
      activities: {
        sampleUptime: async () => {
          uptimeRounds.push('round');
          return uptimeRounds.length < 3 ? 1 : follow();
        },
      },
      drive: () => waitUntil('three rounds', async () => uptimeRounds.length >= 3, { deadlineMs: 30_000 }),
    },
    {
      name: 'hold-fence',
      type: 'holdFence',
      input: { application, stores: ['orders'], site: 'primary', survivingSite: 'dr', epoch: 1 },
      activities: { ...fakeFailoverWorld().activities, holdFence: async () => [wokenUp] },
      drive: toTheEnd,
    },
    {
      name: 'settle-dns',
      type: 'settleDns',
      input: { application, site: 'dr', epoch: 1, names: [settled] },
      activities: { ...fakeFailoverWorld().activities, restoreTtl: async () => lowered },
      drive: toTheEnd,
    },
    {
      name: 'apply-retention',
      type: 'applyRetention',
      input: { application, stores: ['orders', 'events'], requestedBy: 'sam', isOnlyOne: true },
      activities: fakeRetentionWorld({ refused: ['events'], graceSeconds: 1 }).activities,
      drive: toTheEnd,
    },
    {
      name: 'apply-retention-scheduled',
      type: 'applyRetention',
      input: { application, stores: ['orders'], requestedBy: 'schedule retention' },
      activities: fakeRetentionWorld({ refused: [], graceSeconds: 0 }).activities,
      drive: toTheEnd,
    },
    {
      name: 'apply-retention-aborted',
      type: 'applyRetention',
      input: { application, stores: ['orders'], requestedBy: 'sam', isOnlyOne: true },
      activities: fakeRetentionWorld({ refused: [], graceSeconds: 3_600 }).activities,
      drive: decided([/the end of the grace/, 'abort', { by: 'kim', reason: 'audit' }]),
    },
    {
      name: 'copy-stores',
      type: 'copyStores',
      input: { application, copies: [{ store: 'assets', copy: 'offsite' }], requestedBy: 'sam', wholeListing: false },
      activities: fakeCopyWorld([], { damaged: ['assets'] }),
      drive: toTheEnd,
    },
    {
      name: 'copy-store',
      type: 'copyStore',
      input: { application, store: 'orders', copy: 'offsite', requestedBy: 'backup', wholeListing: false },
      activities: fakeCopyWorld([]),
      drive: toTheEnd,
    },
    {
      name: 'change-ttl',
      type: 'changeTtl',
      input: { application, ttlSeconds: 5, requestedBy: 'sam' },
      activities: { ...fakeFailoverWorld().activities, lowerTtl: async () => lowered },
      drive: toTheEnd,
    },
    {
      name: 'restore-approved',
      type: 'restoreStores',
      input: restore,
      activities: fakeRestoreActivities([]),
      drive: decided(approve),
    },
    {
      name: 'restore-from-archive',
      type: 'restoreStores',
      input: restore,
      activities: fakeArchiveRestore([]),
      drive: decided(approve),
    },
    {
      name: 'fail-over-completed',
      type: 'failOver',
      input: failover,
      activities: completed.activities,
      drive: decided(approve),
    },
    {
      name: 'fail-over-asked-again',
      type: 'failOver',
      input: failover,
      activities: worse.activities,
      async drive(env, workflowId) {
        const waits = async () => /approval/.test((await status<FailOverStatus>(env, workflowId)).waitingFor ?? '');
        await waitUntil(`${workflowId} to wait for approval`, waits, { deadlineMs: 30_000 });
        worse.lossSeconds = 70;
        await toRefusal(env.client.workflow.getHandle(workflowId).executeUpdate('approve', { args: [{ by: 'dana' }] }));
        await decided(approve)(env, workflowId);
      },
    },
    {
      name: 'fail-over-not-necessary',
      type: 'failOver',
      input: failover,
      activities: healthy.activities,
      drive: toTheEnd,
    },
    {
      name: 'fail-over-aborted',
      type: 'failOver',
      input: failover,
      activities: aborted.activities,
      drive: decided(approve, [/Fence/, 'abort', { by: 'dana', reason: 'recorded' }]),
    },
    {
      name: 'fail-over-attested',
      type: 'failOver',
      input: failover,
      activities: attested.activities,
      drive: decided(approve, [/Fence/, 'attest', { by: 'erin', reason: 'recorded' }]),
    },
    {
      name: 'switch-over-completed',
      type: 'switchOver',
      input: failover,
      activities: planned.activities,
      drive: decided(approve),
    },
    {
      name: 'switch-over-aborted',
      type: 'switchOver',
      input: failover,
      activities: takenBack.activities,
      drive: decided(approve, [/Prove/, 'abort', { by: 'dana', reason: 'recorded' }]),
    },
    {
      name: 'check-health',
      type: 'checkHealth',
      input: { application },
      activities: fakeRestoreActivities([]),
      drive: toTheEnd,
    },
    {
      name: 'check-readiness',
      type: 'checkReadiness',
      input: { application, requestedBy: 'schedule readiness', tell: true },
      activities: unready.activities,
      drive: toTheEnd,
    },
    ...(['full', 'restore'] as const).map((kind): Scenario => ({
      name: `verify-stores-${kind}`,
      type: 'verifyStores',
      input: { application, stores: ['orders', 'sessions'], kind, seed: 7, requestedBy: 'schedule', tell: true },
      activities: fakeVerifyWorld().activities,
      drive: toTheEnd,
    })),
    {
      name: 'work-through-checklist',
      type: 'workThroughChecklist',
      input: { application, period: 'weekly', requestedBy: 'schedule weekly' },
      activities: checklist.activities,
      async drive(env, workflowId) {
        await waitUntil('people to be told louder', async () => checklist.news.length > 2, { deadlineMs: 30_000 });
        checklist.sick.clear();
        const handle = env.client.workflow.getHandle(workflowId);
        await handle.executeUpdate('sign', { args: [{ ...dana, step: 'dr-test' }] });
        await handle.signal('sign', { ...dana, step: 'nothing' });
        await handle.signal('sign', { ...dana, step: 'training' });
        await toTheEnd(env, workflowId);
      },
    },
    {
      name: 'report-readiness',
      type: 'reportReadiness',
      input: { application, requestedBy: 'schedule readiness-report', tell: true },
      activities: {
        describeApplication: async () => ({ application: shop, activeSite: 'primary', epoch: 0 }),
        measureDisks: async () => [],
        makeReadinessReport: async ({ month }) => ({
          ...{ application, id: `readiness-${month}`, title: 'DR readiness of shop', because: 'all was measured' },
          ...{ outcome: 'objectives kept', verdict: 'achieved', objectives: [], risks: [], risksInAll: 0 },
        }),
        notify: async () => [],
      },
      drive: toTheEnd,
    },
    {
      name: 'drill',
      type: 'drill',
      input: { application, requestedBy: 'sam' },
      activities: fakeDrillWorld().activities,
      drive: toTheEnd,
    },
    {
      name: 'drill-aborted',
      type: 'drill',
      input: { application, requestedBy: 'sam' },
      activities: abortedDrill.activities,
      async drive(env, workflowId) {
        await waitUntil('the services to start', async () => abortedDrill.calls.includes('startInBubble:auth'));
        await env.client.workflow.getHandle(workflowId).executeUpdate('abort', { args: [dana] });
        await toTheEnd(env, workflowId);
      },
    },
    {
      name: 'launch-drill',
      type: 'launchDrill',
      input: { application, requestedBy: 'schedule drill' },
      activities: fakeDrillWorld().activities,
      drive: toTheEnd,
    },
  ];
}
