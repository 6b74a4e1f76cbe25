import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { historyToJSON } from '@temporalio/common/lib/proto-utils';
import { Worker } from '@temporalio/worker';
import { taskQueues, workflowIds } from '../../core/names';
import { workflowTypes } from '../../core/runs';
import { shop } from '../support/shop-application';
import { localEnvironment, withWorkers, workflowBundle } from '../support/workflow-environment';
import type { Scenario } from './scenario';
import { QUEUES, scenarios } from './scenarios';

/**
 * Every recorded history must replay on the workflows as they are now: a run that was started by an older version of a
 * worker is finished by a newer one. A change that breaks one is a defect, unless no such run can exist any more; then
 * record anew with UPDATE_REPLAY_HISTORIES=1, which records what is missing and refuses to overwrite.
 */
const FOLDER = join(__dirname, 'histories');
const fileOf = (name: string) => join(FOLDER, `${name}.json`);

async function record(env: Awaited<ReturnType<typeof localEnvironment>>, scenario: Scenario): Promise<void> {
  const { name, type, input, activities } = scenario;
  await withWorkers(env, activities, QUEUES, async () => {
    const workflowId = `recorded-${name}`;
    const handle = await env.client.workflow.start(type, {
      taskQueue: taskQueues.workflows,
      workflowId,
      args: [input],
    });
    await scenario.drive(env, workflowId);
    // Stack traces name the folder they were recorded in; replay does not read them.
    writeFileSync(fileOf(name), historyToJSON(await handle.fetchHistory()).replaceAll(join(__dirname, '..', '..'), ''));
    const followers = ['orders', 'events'].map((store) => workflowIds.archive(shop.name, store));
    const after = [workflowIds.settle(shop.name, 1), workflowIds.holdFence(shop.name, 1)];
    for (const id of [
      workflowId,
      ...followers,
      workflowIds.watch(shop.name),
      workflowIds.uptime(shop.name),
      ...after,
    ]) {
      // Most have ended by themselves; what lives for ever must not meet the next scenario.
      await env.client.workflow
        .getHandle(id)
        .terminate()
        .catch(() => {});
    }
  });
}

beforeAll(async () => {
  if (!process.env['UPDATE_REPLAY_HISTORIES']) return;
  mkdirSync(FOLDER, { recursive: true });
  const missing = scenarios().filter(({ name }) => !existsSync(fileOf(name)));
  if (missing.length === 0) return;
  const env = await localEnvironment();
  try {
    for (const scenario of missing) await record(env, scenario);
  } finally {
    await env.teardown();
  }
}, 600_000);

test('every scenario has a recording, every recording a scenario, and every workflow at least one', () => {
  const known = scenarios();
  expect(readdirSync(FOLDER).toSorted()).toEqual(known.map(({ name }) => `${name}.json`).toSorted());
  expect(new Set(known.map(({ type }) => type))).toEqual(new Set(Object.keys(workflowTypes)));
});

test.each(scenarios().map(({ name }) => name))(
  '%s replays',
  async (name) => {
    const history = JSON.parse(readFileSync(fileOf(name), 'utf8')) as object;
    await expect(
      Worker.runReplayHistory({ workflowBundle: await workflowBundle() }, history, `recorded-${name}`),
    ).resolves.toBeUndefined();
  },
  60_000,
);

test('a history of another course is found out', async () => {
  const history = readFileSync(fileOf('back-up-store-spool'), 'utf8').replaceAll('"verifyArtifacts"', '"waitForLog"');
  await expect(
    Worker.runReplayHistory({ workflowBundle: await workflowBundle() }, JSON.parse(history) as object, 'tampered'),
  ).rejects.toThrow(/[Nn]ondeterminism|determinism/);
}, 60_000);
