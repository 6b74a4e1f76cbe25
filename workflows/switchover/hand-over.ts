import { CancellationScope } from '@temporalio/workflow';
import { failure } from '../../core/errors';
import { type FenceEvidence, type StoreEnd, unfencedStores } from '../../core/fencing';
import { named, roleChangeSteps, switchoverSteps } from '../../core/role-change-steps';
import { wasCancelled } from '../step-table';
import { roleChangeWithin } from '../proxies';
import { attested, fenceSite, seeAtWork } from '../failover/fence';
import { gone } from '../failover/stop-services';
import type { SwitchoverRun } from './run';

/**
 * How long a server may take to shut down cleanly: its checkpoint was taken a moment before, and its archiver, which it waits
 * for, is a second or two behind. An agent's answer is waited for 30 s (`fence.timeoutSeconds`).
 */
const END_WITHIN_SECONDS = 15;

/** Runs the steps before the pivot within the limit of the config; past it they are cancelled, and it says so. */
export async function withinTheLimit(run: SwitchoverRun, work: () => Promise<void>): Promise<void> {
  const { withinSeconds } = run.app.failover.switchover;
  const outer = CancellationScope.current();
  const until = Date.now() + withinSeconds * 1_000;
  try {
    await CancellationScope.withTimeout(withinSeconds * 1_000, work);
  } catch (error) {
    if (!wasCancelled(error) || outer.consideredCancelled || Date.now() < until) throw error;
    const open = run.steps.steps.filter(
      ({ id, state }) => !id.startsWith('notify:') && state !== 'done' && state !== 'skipped',
    );
    const running = open.at(-1)?.title;
    const where = running ? `, in the middle of "${running}"` : '';
    throw failure('SwitchoverTimedOut', `the switchover was not at its promotion after ${withinSeconds} s${where}`);
  }
}

/** From here on users are not served. The undo of each is registered before it. */
export async function stopServices(run: SwitchoverRun): Promise<void> {
  const { app, fromSite: site, epoch } = run;
  const application = app.name;
  run.steps.enter('stopping services');
  run.undo.push({
    ...named(switchoverSteps.undoAtWork(site)),
    work: () => seeAtWork(run),
  });
  run.stoppedAt = new Date().toISOString();
  const seconds = app.failover.servicesReadySeconds;
  const running = (run.servedBefore?.services ?? []).filter(({ desiredReplicas }) => desiredReplicas > 0);
  for (const { service, desiredReplicas: replicas } of running) {
    run.undo.unshift({
      ...named(switchoverSteps.undoStop(service, site, replicas)),
      async work() {
        // The site's own epoch again: the number that it got back, or the one that it never lost.
        const now = run.epochGivenBack ?? epoch - 1;
        const within = roleChangeWithin(application, run.worksAt, seconds);
        const { readyReplicas } = await within.startService({ application, site, service, replicas, epoch: now });
        return `${readyReplicas} ready`;
      },
    });
  }
  const within = roleChangeWithin(application, run.worksAt, seconds);
  await allOf(
    running.map(({ service, desiredReplicas }) =>
      run.control.must(
        ...roleChangeSteps.stopService(service, site),
        () => within.stopService({ application, site, service, epoch }),
        () => gone(desiredReplicas),
      ),
    ),
  );
}

/** Every store gives up writing and proves that the other side has all of it. Nothing is promoted yet. */
export async function handOver(run: SwitchoverRun): Promise<void> {
  const { app, fromSite, site: toSite, epoch, stores } = run;
  const application = app.name;
  run.steps.enter('handing over');
  for (const store of stores) {
    run.undo.unshift({
      ...named(switchoverSteps.undoHandOver(store, fromSite)),
      async work() {
        await run.at.unfenceStore({ application, store, site: fromSite, epoch });
        return null;
      },
    });
  }
  const { withinSeconds } = app.failover.switchover;
  // The limit of the whole ends it, and says so; one of its own at the same moment would be told as a failure.
  const within = roleChangeWithin(application, run.worksAt, withinSeconds + 30);
  run.handOvers = await allOf(
    stores.map((store) =>
      run.control.must(
        ...switchoverSteps.handOver(store, fromSite, toSite),
        () => within.handOverStore({ application, store, fromSite, toSite, epoch, withinSeconds }),
        ({ final, reached }) => `ended at ${final.value}, ${toSite} has ${reached.value}`,
      ),
    ),
  );
}

