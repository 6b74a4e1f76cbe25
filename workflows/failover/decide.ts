import { sleep } from '@temporalio/workflow';
import type { SiteVerdict } from '../../activities/primary';
import { failure } from '../../core/errors';
import { roleChangeSteps } from '../../core/role-change-steps';
import type { FailoverRun } from './run';

export async function confirmPrimaryIsDown(run: FailoverRun): Promise<SiteVerdict> {
  run.steps.enter('confirming');
  const { confirmProbes, confirmIntervalSeconds } = run.app.failover;
  return run.control.must(
    ...roleChangeSteps.confirm(run.app, run.fromSite),
    async () => {
      for (let look = 1; ; look += 1) {
        const verdict = await run.at.probeSite({ application: run.app.name, site: run.fromSite });
        if (verdict.healthy || look >= confirmProbes) return verdict;
        await sleep(confirmIntervalSeconds * 1_000);
      }
    },
    (verdict) => (verdict.healthy ? 'it is healthy' : verdict.alive ? 'partly alive' : 'it is down'),
  );
}

/** Before people are asked: one that is not there ends the run. */
export async function requireStandbys(run: FailoverRun): Promise<void> {
  await run.steps.run(...roleChangeSteps.standbys(run.site), () => lookForStandbys(run, 'start the failover again'));
}

/** Once more before the first step that changes something: whoever has approved decides about it, and need not begin anew. */
export async function requireStandbysStill(run: FailoverRun): Promise<void> {
  await run.control.must(...roleChangeSteps.standbys(run.site), () => lookForStandbys(run, 'retry'));
}

/** A standby may be restarting, or be busy with an election: the end of the run costs people more than a minute of waiting. */
const MORE_PATIENT_THAN_CONFIRMING = 3;

/** Fencing the old site for a standby that is not there would end the service for nothing. */
async function lookForStandbys(run: FailoverRun, thenDo: string): Promise<void> {
  const { confirmProbes, confirmIntervalSeconds } = run.app.failover;
  for (let look = 1; ; look += 1) {
    const { stores, findings } = await run.at.probeSite({ application: run.app.name, site: run.site });
    const absent = run.stores.filter((name) => !stores.some(({ store, reachable }) => store === name && reachable));
    if (absent.length === 0) return;
    if (look >= confirmProbes * MORE_PATIENT_THAN_CONFIRMING) {
      const seen = findings.filter((finding) => absent.some((name) => finding.startsWith(`${name} at `)));
      throw failure(
        'TargetUnreachable',
        `${run.site} cannot take over: ${absent.join(', ')} has no standby there that answers (${seen.join('; ')})`,
        {
          data: 'Nothing was changed: no epoch was taken, nothing was fenced and nothing was promoted.',
          next: `Start or rebuild the standby at ${run.site}, or restore the store from its backups; then ${thenDo}.`,
        },
      );
    }
    await sleep(confirmIntervalSeconds * 1_000);
  }
}

/** Also notes what still serves there: an undo of the fences has to bring back that much. */
export async function lookAgain(run: FailoverRun): Promise<SiteVerdict> {
  const place = { application: run.app.name, site: run.fromSite };
  return run.control.must(
    ...roleChangeSteps.lookAgain(run.fromSite),
    async () => {
      const [verdict, atWork] = await Promise.all([run.at.probeSite(place), run.at.lookAtWork(place)]);
      run.servedBefore = atWork;
      return verdict;
    },
    (verdict) => (verdict.healthy ? 'it has recovered' : verdict.alive ? 'still partly alive' : 'still down'),
  );
}
