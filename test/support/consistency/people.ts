import { setTimeout as delay } from 'node:timers/promises';
import { WorkflowFailedError } from '@temporalio/client';
import type { FailOverResult, FailOverStatus } from '../../../core/role-change-runs';
import type { E2eLab } from '../e2e-lab';

/** Two minutes of trying a step, then a person is asked; a run that says nothing for longer is half done in silence. */
const SILENCE_MILLISECONDS = 150_000;
const LOOK_EVERY_MILLISECONDS = 200;

/** How a run ended, and every question that it put to people on the way. */
export interface Ended {
  readonly result: FailOverResult | null;
  /** Why it ended otherwise than with a result. */
  readonly error: unknown;
  readonly status: FailOverStatus;
  readonly questions: readonly string[];
}

/**
 * Plays the people of a failover: approves whenever it is asked to, and answers everything else by `decide`. Resolves when the run
 * is over; rejects when it neither ends nor asks: nobody would know that it is half done.
 */
export async function peopleDecide(
  e2e: E2eLab,
  runId: string,
  workflowId: string,
  decide: (question: string, status: FailOverStatus) => Promise<void>,
): Promise<Ended> {
  const handle = e2e.client.workflow.getHandle(workflowId, runId, { followRuns: false });
  const questions: string[] = [];
  let told = '';
  let toldAtMs = Date.now();
  for (;;) {
    const status = await e2e.status<FailOverStatus>(workflowId);
    // What a person sees of it; while nothing of it changes, nothing is told.
    const news = JSON.stringify([status?.phase, status?.waitingFor, status?.steps.map(({ state }) => state)]);
    if (status && news !== told) [told, toldAtMs] = [news, Date.now()];
    if (status?.outcome && status.finishedAt) {
      const ended = await handle.result().then(
        (result) => ({ result: result as FailOverResult, error: null }),
        (error: unknown) => ({ result: null, error }),
      );
      // Temporal may be killed in the very moment: then it is asked again.
      if (ended.error === null || ended.error instanceof WorkflowFailedError) return { ...ended, status, questions };
    }
    if (status?.waitingFor) {
      questions.push(status.waitingFor);
      if (status.accepts.includes('approve')) await e2e.drctl(['failover', 'approve', '--by', 'oncall-lead']);
      else await decide(status.waitingFor, status);
    } else if (Date.now() - toldAtMs > SILENCE_MILLISECONDS) {
      throw new Error(
        `half done in silence: ${JSON.stringify(status?.steps.filter(({ state }) => state === 'running'))}`,
      );
    }
    await delay(LOOK_EVERY_MILLISECONDS);
  }
}
