import { fakeDrillWorld } from '../support/fake-drill';
import { fakeArchiveRestore, fakeRestoreActivities } from '../support/fake-restore';
import { fakeVerifyWorld } from '../support/fake-verify';
import { follow } from '../support/follow';
import { waitUntil } from '../support/servers';
import { shop } from '../support/shop-application';
import { decided, toTheEnd, type Scenario } from './scenario';

/** The courses of restores, verifications and drills. */
export function recoveryScenarios(): Scenario[] {
  const application = shop.name;
  const dana = { by: 'dana', reason: 'recorded' };
  const abortedDrill = fakeDrillWorld();
  abortedDrill.before['startInBubble'] = follow;
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
  const approve = [/approval/, 'approve', { by: 'dana' }] as const;
  return [
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
    ...(['full', 'restore'] as const).map((kind): Scenario => ({
      name: `verify-stores-${kind}`,
      type: 'verifyStores',
      input: { application, stores: ['orders', 'sessions'], kind, seed: 7, requestedBy: 'schedule', tell: true },
      activities: fakeVerifyWorld().activities,
      drive: toTheEnd,
    })),
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
