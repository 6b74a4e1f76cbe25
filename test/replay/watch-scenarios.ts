import { checkedItem, fakeChecklistWorld } from '../support/fake-checklist';
import { fakeReadinessWorld } from '../support/fake-readiness';
import { fakeRestoreActivities } from '../support/fake-restore';
import { follow } from '../support/follow';
import { waitUntil } from '../support/servers';
import { shop } from '../support/shop-application';
import { toTheEnd, type Scenario } from './scenario';

/** The courses of what watches, and what people are asked for. */
export function watchScenarios(): Scenario[] {
  const application = shop.name;
  const uptimeRounds: string[] = [];
  const dana = { by: 'dana', reason: 'recorded' };
  const unready = fakeReadinessWorld();
  unready.states.set('standby:orders', 'failing');
  const checklist = fakeChecklistWorld([
    checkedItem('backup-status', 'backups'),
    checkedItem('dr-site', 'dr-site'),
    checkedItem('dr-test', 'drill', true),
    checkedItem('training', null, true),
  ]);
  checklist.plan = { ...checklist.plan, remindSeconds: 1, escalateSeconds: 2, dueSeconds: 60 };
  checklist.sick.set('orders', 'there is no backup');
  return [
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
  ];
}
