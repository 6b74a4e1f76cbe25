import { ActivityFailure, TimeoutFailure } from '@temporalio/common';
import { hasCode, reasonOf } from '../../core/errors';
import { named, roleChangeSteps } from '../../core/role-change-steps';
import { roleChangeBriefly } from '../proxies';
import { wasCancelled } from '../step-table';
import type { FailoverRun } from './run';

export const gone = (replicas: number) =>
  replicas === 1 ? 'its one replica is gone' : `${replicas} replicas are gone`;

const namesOf = ({ app }: FailoverRun) => app.serviceGroups.flatMap(({ services }) => services.map(({ name }) => name));

/** To be called before the first is stopped; it runs once the fences are lifted, which would refuse what it starts. */
export function registerSizes(run: FailoverRun): void {
  const { app, fromSite: site, epoch } = run;
  for (const service of namesOf(run)) {
    run.undo.push({
      ...named(roleChangeSteps.undoStopService(service, site)),
      async work() {
        const replicas = run.sizesBefore.get(service);
        if (replicas === undefined) return 'it was not stopped';
        // The site's own epoch again: the number that it got back, or the one that it never lost.
        const now = run.epochGivenBack ?? epoch - 1;
        await run.at.resizeService({ application: app.name, site, service, replicas, epoch: now });
        return `${replicas} replicas`;
      },
    });
  }
}

/**
 * Scales the old site's services to nothing, so that they neither write by a road that nobody knows of nor answer users whose
 * caches still lead there, and stay down when the site comes back. It is no proof of anything: what cannot be reached in
 * time is told of and left, because stores are fenced by other means. Ends with every step at its end; throws where
 * another role change has taken over.
 */
export async function stopOldServices(run: FailoverRun): Promise<void> {
  const { app, fromSite: site } = run;
  const looks = run.servedBefore ? [run.servedBefore] : [];
  // Once more, for whoever mended the way there and retries the fence; a look ends by itself after seconds.
  if (looks.every(({ unseenServices }) => unseenServices.length > 0))
    looks.push(await run.at.lookAtWork({ application: app.name, site }));
  for (const { service, desiredReplicas } of looks.flatMap(({ services }) => services)) {
    // What was there first counts: a later look may see what this run has stopped itself.
    if (desiredReplicas > 0 && !run.sizesBefore.has(service)) run.sizesBefore.set(service, desiredReplicas);
  }
  const unseen = looks.at(-1)?.unseenServices ?? [];
  const ended = await Promise.allSettled(
    namesOf(run).map((service) => stopOne(run, service, unseen.includes(service))),
  );
  const failed = ended.find((each) => each.status === 'rejected');
  if (failed) throw failed.reason;
}

async function stopOne(run: FailoverRun, service: string, unseen: boolean): Promise<void> {
  const { app, fromSite: site, epoch } = run;
  const replicas = run.sizesBefore.get(service);
  const [id, title] = roleChangeSteps.stopService(service, site);
  const within = roleChangeBriefly(app.name, run.worksAt);
  const unknown = (why: string) => {
    run.steps.mark(id, 'skipped', `unknown: ${why}`);
    run.steps.say(`whether ${service} still runs at ${site} is unknown: ${why}`);
  };
  try {
    await run.steps.run(
      id,
      title,
      async () => {
        if (replicas !== undefined) await within.stopService({ application: app.name, site, service, epoch });
      },
      () => (replicas === undefined ? 'it had no replicas' : gone(replicas)),
    );
    if (replicas === undefined && unseen) unknown('it could not be looked at');
  } catch (error) {
    if (wasCancelled(error) || hasCode(error, 'StaleEpoch')) throw error;
    const timedOut = error instanceof ActivityFailure && error.cause instanceof TimeoutFailure;
    unknown(timedOut ? 'no answer in time' : reasonOf(error));
  }
}
