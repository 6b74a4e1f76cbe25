import { CancellationScope } from '@temporalio/workflow';
import { failure, hasCode } from '../core/errors';
import type { FailOverInput, FailOverResult } from '../core/runs';
import { control as anywhere } from './proxies';
import { FailoverControl } from './failover/control';
import { confirmPrimaryIsDown, escalate, lookAgain, priceTheLoss, requireStandbys } from './failover/decide';
import { fence, takeEpoch, undo } from './failover/fence';
import { continueTheNewLineage, pointDns, promote, startServices, verify } from './failover/move';
import { end, FailoverRun } from './failover/run';
import { reasonOf } from './step-table';

/**
 * The unplanned failover of an application to another site, in the order of the runbook: confirm that the primary is down
 * and that a standby is there, price the loss and wait for approval, take the epoch, fence, promote, start the services,
 * move the name, verify through it, archive the new lineage, tell people, report. Everything runs at the surviving site.
 *
 * Up to the promotion every step can be undone and an abort undoes them in reverse; from the promotion on there is only
 * the way forward (rule 2).
 */
export async function failOver(input: FailOverInput): Promise<FailOverResult> {
  const control = new FailoverControl(input);
  const described = await anywhere.describeApplication({ application: input.application });
  const { application: app, activeSite: fromSite, epoch } = described;
  if (fromSite === input.toSite) {
    throw failure('RoleMismatch', `${input.toSite} is the active site of ${app.name} already`);
  }
  if (!app.sites.includes(input.toSite)) {
    throw failure('NotFound', `${app.name} has no site ${input.toSite}; its sites are ${app.sites.join(', ')}`);
  }
  Object.assign(control, { fromSite, policy: app.failover });
  const run = new FailoverRun(input, app, fromSite, control);

  const verdict = await confirmPrimaryIsDown(run);
  if (verdict.healthy) return end(run, 'not necessary', `${fromSite} is healthy`);

  await requireStandbys(run);
  await priceTheLoss(run, verdict);
  const decision = await control.approval(() => escalate(run), app.failover.escalateAfterSeconds);
  if (decision === 'rejected') return end(run, 'rejected', `${control.rejectedBy?.by}: ${control.rejectedBy?.reason}`);
  if (decision === 'aborted') return end(run, 'aborted', `${control.abortedBy?.by}: ${control.abortedBy?.reason}`);
  if ((await lookAgain(run)).healthy) return end(run, 'not necessary', `${fromSite} has recovered`);
  await requireStandbys(run);

  try {
    await takeEpoch(run, epoch);
    await fence(run);
  } catch (error) {
    await CancellationScope.nonCancellable(() => undo(run));
    if (hasCode(error, 'Aborted')) return end(run, 'aborted', reasonOf(error));
    await CancellationScope.nonCancellable(() => end(run, 'rolled back', reasonOf(error)));
    throw error;
  }

  // The pivot: from here on a promotion may have happened.
  control.pivotPassed = true;
  await promote(run);
  await startServices(run);
  await pointDns(run);
  await verify(run);
  await continueTheNewLineage(run);
  return end(run, 'completed', `${app.name} runs at ${input.toSite}`);
}
