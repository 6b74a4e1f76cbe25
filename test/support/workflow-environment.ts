import { TestWorkflowEnvironment } from '@temporalio/testing';
import {
  bundleWorkflowCode,
  DefaultLogger,
  makeTelemetryFilterString,
  Runtime,
  Worker,
  type WorkflowBundleWithSourceMap,
} from '@temporalio/worker';
import { temporal } from '@temporalio/proto';
import { defineSearchAttributeKey } from '@temporalio/common';
import { SEARCH_ATTRIBUTES, taskQueues } from '../../core/names';
import type { Activities } from '../../activities';
import { serverBinaries } from './servers';
import { shop } from './shop-application';

/** Activities without the outside world: what a test does not give is refused by name. */
export type FakeActivities = Partial<{
  [K in keyof Activities]: (...args: Parameters<Activities[K]>) => Promise<Awaited<ReturnType<Activities[K]>>>;
}>;

let bundle: Promise<WorkflowBundleWithSourceMap> | null = null;

/** The workflows, bundled once a test file. */
export function workflowBundle(): Promise<WorkflowBundleWithSourceMap> {
  bundle ??= bundleWorkflowCode({
    workflowsPath: require.resolve('../../workflows'),
    logger: new DefaultLogger('ERROR'),
  });
  return bundle;
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

/** A real development server: for search attributes, schedules, signals with start. */
export async function localEnvironment(): Promise<TestWorkflowEnvironment> {
  installRuntime();
  return TestWorkflowEnvironment.createLocal({
    server: {
      executable: { type: 'existing-path', path: serverBinaries().temporal },
      searchAttributes: Object.entries(SEARCH_ATTRIBUTES).map(([name, type]) =>
        type === 'Int' ? defineSearchAttributeKey(name, 'INT') : defineSearchAttributeKey(name, 'KEYWORD'),
      ),
    },
  });
}

/**
 * Runs `work` with workers that poll the workflow queue and the queues named, all with the same fake activities.
 * `workflowCacheSize: 0` on request: then every workflow task replays from the start.
 */
export async function withWorkers<T>(
  env: TestWorkflowEnvironment,
  activities: FakeActivities,
  queues: readonly string[],
  work: () => Promise<T>,
  options: { readonly maxCachedWorkflows?: number } = {},
): Promise<T> {
  const workers = await Promise.all(
    [taskQueues.workflows, taskQueues.control(shop.name), ...queues].map(async (taskQueue, index) =>
      Worker.create({
        connection: env.nativeConnection,
        taskQueue,
        ...(index === 0 ? { workflowBundle: await workflowBundle(), ...options } : {}),
        ...(index === 0 ? {} : { activities }),
      }),
    ),
  );
  const [first, ...others] = workers;
  if (!first) throw new Error('no worker');
  const running = others.map((worker) => worker.run());
  try {
    return await first.runUntil(work);
  } finally {
    for (const worker of others) worker.shutdown();
    await Promise.all(running);
  }
}
