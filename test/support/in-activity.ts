import { asyncLocalStorage, Context, type Info } from '@temporalio/activity';
import { noopMetricMeter } from '@temporalio/common';

const INFO = {
  attempt: 1,
  taskQueue: 'test',
  activityId: 'test',
  activityType: 'unknown',
  workflowExecution: { workflowId: 'test', runId: '00000000-0000-0000-0000-000000000000' },
  scheduledTimestampMs: 1,
  currentAttemptScheduledTimestampMs: 1,
} as unknown as Info;

const log = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} };

/**
 * Runs `work` in the context that activities ask for, never cancelled. Temporal's MockActivityEnvironment does it too, and loads
 * the worker with the bundler of its workflows: a second of every file that wants no more than this.
 */
export function inActivity<T>(
  work: () => Promise<T>,
  info: Partial<Info> = {},
  heartbeat: (details: unknown) => void = () => {},
): Promise<T> {
  const never = new Promise<never>(() => {});
  const { signal } = new AbortController();
  const context = new Context({ ...INFO, ...info }, never, signal, heartbeat, undefined, log, noopMetricMeter, {});
  return asyncLocalStorage.run(context, work);
}
