import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { bundleWorkflowCode, DefaultLogger, makeTelemetryFilterString, Runtime, Worker } from '@temporalio/worker';
import { temporal } from '@temporalio/proto';
import { defineSearchAttributeKey } from '@temporalio/common';
import { absent } from '../../adapters/filesystem/absent';
import { SEARCH_ATTRIBUTES, taskQueues } from '../../core/names';
import type { Activities } from '../../activities';
import { serverBinaries } from './servers';
import { shop } from './shop-application';

/** Activities without the outside world: what a test does not give is refused by name. */
export type FakeActivities = Partial<{
  [K in keyof Activities]: (...args: Parameters<Activities[K]>) => Promise<Awaited<ReturnType<Activities[K]>>>;
}>;

/** An activity hears with its heartbeat that it was cancelled: at once, not after most of its heartbeat timeout. */
const PROMPT_HEARTBEATS = {
  maxHeartbeatThrottleInterval: '200 milliseconds',
  defaultHeartbeatThrottleInterval: '200 milliseconds',
} as const;

let bundle: Promise<{ code: string }> | null = null;

/** The workflows, bundled once for all test files: it takes four seconds, and there are fifteen of them. */
export function workflowBundle(): Promise<{ code: string }> {
  bundle ??= keptBundle();
  return bundle;
}

const KEPT = path.resolve('node_modules/.cache/drctl/workflows.js');

/** Its first line says what it was made of, which is what this run has read. */
async function keptBundle(): Promise<{ code: string }> {
  const head = `// ${digestOf(['workflows', 'core', 'package-lock.json'])}\n`;
  const kept = await fs.readFile(KEPT, 'utf8').catch(absent);
  if (kept?.startsWith(head)) return { code: kept };
  const made = await bundleWorkflowCode({
    workflowsPath: require.resolve('../../workflows'),
    logger: new DefaultLogger('ERROR'),
  });
  const code = `${head}${made.code}`;
  await fs.mkdir(path.dirname(KEPT), { recursive: true });
  // Two files of tests may make it at once: none ever reads half of it.
  await fs.writeFile(`${KEPT}.${process.pid}`, code);
  await fs.rename(`${KEPT}.${process.pid}`, KEPT);
  return { code };
}

function digestOf(sources: readonly string[]): string {
  const hash = createHash('sha256');
  for (const source of sources) {
    const within = statSync(source).isDirectory() ? readdirSync(source, { recursive: true, encoding: 'utf8' }) : [''];
    for (const name of within.toSorted()) {
      const file = path.join(source, name);
      if (statSync(file).isFile()) hash.update(`${file}\n`).update(readFileSync(file));
    }
  }
  return hash.digest('hex');
}

let installed = false;

function installRuntime(): void {
  if (installed) return;
  installed = true;
  Runtime.install({
    logger: new DefaultLogger('ERROR'),
    telemetryOptions: {
      logging: { forward: {}, filter: makeTelemetryFilterString({ core: 'ERROR', other: 'ERROR' }) },
    },
  });
}

/** A Temporal server whose clock jumps over waits, so that a day passes in a moment. */
export async function timeSkippingEnvironment(): Promise<TestWorkflowEnvironment> {
  installRuntime();
  const env = await TestWorkflowEnvironment.createTimeSkipping({
    server: { executable: { type: 'existing-path', path: serverBinaries().temporalTestServer } },
  });
  const { INDEXED_VALUE_TYPE_INT, INDEXED_VALUE_TYPE_KEYWORD } = temporal.api.enums.v1.IndexedValueType;
  await env.connection.operatorService.addSearchAttributes({
    namespace: 'default',
    searchAttributes: Object.fromEntries(
      Object.entries(SEARCH_ATTRIBUTES).map(([name, type]) => [
        name,
        type === 'Int' ? INDEXED_VALUE_TYPE_INT : INDEXED_VALUE_TYPE_KEYWORD,
      ]),
    ),
  });
  return env;
}

/**
 * The server reads its timers a second ahead for clocks that differ, so that a timer or a retry of less than a second takes
 * up to one. Here is one process with one clock.
 */
const PROMPT_TIMERS = ['--dynamic-config-value', 'history.timerProcessorMaxTimeShift="10ms"'];

/** A real development server: for search attributes, schedules, signals with start. */
export async function localEnvironment(): Promise<TestWorkflowEnvironment> {
  installRuntime();
  return TestWorkflowEnvironment.createLocal({
    server: {
      executable: { type: 'existing-path', path: serverBinaries().temporal },
      extraArgs: PROMPT_TIMERS,
      searchAttributes: Object.entries(SEARCH_ATTRIBUTES).map(([name, type]) =>
        type === 'Int' ? defineSearchAttributeKey(name, 'INT') : defineSearchAttributeKey(name, 'KEYWORD'),
      ),
    },
  });
}

/** The worker of the workflows that polls an environment, from its first `withWorkers` to its end. */
const workflowWorkers = new WeakMap<TestWorkflowEnvironment, Promise<WorkflowWorker>>();

interface WorkflowWorker {
  readonly worker: Worker;
  readonly ended: Promise<void>;
}

/**
 * One for all tests of a file: loading the bundle takes a second each time, and workflows hold nothing of a test's world.
 * It ends before the environment's connection does, which refuses to be closed under it.
 */
async function startWorkflowWorker(env: TestWorkflowEnvironment): Promise<WorkflowWorker> {
  const worker = await Worker.create({
    connection: env.nativeConnection,
    taskQueue: taskQueues.workflows,
    workflowBundle: await workflowBundle(),
  });
  const ended = worker.run();
  const tearDown = env.teardown.bind(env);
  env.teardown = async () => {
    await stopWorkflowWorker(env);
    await tearDown();
  };
  return { worker, ended };
}

/** Lets no workflow go on any more, as long as `withWorkers` is not called again. */
export async function stopWorkflowWorker(env: TestWorkflowEnvironment): Promise<void> {
  const starting = workflowWorkers.get(env);
  workflowWorkers.delete(env);
  if (!starting) return;
  const { worker, ended } = await starting;
  worker.shutdown();
  await ended;
}

/**
 * Runs `work` with a worker of the workflows and workers of its own on the application's queue and the queues named, all
 * with the same fake activities: what one test left in a queue never meets the next one's world while it still runs.
 */
export async function withWorkers<T>(
  env: TestWorkflowEnvironment,
  activities: FakeActivities,
  queues: readonly string[],
  work: () => Promise<T>,
): Promise<T> {
  const starting = workflowWorkers.get(env) ?? startWorkflowWorker(env);
  workflowWorkers.set(env, starting);
  const { ended } = await starting;
  const workers = await Promise.all(
    [taskQueues.control(shop.name), ...queues].map((taskQueue) =>
      Worker.create({ connection: env.nativeConnection, taskQueue, activities, ...PROMPT_HEARTBEATS }),
    ),
  );
  const running = workers.map((worker) => worker.run());
  const stopped = Promise.race([ended, ...running]).then(() => {
    throw new Error('a worker stopped before the test did');
  });
  try {
    return await Promise.race([work(), stopped]);
  } finally {
    stopped.catch(() => undefined); // from here on they stop because they are told to
    for (const worker of workers) worker.shutdown();
    await Promise.all(running);
  }
}
