import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { failure } from '../../core/errors';
import type { FailOverStatus } from '../../core/role-change-runs';
import { withRoleChange } from '../support/driven-role-change';
import { fakeFailoverWorld } from '../support/fake-failover';
import { timeSkippingEnvironment } from '../support/workflow-environment';

let env: TestWorkflowEnvironment;
beforeAll(async () => {
  env = await timeSkippingEnvironment();
}, 120_000);
afterAll(() => env?.teardown());

test('a day without an answer escalates again and again and never approves', async () => {
  const world = fakeFailoverWorld();
  await withRoleChange(env, 'failOver', world, async (handle) => {
    await env.sleep('24 hours');
    const status = await handle.query<FailOverStatus>('status');
    expect(status).toMatchObject({ phase: 'waiting for approval', approvedBy: null, outcome: null });
    const escalations = world.calls.filter((call) => /^notify:.*waits for approval/.test(call)).length;
    // Every ten minutes for a day, less what the probes took.
    expect(escalations).toBeGreaterThanOrEqual(142);
    expect(escalations).toBeLessThanOrEqual(144);
    expect(world.calls.filter((call) => /fence|promote|takeEpoch/.test(call))).toEqual([]);
    // Often at first, then less often, then with each escalation: fresh for people, small for the history.
    const measured = world.calls.filter((call) => call === 'assessLoss').length;
    expect(measured).toBeGreaterThan(350);
    expect(measured).toBeLessThan(600);
    expect((await handle.fetchHistory()).events?.length).toBeLessThan(10_240); // where Temporal begins to warn
    await handle.signal('reject', { by: 'dana', reason: 'nobody came' });
    await expect(handle.result()).resolves.toMatchObject({ outcome: 'rejected' });
  });
}, 120_000);

test('the loss that people are shown is fresh, and unmeasurable is said', async () => {
  const world = fakeFailoverWorld();
  await withRoleChange(env, 'failOver', world, async (handle) => {
    const ageSeconds = async () => {
      const { card } = await handle.query<FailOverStatus>('status');
      return ((await env.currentTimeMs()) - Date.parse(card?.measuredAt ?? '')) / 1_000;
    };
    await env.sleep('2 minutes');
    expect(await ageSeconds()).toBeLessThan(20);
    await env.sleep('30 minutes');
    expect(await ageSeconds()).toBeLessThan(65);

    world.before['assessLoss'] = () => {
      throw failure('RepositoryUnavailable', 'the samples cannot be read');
    };
    await env.sleep('5 minutes');
    const { card } = await handle.query<FailOverStatus>('status');
    expect(card).toMatchObject({ problem: expect.stringMatching(/samples cannot be read/) });
    expect(await ageSeconds()).toBeGreaterThan(200);
    await handle.signal('reject', { by: 'dana', reason: 'seen enough' });
    await expect(handle.result()).resolves.toMatchObject({ outcome: 'rejected' });
  });
}, 120_000);

test('a store without a majority is forced by no silence, and all of it can still be undone a day later', async () => {
  const world = fakeFailoverWorld();
  world.majorityLost = 'without primary 1 of 3 votes answer: no majority could elect a primary';
  await withRoleChange(env, 'failOver', world, async (handle) => {
    const status = () => handle.query<FailOverStatus>('status');
    await env.sleep('1 minute');
    expect((await status()).card?.losses.map(({ store, mustForce }) => [store, mustForce])).toEqual([
      ['orders', undefined],
      ['events', world.majorityLost],
      ['sessions', undefined],
    ]);
    await handle.executeUpdate('approve', { args: [{ by: 'dana' }] });
    await env.sleep('24 hours');
    expect((await status()).waitingFor).toMatch(
      /^a decision \(retry, force or abort\) on .*events: without primary 1 of 3 votes/,
    );
    await handle.executeUpdate('abort', { args: [{ by: 'dana', reason: 'the witness is being repaired' }] });
    await expect(handle.result()).resolves.toMatchObject({ outcome: 'aborted' });
    expect(world.calls.filter((call) => call.startsWith('promoteStore'))).toEqual([]);
    expect(world.epoch).toMatchObject({ activeSite: 'primary' });
  });
}, 120_000);
