import { continueAsNew, isCancellation, ParentClosePolicy, startChild, workflowInfo } from '@temporalio/workflow';
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { hasCode } from '../core/errors';
import { workflowIds } from '../core/names';
import type { ArchiveLogInput } from '../core/runs';
import { backUpStore } from './back-up-store';
import { control, following } from './proxies';
import { Following } from './follow';
import { reasonOf, StepTable } from './step-table';

/** One round of following; then the workflow may continue as new with a short history. */
const ROUND_MILLISECONDS = 600_000;
/** Seconds of data at risk: a slice is stored this often when there is something new. */
const SLICE_MILLISECONDS = 1_000;

/**
 * Follows one store's log for as long as the application lives: at the active site, moved by a role change, continued as
 * new before its history grows. A gap or a new lineage is answered by a new full backup at once (rule 4).
 */
export async function archiveLog(input: ArchiveLogInput): Promise<void> {
  const { application, store } = input;
  const steps = new StepTable('archive', application);
  const place = new Following();

  while (!workflowInfo().continueAsNewSuggested) {
    const { activeSite, epoch } = await control.describeApplication({ application });
    steps.enter(`archiving from ${activeSite}`);
    try {
      const outcome = await place.round(() =>
        following(application, activeSite).archiveLog({
          application,
          store,
          site: activeSite,
          epoch,
          runForMilliseconds: ROUND_MILLISECONDS,
          sliceMilliseconds: SLICE_MILLISECONDS,
        }),
      );
      if (outcome?.needsBase) await takeNewBase(input, outcome.needsBase, steps);
    } catch (error) {
      if (isCancellation(error)) throw error;
      // Not worth ending an archiver for: a new epoch is read at the next turn, a gap is answered by a new base backup.
      if (hasCode(error, 'LogGap')) await takeNewBase(input, reasonOf(error), steps);
      else if (!hasCode(error, 'StaleEpoch')) {
        steps.enter('waiting after a failure');
        steps.say(reasonOf(error));
      }
      await place.pause('10 seconds');
    }
    if (steps.messages.length > 20) steps.messages.splice(0, steps.messages.length - 20);
  }
  await continueAsNew<typeof archiveLog>(input);
}

async function takeNewBase({ application, store }: ArchiveLogInput, reason: string, steps: StepTable): Promise<void> {
  steps.say(`a new full backup is needed: ${reason}`);
  try {
    await startChild(backUpStore, {
      workflowId: workflowIds.backup(application, store),
      args: [{ application, store, type: 'full', reason }],
      parentClosePolicy: ParentClosePolicy.ABANDON,
      staticSummary: `full backup of ${store} (${reason})`,
    });
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    steps.say('a backup is running already');
  }
}
