import { continueAsNew, isCancellation, workflowInfo } from '@temporalio/workflow';
import { reasonOf } from '../core/errors';
import type { WatchReplicationInput } from '../core/runs';
import { anywhere, following } from './proxies';
import { Following } from './follow';
import { StepTable } from './step-table';

const ROUND_MILLISECONDS = 600_000;
/** Frequent enough that the bound on a loss stays a few seconds of writes, cheap enough to run for ever. */
const INTERVAL_MILLISECONDS = 1_500;

/**
 * Measures how far the standby site is behind, from the standby site, for as long as the application lives. What it keeps
 * prices a failover before a person approves it.
 */
export async function watchReplication(input: WatchReplicationInput): Promise<void> {
  const { application } = input;
  const steps = new StepTable('watch', application);
  const place = new Following();

  while (!workflowInfo().continueAsNewSuggested) {
    try {
      const { application: described, activeSite } = await anywhere(application).describeApplication({ application });
      const standbySite = described.sites.find((site) => site !== activeSite);
      if (standbySite === undefined) {
        steps.finish('there is no second site to measure');
        return;
      }
      steps.enter(`measuring ${activeSite} from ${standbySite}`);
      await place.round(() =>
        following(application, standbySite).sampleReplication({
          application,
          primarySite: activeSite,
          standbySite,
          runForMilliseconds: ROUND_MILLISECONDS,
          intervalMilliseconds: INTERVAL_MILLISECONDS,
        }),
      );
    } catch (error) {
      if (isCancellation(error)) throw error;
      steps.enter('waiting after a failure');
      steps.say(reasonOf(error));
      await place.pause('10 seconds');
    }
    if (steps.messages.length > 20) steps.messages.splice(0, steps.messages.length - 20);
  }
  await continueAsNew<typeof watchReplication>(input);
}
