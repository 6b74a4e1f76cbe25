import { ParentClosePolicy, startChild, workflowInfo } from '@temporalio/workflow';
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import type { RoleStep } from '../../activities/promote';
import type { PromoteRequest, PromoteResult } from '../../core/roles';
import { hasCode } from '../../core/errors';
import { choosesAt } from '../../core/role-change-plan';
import { unprovenStores } from '../../core/fencing';
import { workflowIds } from '../../core/names';
import { roleChangeSteps } from '../../core/role-change-steps';
import { roleChangeWithin } from '../proxies';
import { settleDns } from '../settle-dns';
import { catchUpInstead } from './catch-up';
import { fenceSite } from './fence';
import { continueAt } from './new-lineage';
import type { FailoverRun } from './run';
import { seeFiles } from './see-files';

/** All stores at once: each has its own proof, and every second counts. */
export async function promote(run: FailoverRun): Promise<void> {
  run.steps.enter('promoting');
  const promotions = run.stores.map((store) =>
    run.control.step(
      ...roleChangeSteps.promote(store, run.site),
      () => promoteStore(run, store),
      ({ position, already, forced, chosen }) =>
        `${already ? 'was promoted already' : 'promoted'} at ${position.value}${chosen ? `: ${chosen}` : ''}` +
        (forced ? ` by force; removed: ${forced.removed.join(', ')}; kept: ${forced.kept.join(', ')}` : ''),
    ),
  );
  const [promoted] = await Promise.all([Promise.all(promotions), seeFiles(run)]);
  const { force } = run.control;
  run.forced = promoted.flatMap((each, index) =>
    each?.forced && force ? [{ store: run.stores[index] ?? '', ...each.forced, attestation: force }] : [],
  );
}

/**
 * Which of several servers is chosen once a try, so that what Temporal repeats takes the same; a person who retries was told
 * that the one before may lead.
 */
async function promoteStore(run: FailoverRun, store: string): Promise<PromoteResult> {
  const { app, site, epoch } = run;
  const step = { application: app.name, store, site, epoch };
  if (!choosesAt(app, store, site)) return promoteServer(run, step);
  const chosen = await run.at.chooseServer({ ...step, atLeast: run.hasToHave(store) });
  if (chosen) await catchUpInstead(run, store, chosen.server);
  const promoted = await promoteServer(run, { ...step, ...(chosen ? { server: chosen.server } : {}) });
  return chosen ? { ...promoted, chosen: chosen.why } : promoted;
}

/** By force only once an approver attests that, and then with a proof that the old primary is dead, sought again if need be. */
async function promoteServer(
  run: FailoverRun,
  step: RoleStep & Pick<PromoteRequest, 'server'>,
): Promise<PromoteResult> {
  const { control } = run;
  const { store, site, epoch } = step;
  try {
    const force = run.mustForce.has(store) ? control.force : null;
    if (!force) return await run.at.promoteStore({ ...step, evidence: control.evidence });
    if (unprovenStores([store], control.evidence, { epoch, promotedSite: site }).length > 0)
      control.evidence = [...control.evidence, await fenceSite(run)];
    return await run.at.promoteStore({ ...step, evidence: control.evidence, force });
  } catch (error) {
    if (hasCode(error, 'MajorityLost')) run.mustForce.add(store);
    throw error;
  }
}

export async function startServices(run: FailoverRun): Promise<void> {
  run.steps.enter('starting services');
  const { site, epoch } = run;
  const within = roleChangeWithin(run.app.name, site, run.app.failover.servicesReadySeconds);
  for (const group of run.app.serviceGroups) {
    await Promise.all(
      group.services.map(({ name: service, replicas }) =>
        run.control.step(
          ...roleChangeSteps.service(service, site),
          () => within.startService({ application: run.app.name, site, service, replicas, epoch }),
          ({ readyReplicas }) => `${readyReplicas} ready`,
        ),
      ),
    );
  }
}

/** All names at once: each waits for its own name servers. */
export async function pointDns(run: FailoverRun): Promise<void> {
  run.steps.enter('moving the name');
  const { site, epoch } = run;
  const within = roleChangeWithin(run.app.name, site, run.app.failover.dnsPropagationSeconds);
  const moved = await Promise.all(
    run.app.dns.map((target) =>
      run.control.step(
        ...roleChangeSteps.dns(target, site),
        () => within.pointDns({ application: run.app.name, site, target, epoch }),
        ({ answers }) => `${answers.length} authoritative servers answer so`,
      ),
    ),
  );
  run.moved = moved.filter((each) => each !== null);
}

export async function verify(run: FailoverRun): Promise<void> {
  run.steps.enter('verifying');
  const { site, epoch } = run;
  const expectAddresses = run.app.dns.flatMap((target) => target.valuesBySite[site] ?? []);
  const marker = workflowInfo().runId;
  const endpoints = run.app.endpoints.map((check) =>
    run.control.step(
      ...roleChangeSteps.verifyEndpoint(check),
      () => run.at.verifyEndpoint({ application: run.app.name, check, expectAddresses }),
      ({ status, milliseconds, address }) => `${status} from ${address} in ${milliseconds} ms`,
    ),
  );
  const writes = run.stores.map((store) =>
    run.control.step(
      ...roleChangeSteps.verifyStore(store),
      () => run.at.probeWrite({ application: run.app.name, store, site, epoch, marker }),
      ({ roundTripMilliseconds }) => `${Math.round(roundTripMilliseconds)} ms`,
    ),
  );
  const results = await Promise.all(endpoints);
  await Promise.all(writes);
  run.endpoints = results.filter((result) => result !== null);
  run.verifiedAt = new Date().toISOString();
}

/** The other servers of the new primary's site: nobody waits for them to be served. */
export async function leadMembers(run: FailoverRun): Promise<void> {
  const { app, site, epoch } = run;
  const stores = run.stores.filter((store) => choosesAt(app, store, site));
  if (stores.length === 0) return;
  run.steps.enter('making standbys');
  await Promise.all(
    stores.map(async (store) => {
      const found = await run.control.step(
        ...roleChangeSteps.members(store, site),
        () => run.at.followMembers({ application: app.name, store, site, epoch }),
        (members) => members.map(({ server, how }) => `${server}: ${how}`).join('; '),
      );
      for (const { server, follows, how } of found ?? [])
        if (!follows) run.steps.say(`${store} at ${server} does not follow the new primary: ${how}`);
    }),
  );
}

export async function continueTheNewLineage(run: FailoverRun): Promise<void> {
  run.steps.enter('archiving the new lineage');
  await run.control.step(...roleChangeSteps.lineage(run.site), () => continueAt(run.app, run.site, run.epoch));
}

/**
 * Caches may send users to the old site for as long as the old TTL said: that is waited out by a run of its own, so that it
 * neither counts as outage nor holds the lock of the role changes.
 */
export async function settle(run: FailoverRun): Promise<void> {
  const { app, site, epoch, moved: names } = run;
  if (names.length === 0) return;
  const workflowId = workflowIds.settle(app.name, epoch);
  await run.control.step(
    ...roleChangeSteps.settle(),
    async () => {
      try {
        await startChild(settleDns, {
          workflowId,
          args: [{ application: app.name, site, epoch, names }],
          parentClosePolicy: ParentClosePolicy.ABANDON,
          staticSummary: `the public names of ${app.name} after the role change to ${site}`,
        });
      } catch (error) {
        if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error; // this step, tried again
      }
    },
    () => `drctl runs status ${workflowId}`,
  );
}
