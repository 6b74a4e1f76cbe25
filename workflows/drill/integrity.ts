import { ChildWorkflowCancellationType, executeChild, ParentClosePolicy } from '@temporalio/workflow';
import { failure } from '../../core/errors';
import { workflowIds } from '../../core/names';
import { verifyStores } from '../verify-stores';
import type { DrillRun, Found } from './run';

/** Stage 1: of each store a backup that chance chooses is read completely, with its chain and its log. Leaves a proof of each. */
export async function verifyIntegrity(run: DrillRun): Promise<Found> {
  const application = run.app.name;
  const stores = run.app.stores.map(({ name }) => name);
  const requestedBy = `drill ${run.drillId} (${run.input.requestedBy})`;
  const workflowId = workflowIds.verify(application, `drill-${run.drillId}`);
  const { stores: verified } = await run.steps.run(
    'integrity',
    'Read a backup of each store completely',
    () =>
      executeChild(verifyStores, {
        workflowId,
        args: [{ application, stores, kind: 'full', requestedBy, tell: false }],
        parentClosePolicy: ParentClosePolicy.REQUEST_CANCEL,
        // What it was reading is let go of before the drill cleans up.
        cancellationType: ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
        staticSummary: `full verification for drill ${run.drillId}`,
      }),
    (result) => result.stores.map(({ store, result: proof }) => `${store}: ${proof}`).join(', '),
  );
  const bad = verified.filter(({ result }) => result === 'failed');
  if (bad.length > 0) {
    const why = bad.map(({ store, problem, findings }) => `${store}: ${problem ?? findings[0]?.problem ?? 'failed'}`);
    throw failure('VerificationFailed', why.join('; '));
  }
  return `a backup of each of ${verified.length} stores was read completely; ${workflowId}`;
}
