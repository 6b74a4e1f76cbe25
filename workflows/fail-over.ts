import { CancellationScope, defineQuery, setHandler } from '@temporalio/workflow';
import { failure } from '../core/errors';
import { planFailover } from '../core/plan-failover';
import type { RoleChangePlan } from '../core/role-change-plan';
import type { FailOverInput, FailOverResult } from '../core/role-change-runs';
import { queries } from '../core/runs';
import { preemptDrill } from './pre-empt-drill';
import { roleChange } from './proxies';
import { askForApproval, priceTheLoss } from './failover/approval';
import { catchUp } from './failover/catch-up';
import { FailoverControl } from './failover/control';
import { confirmPrimaryIsDown, lookAgain, requireStandbys, requireStandbysStill } from './failover/decide';
import { fence, holdWhatIsAttested, takeEpoch, undo } from './failover/fence';
import { runHooks, withHooks } from './failover/hooks';
import { continueTheNewLineage, leadMembers, pointDns, promote, settle, startServices, verify } from './failover/move';
import { end, endTurnedBack, FailoverRun } from './failover/run';

/**
 * The unplanned failover of an application to another site, in the order of the runbook: confirm that the primary is down
 * and that a standby is there, price the loss and wait for approval, take the epoch, fence, bring the standbys what only the
 * archive has, promote, start the services, move the name, verify through it, archive the new lineage, tell people, report. Everything runs at the surviving site.
 *
 * Up to the promotion every step can be undone and an abort undoes them in reverse; from the promotion on there is only
 * the way forward (rule 2).
 */
export async function failOver(input: FailOverInput): Promise<FailOverResult> {
  preemptDrill(input.application, 'failover');
  const control = new FailoverControl(input);
  const described = await roleChange(input.application, input.toSite).describeApplication(input);
  const { application: app, activeSite: fromSite, epoch } = described;
  if (fromSite === input.toSite) {
    throw failure('RoleMismatch', `${input.toSite} is the active site of ${app.name} already`);
  }
  Object.assign(control, { fromSite, policy: app.failover });
  const run = new FailoverRun(input, app, fromSite, control);
  const plan = planFailover(app, { fromSite, toSite: input.toSite, epoch }, null);
  setHandler(defineQuery<RoleChangePlan>(queries.plan), () => plan);

  try {
    const verdict = await confirmPrimaryIsDown(run);
    if (verdict.healthy) return await end(run, 'not necessary', `${fromSite} is healthy`);

    await requireStandbys(run);
    await priceTheLoss(run, verdict);
    if ((await askForApproval(run)) === 'rejected') {
      return await end(run, 'rejected', `${control.rejectedBy?.by}: ${control.rejectedBy?.reason}`);
    }
    await control.clearance();
    // Before the last look at the old site, which may recover while a standby is waited for.
    await requireStandbysStill(run);
    if ((await lookAgain(run)).healthy) return await end(run, 'not necessary', `${fromSite} has recovered`);

    await takeEpoch(run, epoch);
    await withHooks(run, 'fence', () => fence(run));
    await catchUp(run);
    await runHooks(run, 'before', 'promotion');
    // The last moment for an abort or a pause that came while the steps before were at work.
    await control.clearance();
  } catch (error) {
    return CancellationScope.nonCancellable(() => turnBack(run, error));
  }

  // The pivot: from here on a promotion may have happened, and nothing but the end of the road stops the run.
  control.pivotPassed = true;
  return CancellationScope.nonCancellable(async () => {
    await promote(run);
    await holdWhatIsAttested(run);
    await runHooks(run, 'after', 'promotion');
    await withHooks(run, 'services', () => startServices(run));
    await withHooks(run, 'dns', () => pointDns(run));
    await withHooks(run, 'verification', () => verify(run));
    await leadMembers(run);
    await continueTheNewLineage(run);
    await settle(run);
    return end(run, 'completed', `${app.name} runs at ${input.toSite}`);
  });
}

/** Before the pivot everything is undone, whatever stopped the run. */
async function turnBack(run: FailoverRun, error: unknown): Promise<FailOverResult> {
  return endTurnedBack(run, error, run.undoEpoch ? await undo(run) : []);
}
