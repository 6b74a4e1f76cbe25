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

/**
 * Follows one store's log for as long as the application lives: at the active site, moved by a role change, continued as
 * new before its history grows. A gap or a new lineage is answered by a new full backup at once (rule 4).
 */
export async function archiveLog(input: ArchiveLogInput): Promise<void> {
  const { application, store } = input;
  const steps = new StepTable('archive', application);
  const place = new Following();

  const gaps = new Map<string, number>();
  const raised = { count: 0 };
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
        }),
      );
      if (outcome?.needsBase) {
        await takeNewBase(input, outcome.needsBase, raised, steps);
        // Not waited for: archiving goes on while people are told.
        void tell(input, raised, `${store}: the log has a gap`, [outcome.needsBase, BASE_STARTED], steps);
      }
      if (outcome) gaps.clear();
    } catch (error) {
      if (isCancellation(error)) throw error;
      // Not worth ending an archiver for: whatever it was, the next round reads epoch and archive afresh.
      if (hasCode(error, 'LogGap')) await answerGap(input, reasonOf(error), gaps, raised, steps);
      else if (!hasCode(error, 'StaleEpoch')) {
        steps.enter('waiting after a failure');
        steps.say(reasonOf(error));
      }
      await place.pause([...gaps.values()].some((seen) => seen > 1) ? '5 minutes' : '10 seconds');
    }
    if (steps.messages.length > 20) steps.messages.splice(0, steps.messages.length - 20);
  }
  await continueAsNew<typeof archiveLog>(input);
}

/**
 * A gap is loud (rule 4) and is answered by one new base. One that is there again afterwards is of another kind (two
 * histories under one name): more backups would not mend it, people must.
 */
async function answerGap(
  input: ArchiveLogInput,
  reason: string,
  gaps: Map<string, number>,
  raised: Raised,
  steps: StepTable,
): Promise<void> {
  const seen = (gaps.get(reason) ?? 0) + 1;
  gaps.set(reason, seen);
  if (seen === 1) await takeNewBase(input, reason, raised, steps);
  else steps.enter('standing still: the log has a gap that a new backup did not mend');
  if (seen > 2) return;
  const first = seen === 1;
  await tell(
    input,
    raised,
    first ? `${input.store}: the log has a gap` : `${input.store}: the log cannot be archived`,
    [reason, first ? BASE_STARTED : 'A new full backup did not mend it: look at the server and at the archive.'],
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
