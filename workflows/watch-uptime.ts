import { continueAsNew, isCancellation, sleep, workflowInfo } from '@temporalio/workflow';
import { reasonOf } from '../core/errors';
import type { WatchUptimeInput } from '../core/runs';
import { askingAnywhere } from './proxies';
import { StepTable } from './step-table';

const ROUND_MILLISECONDS = 600_000;
/** An SLA of 99.9 % allows 43 minutes a month: looks that are further apart could not tell. */
const INTERVAL_MILLISECONDS = 60_000;
const ASK_AGAIN_MILLISECONDS = 5_000;

/**
 * Asks the application's endpoints through its public name, minute by minute, for as long as it lives: what the monthly report
 * holds against its SLA. From any site that lives; a minute in which none did is unknown.
 */
export async function watchUptime(input: WatchUptimeInput): Promise<void> {
  const { application } = input;
  const steps = new StepTable('uptime', application);
  steps.enter('asking the endpoints');
  while (!workflowInfo().continueAsNewSuggested) {
    try {
      await askingAnywhere(application).sampleUptime({
        application,
        runForMilliseconds: ROUND_MILLISECONDS,
        intervalMilliseconds: INTERVAL_MILLISECONDS,
        askAgainMilliseconds: ASK_AGAIN_MILLISECONDS,
      });
    } catch (error) {
      if (isCancellation(error)) throw error;
      steps.say(reasonOf(error));
      await sleep('10 seconds');
    }
    if (steps.messages.length > 20) steps.messages.splice(0, steps.messages.length - 20);
  }
  await continueAsNew<typeof watchUptime>(input);
}
