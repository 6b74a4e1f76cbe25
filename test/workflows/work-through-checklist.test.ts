import { randomUUID } from 'node:crypto';
import type { WorkflowHandleWithFirstExecutionRunId } from '@temporalio/client';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { ChecklistItem } from '../../core/checklist';
import type { ChecklistResult, ChecklistStatus } from '../../core/checklist-runs';
import { failure } from '../../core/errors';
import { taskQueues } from '../../core/names';
import type { workThroughChecklist } from '../../workflows/work-through-checklist';
import { checkedItem, fakeChecklistWorld, type FakeChecklistWorld } from '../support/fake-checklist';
import { shop } from '../support/shop-application';
import { timeSkippingEnvironment, withWorkers } from '../support/workflow-environment';

let env: TestWorkflowEnvironment;
beforeAll(async () => {
  env = await timeSkippingEnvironment();
}, 120_000);
afterAll(() => env?.teardown());

type Handle = WorkflowHandleWithFirstExecutionRunId<typeof workThroughChecklist>;

const BACKUPS = checkedItem('backup-status', 'backups');
const DR_SITE = checkedItem('dr-site', 'dr-site');
const TRAINING = checkedItem('training', null, true);

async function withList(
  items: readonly ChecklistItem[],
  test: (handle: Handle, world: FakeChecklistWorld) => Promise<void>,
  prepare: (world: FakeChecklistWorld) => void = () => {},
): Promise<void> {
  const world = fakeChecklistWorld(items);
  prepare(world);
  await withWorkers(env, world.activities, [taskQueues.site(shop.name, 'dr')], async () => {
    const handle = await env.client.workflow.start<typeof workThroughChecklist>('workThroughChecklist', {
      taskQueue: taskQueues.workflows,
      workflowId: randomUUID(),
      args: [{ application: shop.name, period: 'weekly', requestedBy: 'schedule weekly' }],
    });
    await test(handle, world);
  });
}

const statusOf = (handle: Handle) => handle.query<ChecklistStatus>('status');
const states = ({ items }: Pick<ChecklistResult, 'items'>) =>
  Object.fromEntries(items.map(({ id, state }) => [id, state]));
const sign = (handle: Handle, step: string, more: { by?: string; reason?: string } = {}) =>
  handle.executeUpdate('sign', { args: [{ by: 'dana', reason: 'looked at it', step, ...more }] });
const refusal = (message: RegExp) => ({ cause: { message: expect.stringMatching(message) as string } });

/** Lets the clock go on, and the run reach what it does then. */
async function after(days: number): Promise<void> {
  await env.sleep(days * 86_400_000 + 60_000);
}

test('what a machine can look at is done at once with its evidence: nobody is told, and the report is there', async () => {
  await withList([BACKUPS, DR_SITE], async (handle, { news, reports }) => {
    const result = await handle.result();
    expect(result).toMatchObject({ outcome: 'done', period: 'weekly' });
    expect(states(result)).toEqual({ 'backup-status': 'passed', 'dr-site': 'passed' });
    expect(result.items[1]?.finding?.found).toBe('dr is ready to take over, 100 of 100');
    expect(news).toEqual([]);
    expect(reports).toMatchObject([
      {
        kind: 'checklist',
        outcome: 'weekly: done',
        verdict: 'achieved',
        because: '2 of 2 items are done',
        warnings: [],
      },
    ]);
    expect(reports[0]?.steps.map(({ state, note }) => [state, note?.slice(0, 22)])).toEqual([
      ['done', 'every store is healthy'],
      ['done', 'dr is ready to take ov'],
    ]);
  });
});

test('people are told, reminded, and told louder; who signs is in the report with the note', async () => {
  await withList([BACKUPS, TRAINING], async (handle, { news, reports }) => {
    await after(3.5);
    expect(news.map(({ severity }) => severity)).toEqual(['info', 'warning', 'warning', 'warning']);
    expect(news[0]).toMatchObject({
      title: 'weekly checklist of shop: 1 to do',
      lines: [expect.stringMatching(/training.*nobody/i), expect.stringMatching(/drctl checklist sign/)] as string[],
    });
    await after(1);
    expect(news.at(-1)?.severity).toBe('critical');
    expect(new Set(news.map(({ id }) => id)).size).toBe(news.length);

    const status = await statusOf(handle);
    expect(status).toMatchObject({ waitingFor: 'a signature (sign) for training', outcome: null, period: 'weekly' });
    expect(Date.parse(status.dueAt ?? '') - Date.parse(status.startedAt)).toBe(6 * 86_400_000);
    await sign(handle, 'training', { reason: 'sam restored orders' });
    expect(await handle.result()).toMatchObject({ outcome: 'done' });
    expect(news.at(-1)).toMatchObject({ severity: 'info', title: 'weekly checklist of shop: done' });
    expect(reports[0]).toMatchObject({
      verdict: 'achieved',
      decisions: [{ command: 'sign', by: 'dana', reason: 'sam restored orders', step: 'training', note: null }],
    });
  });
});

