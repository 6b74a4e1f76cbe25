import { ChildWorkflowCancellationType, executeChild, ParentClosePolicy } from '@temporalio/workflow';
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import type { DrillInput, LaunchDrillResult } from '../core/drill-runs';
import { workflowIds } from '../core/names';
import { drill } from './drill';
import { StepTable } from './step-table';

/**
 * Started by a schedule, whose runs have a time in their id: the lock is the child's id `drill:<application>`, and by it a role
 * change finds the drill that it ends.
 */
export async function launchDrill(input: DrillInput): Promise<LaunchDrillResult> {
  const steps = new StepTable('launch', input.application);
  steps.enter('drill');
  try {
    const result = await steps.run(
      'drill',
      'Hold the drill',
      () =>
        executeChild(drill, {
          workflowId: workflowIds.drill(input.application),
          args: [input],
          parentClosePolicy: ParentClosePolicy.REQUEST_CANCEL,
          // It is not over before what it has made is gone.
          cancellationType: ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
          staticSummary: `drill of ${input.application} (${input.requestedBy})`,
        }),
      ({ outcome, because }) => `${outcome}: ${because}`,
    );
    steps.finish(result.outcome);
    return { drill: result };
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    steps.mark('drill', 'skipped', 'an earlier one is still running');
    steps.finish('skipped');
    return { drill: null };
  }
}