/**
 * Rule 2 holds for a planned role change too. A store that could only be asked to refuse writes (PostgreSQL) is fenced by the
 * site's own fence, which it alone needs: the others stay up and become standbys.
 */
export async function fenceTheRest(run: SwitchoverRun): Promise<void> {
  const { control, stores, epoch, fromSite, site: promotedSite } = run;
  const seen = run.handOvers.map(({ evidence }) => evidence);
  const open = (evidence: readonly FenceEvidence[]) => unfencedStores(stores, evidence, { epoch, promotedSite });
  control.evidence = seen;
  const unproven = open(seen);
  if (unproven.length === 0) return;
  run.steps.enter('fencing');
  run.undo.unshift({
    ...named(roleChangeSteps.undoFenceSite(fromSite)),
    work: async () => {
      const lifted = await run.at.unfenceSite({ application: run.app.name, site: fromSite, epoch });
      run.afterUndo = [...run.afterUndo, ...(lifted?.notes ?? [])];
      return lifted
        ? `started: ${[...lifted.started, ...lifted.notes].join(', ') || 'nothing'}`
        : 'no fence is configured';
    },
  });
  await control.must(...switchoverSteps.evidence(fromSite), async () => {
    const { attestation } = control;
    const bySite = await fenceSite(run, { stores: unproven, endWithinSeconds: END_WITHIN_SECONDS });
    control.evidence = [...seen, bySite, ...(attestation ? [attested(run, attestation)] : [])];
    const left = open(control.evidence);
    if (left.length === 0) return confirmEnds(run, bySite.ended ?? []);
    throw failure('FencingUnconfirmed', `${fromSite} is not proven to be fenced for ${left.join(', ')}`, {
      next: 'Retry, or let a named person attest that nothing writes there: drctl switchover attest --by <name> --reason <why>.',
    });
  });
}

/** A server that was shut down cleanly ended at one place: the token goes to the very end of it, whatever wrote there until then. */
async function confirmEnds(run: SwitchoverRun, ends: readonly StoreEnd[]): Promise<void> {
  const { app, site: toSite, epoch } = run;
  const { withinSeconds } = app.failover.switchover;
  const within = roleChangeWithin(app.name, run.worksAt, withinSeconds + 30);
  run.handOvers = await allOf(
    run.handOvers.map(async (given) => {
      const end = ends.find(({ store }) => store === given.store);
      if (!end) return given;
      return within.confirmEnd({ application: app.name, handOver: given, end, toSite, epoch, withinSeconds });
    }),
  );
  run.endedCleanly = ends.map(({ store }) => store);
}

/** The second copy, once users are served: what the engine cannot do by itself is named for people. */
export async function followTheNewPrimary(run: SwitchoverRun): Promise<void> {
  const { app, fromSite: site, site: primarySite, epoch, stores } = run;
  run.steps.enter('making standbys');
  const answers = await Promise.all(
    stores.map((store) =>
      run.control.step(
        ...switchoverSteps.follow(store, site),
        () => {
          const startStandby = run.endedCleanly.includes(store) ? { startStandby: true } : {};
          return run.at.followNewPrimary({ application: app.name, store, site, primarySite, epoch, ...startStandby });
        },
        ({ how }) => how,
      ),
    ),
  );
  run.following = answers.filter((each) => each !== null);
  for (const { store, how } of run.following.filter(({ follows }) => !follows)) {
    run.steps.mark(`follow:${store}`, 'skipped', how);
    run.steps.say(`${store} has no standby at ${site} yet: ${how}`);
  }
}

/** All of them to their end, whatever one does: nothing may still be at work when an undo begins. */
async function allOf<T>(works: readonly Promise<T>[]): Promise<T[]> {
  const ended = await Promise.allSettled(works);
  const failed = ended.find((each) => each.status === 'rejected');
  if (failed) throw failed.reason;
  return ended.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
}
