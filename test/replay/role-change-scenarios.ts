import type { FailOverStatus } from '../../core/role-change-runs';
import { fakeFailoverWorld, healthyWorld } from '../support/fake-failover';
import { follow } from '../support/follow';
import { waitUntil } from '../support/servers';
import { shop } from '../support/shop-application';
import { decided, moved, status, toRefusal, toTheEnd, type Scenario } from './scenario';

/** The courses of role changes, and what lives beside them. */
export function roleChangeScenarios(): Scenario[] {
  const application = shop.name;
  const failover = { application, toSite: 'dr', requestedBy: 'sam', reason: 'recorded' };
  const watchCalls: string[] = [];
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
      name: 'change-ttl',
      type: 'changeTtl',
      input: { application, ttlSeconds: 5, requestedBy: 'sam' },
      activities: { ...fakeFailoverWorld().activities, lowerTtl: async () => lowered },
      drive: toTheEnd,
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
  ];
}
