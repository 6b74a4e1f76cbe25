import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { resultLines } from '../../starters/failover';
import { type RoleChangeHandle as Handle, waitingFor, withRoleChange } from '../support/driven-role-change';
import { fakeFailoverWorld, type FakeWorld } from '../support/fake-failover';
import { localEnvironment } from '../support/workflow-environment';

/** A store whose members elect their primary themselves, and are no majority any more: by force only, attested and proven. */
let env: TestWorkflowEnvironment;
beforeAll(async () => {
  env = await localEnvironment();
}, 120_000);
afterAll(() => env?.teardown());

const LOST = 'without primary 1 of 3 votes answer: no majority could elect a primary';

function lostWorld(): FakeWorld {
  const world = fakeFailoverWorld();
  world.majorityLost = LOST;
  return world;
}

const withFailover = (world: FakeWorld, drive: (handle: Handle) => Promise<void>) =>
  withRoleChange(env, 'failOver', world, drive);
const say = (handle: Handle, name: string, by: string, reason?: string) =>
  handle.executeUpdate(name, { args: [{ by, ...(reason ? { reason } : {}) }] });
const promotions = (world: FakeWorld) => world.calls.filter((call) => call.startsWith('promoteStore'));

test('an approver attests it by name and with a reason; the report has whom, why and what was removed', async () => {
  const world = lostWorld();
  await withFailover(world, async (handle) => {
    await waitingFor(handle, /approval/);
    const refused = (by: string, reason: string | undefined, why: RegExp) =>
      expect(say(handle, 'force', by, reason)).rejects.toMatchObject({
        cause: { message: expect.stringMatching(why) as string },
      });
    await refused('erin', undefined, /a reason is required/);
    await refused('mallory', 'hurry', /not an approver/);
    await refused('sam', 'hurry', /not an approver|asked for this failover/);
    await say(handle, 'force', 'erin', 'the witness burnt as well');
    await refused('dana', 'it did', /already attested by erin/);
    await say(handle, 'approve', 'dana');
    const result = await handle.result();
    expect(result).toMatchObject({ outcome: 'completed', approvedBy: 'dana' });
    // Only the store that needs it, and everything once.
    expect(promotions(world).toSorted()).toEqual([
      'promoteStore:events by force of erin',
      'promoteStore:orders',
      'promoteStore:sessions',
    ]);
    expect(result.forced).toEqual([
      {
        store: 'events',
        kept: ['dr-1:27017'],
        removed: ['primary-1:27017', 'witness:27017'],
        attestation: { by: 'erin', reason: 'the witness burnt as well', at: expect.any(String) as string },
      },
    ]);
    const step = result.steps.find(({ id }) => id === 'promote:events');
    expect(step?.note).toMatch(/by force; removed: primary-1:27017, witness:27017; kept: dr-1:27017$/);
    // What was left behind may come back, although its site is proven to be fenced: a run of its own holds it off.
    const held = result.steps.find(({ id }) => id === 'hold:fence');
    expect(held).toMatchObject({ state: 'done', note: 'for events: drctl runs status fence:shop:1' });
    expect(world.reports).toMatchObject([
      {
        verdict: 'attention',
        decisions: [
          { command: 'force', by: 'erin', reason: 'the witness burnt as well' },
          { command: 'approve', by: 'dana' },
        ],
        warnings: [
          expect.stringMatching(/events was reconfigured by force, attested by erin .*primary-1:27017, witness:27017/),
        ],
      },
    ]);
    expect(resultLines(result).join('\n')).toMatch(
      /events was reconfigured by force \(erin\): keep primary-1:27017, wit/,
    );
  });
}, 120_000);

test('an attestation that the site is dead does not replace the proof', async () => {
  const world = lostWorld();
  world.siteFence = 'none';
  await withFailover(world, async (handle) => {
    await waitingFor(handle, /approval/);
    await say(handle, 'force', 'erin', 'the witness burnt as well');
    await say(handle, 'approve', 'dana');
    await waitingFor(handle, /not proven to be fenced for orders/);
    await say(handle, 'attest', 'erin', 'I pulled the power cord');
    const status = await waitingFor(handle, /which an attestation does not replace/);
    expect(status.accepts).not.toContain('attest');
    expect(promotions(world)).toEqual([]);
    world.siteFence = 'proven';
    await say(handle, 'retry', 'dana');
    await expect(handle.result()).resolves.toMatchObject({ outcome: 'completed', forced: [{ store: 'events' }] });
  });
}, 60_000);

test('a majority that is lost only after the fence is asked for then, and forced with the proof that is sought again', async () => {
  const world = lostWorld();
  world.majorityLost = null;
  world.siteFence = 'none';
  await withFailover(world, async (handle) => {
    await waitingFor(handle, /approval/);
    await expect(say(handle, 'force', 'erin', 'just in case')).rejects.toMatchObject({
      cause: { message: expect.stringMatching(/no step waits for a decision/) as string },
    });
    await say(handle, 'approve', 'dana');
    await waitingFor(handle, /not proven to be fenced/);
    world.fencesSeeIt = false;
    world.majorityLost = LOST;
    await say(handle, 'attest', 'erin', 'I pulled the power cord');
    const status = await waitingFor(handle, /Promote events at dr/);
    expect(status.accepts).toEqual(expect.arrayContaining(['retry', 'force']));
    expect(status.accepts).not.toContain('abort');
    world.siteFence = 'proven';
    await say(handle, 'force', 'erin', 'the witness burnt as well');
    await expect(handle.result()).resolves.toMatchObject({ outcome: 'completed', forced: [{ store: 'events' }] });
  });
}, 60_000);

test('a majority that comes back needs no force, whatever was attested', async () => {
  const world = lostWorld();
  await withFailover(world, async (handle) => {
    await waitingFor(handle, /approval/);
    await say(handle, 'approve', 'dana');
    await waitingFor(handle, /force/);
    world.majorityLost = null;
    await say(handle, 'retry', 'dana');
    const result = await handle.result();
    expect(result).toMatchObject({ outcome: 'completed' });
    expect(result.forced).toBeUndefined();
    expect(promotions(world).toSorted()).toEqual(
      ['orders', 'events', 'sessions'].map((s) => `promoteStore:${s}`).toSorted(),
    );
  });
}, 60_000);
