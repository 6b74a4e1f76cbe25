import { randomUUID } from 'node:crypto';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { NotifyInput } from '../../activities/notify';
import { failure } from '../../core/errors';
import type { KeptHealth } from '../../core/monitoring/told';
import type { HealthReason } from '../../core/monitoring/store-view';
import { taskQueues } from '../../core/names';
import type { CheckHealthResult, RunStatus } from '../../core/runs';
import { shop } from '../support/shop-application';
import { type FakeActivities, timeSkippingEnvironment, withWorkers } from '../support/workflow-environment';

let env: TestWorkflowEnvironment;
beforeAll(async () => {
  env = await timeSkippingEnvironment();
}, 120_000);
afterAll(() => env?.teardown());

/** One store, whose reasons the test changes; what is kept survives from one check to the next. */
class World {
  reasons: HealthReason[] = [];
  minutes = 0;
  kept: KeptHealth | null = null;
  refusing: readonly string[] = [];
  keptUnreadable = false;
  damaged: string | null = null;
  readonly told: string[] = [];

  readonly activities: FakeActivities = {
    checkStores: async ({ application }): Promise<CheckHealthResult> => ({
      application,
      at: new Date(Date.parse('2026-11-23T00:00:00.000Z') + this.minutes * 60_000).toISOString(),
      stores: [
        {
          store: 'orders',
          status: this.reasons.length > 0 ? 'error' : 'healthy',
          reasons: this.reasons,
          lastBackupAt: null,
          lastBackupAgeHours: null,
          rpoSeconds: null,
          problems: [],
        },
      ],
    }),
    publishHealth: async () => [],
    lastHealth: async () => {
      if (this.keptUnreadable) throw failure('AccessDenied', 'the control repository cannot be read');
      if (this.damaged !== null) return { kept: null, repeatAfterSeconds: 86_400, problem: this.damaged };
      return { kept: this.kept, repeatAfterSeconds: 86_400 };
    },
    keepHealth: async ({ kept }) => {
      this.kept = kept;
      this.damaged = null;
      return 'monitoring/health.json';
    },
    notify: async ({ severity, title, channels = ['chat', 'pager'] }: NotifyInput) => {
      this.told.push(`${severity} ${title}${channels.length === 2 ? '' : ` to ${channels.join()}`}`);
      return channels.map((channel) => ({
        channel,
        delivered: !this.refusing.includes(channel),
        problem: this.refusing.includes(channel) ? 'connection refused' : null,
      }));
    },
  };

  async check(minutes: number): Promise<RunStatus> {
    this.minutes = minutes;
    const handle = await env.client.workflow.start('checkHealth', {
      taskQueue: taskQueues.workflows,
      workflowId: randomUUID(),
      args: [{ application: shop.name }],
    });
    await handle.result();
    return handle.query<RunStatus>('status');
  }
}

const gap: HealthReason = { alert: 'logGap', status: 'error', text: 'a gap', severity: 'critical', forSeconds: 0 };

test('people hear of a trouble once, of its end once, and a channel that missed it is tried again alone', async () => {
  const world = new World();
  await withWorkers(env, world.activities, [], async () => {
    await world.check(0);
    world.reasons = [gap];
    world.refusing = ['pager'];
    const { messages } = await world.check(5);
    expect(messages).toEqual(['pager did not take the news of orders: connection refused']);
    world.refusing = [];
    await world.check(10);
    await world.check(15);
    world.reasons = [];
    await world.check(20);
    await world.check(25);
  });
  expect(world.told).toEqual([
    'critical orders: error',
    'critical orders: error to pager',
    'info orders: healthy again',
  ]);
});

test('where nobody knows what was told, it is told rather than kept silent, and the check itself holds', async () => {
  const world = new World();
  world.keptUnreadable = true;
  world.reasons = [{ ...gap, forSeconds: 3_600 }];
  await withWorkers(env, world.activities, [], async () => {
    const { phase, messages } = await world.check(0);
    expect(phase).toBe('completed');
    expect(messages.join()).toMatch(/Read what people were told last failed/);
  });
  expect(world.told).toEqual(['critical orders: error']);
  expect(world.kept).toBeNull();
});

test('what was kept and is damaged is replaced, and said; nobody hears of the same trouble twice for it', async () => {
  const world = new World();
  world.damaged = 'monitoring/health.json is damaged';
  world.reasons = [{ ...gap, forSeconds: 3_600 }];
  await withWorkers(env, world.activities, [], async () => {
    const { phase, messages } = await world.check(0);
    expect(phase).toBe('completed');
    expect(messages).toEqual(['monitoring/health.json is damaged']);
    expect((await world.check(5)).messages).toEqual([]);
  });
  expect(world.told).toEqual(['critical orders: error']);
  expect(world.kept).toMatchObject({ told: { orders: { last: { alerts: ['logGap'] } } } });
});