test('a list that nobody finishes is overdue: critical, and the report names what is open', async () => {
  await withList([BACKUPS, TRAINING], async (handle, { news, reports }) => {
    await expect(handle.result()).resolves.toMatchObject({ outcome: 'overdue' });
    expect(news.at(-1)).toMatchObject({ severity: 'critical', fields: { status: 'overdue', period: 'weekly' } });
    expect(reports).toMatchObject([
      {
        ...{ outcome: 'weekly: overdue', verdict: 'failed', because: '1 of 2 items are done' },
        warnings: ['Title of training: nobody has signed it'],
        steps: [{ state: 'done' }, { state: 'failed', note: 'nobody has signed it' }],
      },
    ]);
  });
});

test('a check that fails is looked at again with each reminder, and is done when it holds', async () => {
  const sick = (world: FakeChecklistWorld) => void world.sick.set('orders', 'the newest backup is 30 hours old');
  await withList(
    [BACKUPS],
    async (handle, world) => {
      await after(1);
      expect(await statusOf(handle)).toMatchObject({
        items: [{ state: 'failing', finding: { holds: false, found: 'orders: the newest backup is 30 hours old' } }],
      });
      expect(world.news[0]).toMatchObject({
        severity: 'warning',
        title: expect.stringContaining('1 failing') as string,
      });
      world.sick.clear();
      expect(states(await handle.result())).toEqual({ 'backup-status': 'passed' });
      expect(world.looks).toBe(3);
    },
    sick,
  );
});

test('a person may take on what fails, with a reason that the report shows as an exception', async () => {
  const unseen = (world: FakeChecklistWorld) => {
    world.activities.checkStores = async () => {
      throw failure('AccessDenied', 'the bucket is closed to us');
    };
  };
  await withList(
    [BACKUPS],
    async (handle, { reports }) => {
      await after(0.1);
      await sign(handle, 'backup-status', { reason: 'known, ticket 4711' });
      await handle.result();
      expect(reports[0]).toMatchObject({
        verdict: 'attention',
        because: '1 of 1 items are done, 1 signed although the check did not hold',
        decisions: [{ note: 'although its check did not hold' }],
        warnings: [
          expect.stringMatching(/signed by dana although: it could not be looked at: the bucket is closed/) as string,
        ],
      });
    },
    unseen,
  );
});

test('a signature that makes no sense is refused with the reason; a signal leaves it in the status', async () => {
  const only = (world: FakeChecklistWorld) => (world.plan = { ...world.plan, signers: ['dana'] });
  await withList(
    [BACKUPS, TRAINING],
    async (handle) => {
      await after(0.1);
      await expect(sign(handle, 'tapes')).rejects.toMatchObject(refusal(/no item "tapes".*backup-status, training/));
      await expect(sign(handle, 'backup-status')).rejects.toMatchObject(refusal(/holds and needs no signature/));
      await expect(sign(handle, 'training', { reason: ' ' })).rejects.toMatchObject(refusal(/say with a note/));
      await expect(sign(handle, 'training', { by: 'eve' })).rejects.toMatchObject(refusal(/eve may not sign.*dana/));
      await handle.signal('sign', { by: 'eve', reason: 'me', step: 'training' });
      expect((await statusOf(handle)).messages).toEqual(['eve may not sign; these may: dana']);
      await handle.signal('sign', { by: 'dana', reason: 'done', step: 'training' });
      await expect(handle.result()).resolves.toMatchObject({ outcome: 'done' });
    },
    only,
  );
});

test('channels that cannot be reached end no list, and the longest list has a short history', async () => {
  const failing = (world: FakeChecklistWorld) => {
    world.sick.set('orders', 'no backup');
    world.plan = { ...world.plan, remindSeconds: 43_200 };
    world.activities.notify = async () => {
      throw failure('AccessDenied', 'the channel is closed');
    };
  };
  await withList(
    [BACKUPS, DR_SITE, TRAINING],
    async (handle, world) => {
      await expect(handle.result()).resolves.toMatchObject({ outcome: 'overdue' });
      expect((await statusOf(handle)).messages[0]).toBe('people could not be told (begin): the channel is closed');
      const { historyLength } = await handle.describe();
      expect(world.looks).toBe(13);
      // The config allows 60 reminders: a tenth at most of the 51,200 events at which Temporal ends a run.
      expect((60 * historyLength) / world.looks).toBeLessThan(51_200 / 10);
    },
    failing,
  );
});

test('a list that is cancelled leaves its report', async () => {
  await withList([TRAINING], async (handle, { reports }) => {
    await after(0.1);
    await handle.cancel();
    await expect(handle.result()).rejects.toThrow(/cancelled/);
    expect(reports).toMatchObject([{ outcome: 'weekly: cancelled', verdict: 'failed' }]);
  });
});
