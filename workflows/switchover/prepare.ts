import { condition, sleep } from '@temporalio/workflow';
import type { SiteVerdict } from '../../activities/primary';
import type { CatchUp } from '../../activities/hand-over';
import type { SiteAtWork } from '../../activities/site';
import { failure } from '../../core/errors';
import { switchoverSteps } from '../../core/role-change-steps';
import { tell } from '../failover/run';
import type { SwitchoverRun } from './run';

/**
 * Both sites as they have to be, and what serves at the old one is noted for an undo. Patient like a failover's look, because
 * one slow answer is no reason; then it ends, because nothing was changed and nobody has to wait for it.
 */
export async function requireReady(run: SwitchoverRun): Promise<string[]> {
  const { app, fromSite, site: toSite } = run;
  const application = app.name;
  const { confirmProbes, confirmIntervalSeconds, switchover } = app.failover;
  run.steps.enter('checking');
  const verdicts = await run.steps.run(...switchoverSteps.ready(fromSite, toSite), async () => {
    for (let look = 1; ; look += 1) {
      const [from, to, work] = await Promise.all([
        run.at.probeSite({ application, site: fromSite }),
        run.at.probeSite({ application, site: toSite }),
        run.at.lookAtWork({ application, site: fromSite }),
      ]);
      run.servedBefore = work;
      const objections = [...unhealthy(from), ...noStandby(run.stores, to), ...unseen(fromSite, work)];
      if (objections.length === 0) return [from, to] as const;
      if (look >= confirmProbes)
        throw failure('SwitchoverRefused', `not both sites are ready: ${objections.join('; ')}`);
      await sleep(confirmIntervalSeconds * 1_000);
    }
  });
  const caughtUp = await run.steps.run(
    ...switchoverSteps.lag(app, toSite),
    () => run.at.measureCatchUp({ application, fromSite, toSite, withinSeconds: switchover.maxLagSeconds }),
    (lags) => lags.map(inWords).join(', '),
  );
  return [
    ...verdicts.flatMap(({ findings }) => findings),
    ...caughtUp.map((lag) => `${lag.store}: ${toSite} ${inWords(lag)}`),
  ];
}

function unhealthy({ site, healthy, findings }: SiteVerdict): string[] {
  return healthy ? [] : [`${site} is not healthy (${findings.join('; ')})`];
}

/** A service whose size is not known could not get it back. */
function unseen(site: string, { unseenServices }: SiteAtWork): string[] {
  return unseenServices.map((service) => `how many replicas ${service} has at ${site} cannot be seen`);
}

function noStandby(stores: readonly string[], { site, stores: seen }: SiteVerdict): string[] {
  return stores.flatMap((name) => {
    const found = seen.find(({ store }) => store === name);
    if (!found?.reachable) return [`${name} has no standby at ${site} that answers`];
    return found.role === 'replica' && found.writable !== true
      ? []
      : [`${name} at ${site} is no standby (${found.role})`];
  });
}

const inWords = ({ store, seconds }: CatchUp) => `had everything of ${store} within ${seconds.toFixed(1)} s`;

/** Nothing grows while people think, so that there is one card; what it says is looked at again before anything is changed. */
export async function askForApproval(
  run: SwitchoverRun,
  evidence: readonly string[],
): Promise<'approved' | 'rejected' | 'aborted'> {
  const { control, steps, app, input } = run;
  control.cards.push({
    number: 1,
    application: app.name,
    fromSite: run.fromSite,
    toSite: run.site,
    requestedBy: input.requestedBy,
    reason: input.reason,
    evidence,
    losses: [],
    measuredAt: new Date().toISOString(),
    problem: null,
    worse: [],
    rtoSeconds: app.objectives.rtoSeconds,
    rpoSeconds: app.objectives.rpoSeconds,
    planned: { withinSeconds: app.failover.switchover.withinSeconds },
  });
  steps.waitingFor = 'approval (approve, reject or abort)';
  steps.enter('waiting for approval');
  const decided = () => control.approval !== null || control.rejectedBy !== null || control.abortedBy !== null;
  while (!(await condition(decided, app.failover.escalateAfterSeconds * 1_000))) {
    steps.say('nobody has decided yet: escalated');
    await tell(run, 'escalate', 'critical', `${run.title} waits for approval`, [
      `${input.requestedBy} asked to move ${app.name} from ${run.fromSite} to ${run.site}: ${input.reason}`,
      'Approve with: drctl switchover approve --by <name>',
    ]);
  }
  steps.waitingFor = null;
  if (control.rejectedBy) return 'rejected';
  if (!control.approval) return 'aborted';
  control.approval.taken = true;
  return 'approved';
}
