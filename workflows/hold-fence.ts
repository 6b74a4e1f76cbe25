import { continueAsNew, isCancellation, sleep, workflowInfo } from '@temporalio/workflow';
import { hasCode, reasonOf } from '../core/errors';
import type { FenceEvidence, HoldFenceInput } from '../core/fencing';
import { following, telling } from './proxies';
import { StepTable } from './step-table';

const ROUND_MILLISECONDS = 600_000;
/**
 * A round is tried again by Temporal for as long as that may help. One that failed for good (a right that is missing, a name
 * that the config does not know) waits for a person to mend it: soon taken up then, and few events in a history until then.
 */
const AFTER_FAILURE = '10 seconds';

/**
 * After a promotion that rests on somebody's word: the old primary may only hang, and wake up believing that it leads. Waits
 * for it at the surviving site, for ever if need be, and makes it refuse writes within moments of its first answer. A newer role
 * change ends it, for the site may have a role again then.
 */
export async function holdFence(input: HoldFenceInput): Promise<void> {
  const { application, site, survivingSite, epoch } = input;
  const steps = new StepTable('fence', application);
  const left = new Set(input.stores);
  for (const store of left) steps.announce(store, `Refuse writes at ${store} of ${site} when it comes back`);
  steps.enter(`watching ${site}`);
  while (left.size > 0 && !workflowInfo().continueAsNewSuggested) {
    try {
      const round = {
        application,
        stores: [...left],
        site,
        survivingSite,
        epoch,
        runForMilliseconds: ROUND_MILLISECONDS,
      };
      for (const evidence of await following(application, survivingSite).holdFence(round)) {
        for (const store of evidence.stores) {
          left.delete(store);
          steps.mark(store, 'done', `${evidence.strength}: ${evidence.how}`);
        }
        await tell(input, evidence);
      }
    } catch (error) {
      if (isCancellation(error)) throw error;
      if (hasCode(error, 'StaleEpoch')) {
        steps.say(`a newer role change decides about ${site} now`);
        return steps.finish('overtaken');
      }
      steps.say(reasonOf(error));
      if (steps.messages.length > 20) steps.messages.shift();
      await sleep(AFTER_FAILURE);
    }
  }
  if (left.size > 0) await continueAsNew<typeof holdFence>({ ...input, stores: [...left] });
  steps.finish('fenced');
}

async function tell({ application, site, epoch, answering }: HoldFenceInput, evidence: FenceEvidence): Promise<void> {
  const stores = evidence.stores.join(', ');
  const neverGone = evidence.stores.every((store) => answering?.includes(store));
  await telling(application).notify({
    id: `fence:${application}:${epoch}:${stores}`,
    application,
    severity: 'critical',
    title: `The old primary of ${stores} at ${site} ${neverGone ? 'still answers' : 'has come back'}, and refuses writes`,
    lines: [
      evidence.how,
      neverGone
        ? 'It was asked to refuse writes before the promotion and answered. That is no proof: what a session may have made it take since is in no other copy.'
        : 'What it took between its return and this moment is in no other copy.',
      'Stop it, look at its last transactions, and rebuild it as a replica.',
    ],
    at: evidence.at,
    fields: { kind: 'fence', from: site },
  });
}
