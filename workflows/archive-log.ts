import { continueAsNew, isCancellation, ParentClosePolicy, startChild, workflowInfo } from '@temporalio/workflow';
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { hasCode, reasonOf } from '../core/errors';
import type { ArchiveLogInput } from '../core/runs';
import { launchBackups } from './launch-backups';
import { anywhere, following, telling } from './proxies';
import { Following } from './follow';
import { StepTable } from './step-table';

/** One round of following; then the workflow may continue as new with a short history. */
const ROUND_MILLISECONDS = 600_000;
/** Seconds of data at risk: a slice is stored this often when there is something new. */
const SLICE_MILLISECONDS = 1_000;
/** Gaps of long ago are not met again: their log goes on behind them. */
const GAPS_KEPT = 20;

/**
 * Follows one store's log for as long as the application lives: at the active site, moved by a role change, continued as
 * new before its history grows. A gap or a new lineage is answered by a new full backup at once (rule 4), and the log goes
 * on behind it. A server whose log is not the continuation of what is archived is for people to look at.
 */
export async function archiveLog(input: ArchiveLogInput): Promise<void> {
  const { application, store } = input;
  const steps = new StepTable('archive', application);
  const place = new Following();

  const answeredGaps = [...(input.answeredGaps ?? [])];
  const raised = { count: 0 };
  let contradicted = 0;
  while (!workflowInfo().continueAsNewSuggested) {
    try {
      const { activeSite, epoch } = await anywhere(application).describeApplication({ application });
      steps.enter(`archiving from ${activeSite}`);
      const outcome = await place.round(() =>
        following(application, activeSite).archiveLog({
          application,
          store,
          site: activeSite,
          epoch,
          runForMilliseconds: ROUND_MILLISECONDS,
          sliceMilliseconds: SLICE_MILLISECONDS,
          answeredGaps,
        }),
      );
      if (outcome?.needsBase) {
        await takeNewBase(input, outcome.needsBase, raised, steps);
        // Not waited for: archiving goes on while people are told.
        void tell(input, raised, `${store}: the log has a gap`, [outcome.needsBase, BASE_STARTED], steps);
        answeredGaps.push(outcome.needsBase);
        if (answeredGaps.length > GAPS_KEPT) answeredGaps.shift();
      }
      if (outcome) contradicted = 0;
    } catch (error) {
      if (isCancellation(error)) throw error;
      // Not worth ending an archiver for: whatever it was, the next round reads epoch and archive afresh.
      if (hasCode(error, 'LogGap')) {
        contradicted += 1;
        await standStill(input, reasonOf(error), contradicted, raised, steps);
      } else if (!hasCode(error, 'StaleEpoch')) {
        steps.enter('waiting after a failure');
        steps.say(reasonOf(error));
      }
      await place.pause(contradicted > 1 ? '5 minutes' : '10 seconds');
    }
    if (steps.messages.length > 20) steps.messages.splice(0, steps.messages.length - 20);
  }
  await continueAsNew<typeof archiveLog>({ ...input, answeredGaps });
}

/**
 * The server has other log than what is archived of it, or less: one that was put back to an earlier state, or a second
 * one. A base taken of it would lie in a history that the archive does not have, so none is started; people are told once.
 */
async function standStill(
  input: ArchiveLogInput,
  reason: string,
  times: number,
  raised: Raised,
  steps: StepTable,
): Promise<void> {
  steps.enter('standing still: the log of the server is not the one that is archived');
  if (times > 1) return;
  steps.say(reason);
  await tell(
    input,
    raised,
    `${input.store}: the log cannot be archived`,
    [reason, 'No backup would mend it: look at the server and at the archive.'],
    steps,
  );
}

/** Counts what was raised in a run, so that each launcher and each alert has an id of its own. */
interface Raised {
  count: number;
}

const BASE_STARTED = 'A new full backup was started.';

/** Nobody being reachable must not stop an archiver: it is said in the run instead. */
async function tell(
  { application, store }: ArchiveLogInput,
  raised: Raised,
  title: string,
  lines: readonly string[],
  steps: StepTable,
): Promise<void> {
  raised.count += 1;
  try {
    await telling(application).notify({
      id: `log-gap:${application}:${store}:${raised.count}:${workflowInfo().runId}`,
      application,
      severity: 'critical',
      title,
      lines,
      at: new Date().toISOString(),
      fields: { backup_type: store, status: 'error' },
    });
  } catch (error) {
    steps.say(`nobody could be told: ${reasonOf(error)}`);
  }
}

/** By a launcher: a backup that runs already began before the gap, so that the new one has to come after it. */
async function takeNewBase(
  { application, store }: ArchiveLogInput,
  reason: string,
  raised: Raised,
  steps: StepTable,
): Promise<void> {
  raised.count += 1;
  steps.say(`a new full backup is needed: ${reason}`);
  try {
    await startChild(launchBackups, {
      workflowId: `${application}-new-base-${store}-${workflowInfo().runId}-${raised.count}`,
      args: [{ application, stores: [store], type: 'full', reason, waitForRunning: true }],
      parentClosePolicy: ParentClosePolicy.ABANDON,
      staticSummary: `full backup of ${store} (${reason})`,
    });
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    steps.say('it is being taken already');
  }
}
