import { CancellationScope, defineQuery, setHandler } from '@temporalio/workflow';
import { failure } from '../core/errors';
import { planSwitchover } from '../core/plan-switchover';
import type { RoleChangePlan } from '../core/role-change-plan';
import type { FailOverResult, SwitchOverInput } from '../core/role-change-runs';
import { queries } from '../core/runs';
import { FailoverControl } from './failover/control';
import { takeEpoch, undo } from './failover/fence';
import { runHooks, withHooks } from './failover/hooks';
import { continueTheNewLineage, leadMembers, pointDns, promote, settle, startServices, verify } from './failover/move';
import { end, endTurnedBack } from './failover/run';
import { preemptDrill } from './pre-empt-drill';
import { roleChange } from './proxies';
import { fenceTheRest, followTheNewPrimary, handOver, stopServices, withinTheLimit } from './switchover/hand-over';
import { lowerTtls, restoreTtls } from './switchover/lower-ttl';
import { askForApproval, requireReady } from './switchover/prepare';
import { SwitchoverRun } from './switchover/run';

/**
 * The planned move of an application to its other site without losing anything, in the order of the runbook: see that both
 * sites are healthy and the standbys close behind, wait for approval, take the epoch, stop the services, let every store end
 * its writes and prove that the other side has them, fence what is not fenced by that, promote, start the services, move the
 * name, verify through it, make the old primaries standbys, archive the new lineage, report.
 *
 * Up to the promotion everything can be undone, and is: on an abort, on an error, and past the limit of time in the config.
 */
export async function switchOver(input: SwitchOverInput): Promise<FailOverResult> {
  preemptDrill(input.application, 'switchover');
  const control = new FailoverControl(input, 'switchover');
  const described = await roleChange(input.application, input.toSite).describeApplication(input);
  const { application: app, activeSite: fromSite, epoch } = described;
  if (fromSite === input.toSite) {
    throw failure('RoleMismatch', `${input.toSite} is the active site of ${app.name} already`);
  }
  Object.assign(control, { fromSite, policy: app.failover });
  const run = new SwitchoverRun(input, app, fromSite, control);
  const plan = planSwitchover(app, { fromSite, toSite: input.toSite, epoch }, null);
  setHandler(defineQuery<RoleChangePlan>(queries.plan), () => plan);

  try {
    const ready = await requireReady(run);
    const evidence = [...ready, ...(await lowerTtls(run, epoch))];
    if ((await askForApproval(run, evidence)) === 'rejected') {
      await restoreTtls(run);
      return await end(run, 'rejected', `${control.rejectedBy?.by}: ${control.rejectedBy?.reason}`);
    }
    await control.clearance();
    await requireReady(run);
    await withinTheLimit(run, async () => {
      await takeEpoch(run, epoch);
      await withHooks(run, 'fence', async () => {
        await stopServices(run);
        await handOver(run);
        await fenceTheRest(run);
      });
      await runHooks(run, 'before', 'promotion');
      // The last moment for an abort or a pause that came while the stores handed over.
      await control.clearance();
    });
  } catch (error) {
    return CancellationScope.nonCancellable(() => turnBack(run, error));
  }

  // The pivot: from here on a promotion may have happened, and nothing but the end of the road stops the run.
  control.pivotPassed = true;
  return CancellationScope.nonCancellable(async () => {
    await promote(run);
    await runHooks(run, 'after', 'promotion');
    await withHooks(run, 'services', () => startServices(run));
    await withHooks(run, 'dns', () => pointDns(run));
    await withHooks(run, 'verification', () => verify(run));
    await followTheNewPrimary(run);
    await leadMembers(run);
    await continueTheNewLineage(run);
    await settle(run);
    return end(run, 'completed', `${app.name} runs at ${input.toSite}, nothing was lost`);
  });
}

/**
 * Before the pivot everything is undone, whatever stopped the run. It is done from the old site, which is the one that has to
 * serve: the other may be what failed. Nobody but this run can have promoted a store meanwhile (its id and its epoch see to
 * that), and it has not: only one that is seen to take writes counts.
 */
async function turnBack(run: SwitchoverRun, error: unknown): Promise<FailOverResult> {
  run.workAt(run.fromSite);
  run.steps.waitingFor = null;
  const left = run.undoEpoch ? await undo(run, true) : [];
  await restoreTtls(run);
  return endTurnedBack(run, error, left);
}
