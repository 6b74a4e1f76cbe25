import { ParentClosePolicy, startChild, upsertSearchAttributes, workflowInfo } from '@temporalio/workflow';
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { failure, hasCode, reasonOf } from '../../core/errors';
import { type FenceEvidence, type FenceScope, unfencedStores, unprovenStores } from '../../core/fencing';
import { workflowIds } from '../../core/names';
import { named, roleChangeSteps, switchoverSteps } from '../../core/role-change-steps';
import { holdFence } from '../hold-fence';
import { roleChangeWithin } from '../proxies';
import type { FailoverRun, UndoStep } from './run';
import { registerSizes, stopOldServices } from './stop-services';

/** From here on this role change is the only one: steps of older ones refuse (rule 7). */
export async function takeEpoch(run: FailoverRun, current: number): Promise<void> {
  const { workflowId, runId } = workflowInfo();
  run.steps.enter('fencing');
  // Registered before the step: a take whose answer was lost may have happened. Undone first of all, so that fences that
  // are still under way for this epoch refuse from then on.
  run.undoEpoch = {
    ...named(roleChangeSteps.undoEpoch(run.fromSite)),
    async work() {
      const record = await run.at.giveBackEpoch({
        application: run.app.name,
        toSite: run.fromSite,
        reason: `the ${run.control.kind} was undone before anything was promoted`,
        workflowId,
        runId,
      });
      run.epochGivenBack = record?.epoch ?? null;
      return record && `epoch ${record.epoch}`;
    },
  };
  const record = await run.control.must(
    ...roleChangeSteps.epoch(),
    () =>
      run.at.takeEpoch({
        application: run.app.name,
        record: {
          epoch: current + 1,
          activeSite: run.site,
          previousSite: run.fromSite,
          takenAt: new Date().toISOString(),
          reason: run.input.reason,
          workflowId,
          runId,
          approvedBy: run.control.approvedBy,
        },
      }),
    ({ epoch }) => `epoch ${epoch}`,
  );
  run.control.epoch = record.epoch;
  upsertSearchAttributes({ DrEpoch: [run.epoch] });
}

/** Every fence; each undo is registered before its step, because a step that timed out may have happened. */
export async function fence(run: FailoverRun): Promise<void> {
  const { app, fromSite: site, site: survivingSite, epoch, stores } = run;
  const application = app.name;
  for (const store of stores) {
    run.undo.unshift({
      ...named(roleChangeSteps.undoFenceStore(store, site)),
      async work() {
        await run.at.unfenceStore({ application, store, site, epoch });
        return null;
      },
    });
  }
  run.undo.unshift({
    ...named(roleChangeSteps.undoFenceSite(site)),
    work: async () => {
      const lifted = await run.at.unfenceSite({ application, site, epoch });
      run.afterUndo = [...run.afterUndo, ...(lifted?.notes ?? [])];
      return lifted
        ? `started: ${[...lifted.started, ...lifted.notes].join(', ') || 'nothing'}`
        : 'no fence is configured';
    },
  });
  registerSizes(run);
  run.undo.push({
    ...named(roleChangeSteps.undoAtWork(site)),
    work: () => seeAtWork(run),
  });
  await run.control.step(
    ...roleChangeSteps.evidence(site),
    async () => {
      // The site's own fence first: an engine can only prove what it sees once the site's writers are gone.
      const evidence: FenceEvidence[] = [await fenceSite(run)];
      // All of them to their end, whatever one does: nothing may still be fencing when an undo begins.
      const sought = stores.map((store) =>
        seek(run, ...roleChangeSteps.fenceStore(store, site), () =>
          run.at.fenceStore({ application, store, site, survivingSite, epoch }),
        ),
      );
      const [services, ...fences] = await Promise.allSettled([stopOldServices(run), ...sought]);
      for (const each of fences) if (each.status === 'fulfilled') evidence.push(each.value);
      const failed = [services, ...fences].find((each) => each.status === 'rejected');
      if (failed) throw failed.reason;
      const { attestation } = run.control;
      if (attestation) evidence.push(attested(run, attestation));
      run.control.evidence = evidence;
      const unproven = unfencedStores(stores, evidence, { epoch, promotedSite: survivingSite });
      if (unproven.length > 0) {
        throw failure('FencingUnconfirmed', `${site} is not proven to be fenced for ${unproven.join(', ')}`, {
          next: 'Retry, or let a named person attest that the site is dead: drctl failover attest --by <name> --reason <why>.',
        });
      }
      refuseUnattestedForce(run, evidence);
    },
    () =>
      run.control.evidence
        .filter(({ strength }) => strength === 'proven' || strength === 'attested')
        .map(({ how }) => how)
        .join('; '),
  );
}

/**
 * Found before the pivot, where everything can still be undone: a store whose members elect nobody any more is promoted
 * by force only, with an approver's word for that, and with a proof (nobody's word) that the old primary is dead.
 */
function refuseUnattestedForce(run: FailoverRun, evidence: readonly FenceEvidence[]): void {
  const needed = evidence.filter(({ mustForce }) => mustForce !== undefined);
  for (const { stores } of needed) for (const store of stores) run.mustForce.add(store);
  if (needed.length === 0) return;
  const words = needed.map(({ stores, mustForce }) => `${stores.join(', ')}: ${mustForce}`).join('; ');
  if (!run.control.force) throw failure('MajorityLost', words);
  const roleChange = { epoch: run.epoch, promotedSite: run.site };
  const unproven = unprovenStores([...run.mustForce], evidence, roleChange);
  if (unproven.length === 0) return;
  throw failure(
    'MajorityLost',
    `${words}; ${unproven.join(', ')} can only be forced once ${run.fromSite} is proven to be fenced, which an attestation does not replace`,
    { next: `Fence ${run.fromSite} so that it is proven, then retry; or abort.` },
  );
}

/** Looks for evidence. One that found none is not shown as done: a tired reader would take it for a fence. */
async function seek(
  run: FailoverRun,
  id: string,
  title: string,
  work: () => Promise<FenceEvidence>,
): Promise<FenceEvidence> {
  const evidence = await run.steps.run(id, title, work, ({ strength, how }) => `${strength}: ${how}`);
  if (evidence.strength === 'none') run.steps.mark(id, 'skipped', `no proof: ${evidence.how}`);
  return evidence;
}

/** A site fence that proves nothing is no reason to stop: the stores' own proofs or an attestation may do. */
export async function fenceSite(run: FailoverRun, scope?: FenceScope): Promise<FenceEvidence> {
  const { fromSite: site, epoch } = run;
  const only = scope ? { scope } : {};
  const work = () => run.at.fenceSite({ application: run.app.name, site, epoch, ...only });
  const [id, title] = scope ? switchoverSteps.fenceSite(site) : roleChangeSteps.fenceSite(site);
  try {
    return await seek(run, id, title, work);
  } catch (error) {
    if (hasCode(error, 'StaleEpoch')) throw error;
    const how = reasonOf(error);
    return { strength: 'none', site, stores: [], epoch, at: new Date().toISOString(), how, by: 'drctl' };
  }
}

export function attested(
  run: FailoverRun,
  { by, reason, at }: { by: string; reason: string; at: string },
): FenceEvidence {
  const how = `${by} attests: ${reason}`;
  return { strength: 'attested', site: run.fromSite, stores: run.stores, epoch: run.epoch, at, how, by };
}

/**
 * Where only somebody's word says that the old primary is dead, a run of its own waits for it, lest it wakes up. So does one
 * for members that a forced promotion left behind: they may elect a primary of their own.
 */
export async function holdWhatIsAttested(run: FailoverRun): Promise<void> {
  const { app, fromSite: site, site: survivingSite, epoch, stores } = run;
  const unproven = unprovenStores(stores, run.control.evidence, { epoch, promotedSite: survivingSite });
  const forced = run.forced.map(({ store }) => store);
  const left = stores.filter((store) => unproven.includes(store) || forced.includes(store));
  if (left.length === 0) return;
  const answering = run.control.evidence.filter(({ strength }) => strength === 'weak').flatMap((each) => each.stores);
  const workflowId = workflowIds.holdFence(app.name, epoch);
  await run.control.step(
    ...roleChangeSteps.holdFence(site),
    async () => {
      try {
        await startChild(holdFence, {
          workflowId,
          args: [{ application: app.name, stores: left, site, survivingSite, epoch, answering }],
          parentClosePolicy: ParentClosePolicy.ABANDON,
          staticSummary: `waits for the old primary of ${left.join(', ')} at ${site}`,
        });
      } catch (error) {
        if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error; // this step, tried again
      }
    },
    () => `for ${left.join(', ')}: drctl runs status ${workflowId}`,
  );
}

/** The last step of an undo: what wrote and answered before does so again, or people are told what does not. */
export async function seeAtWork(run: FailoverRun): Promise<string> {
  const { app, fromSite: site, site: otherSite, servedBefore: before } = run;
  const served = before?.services.filter(({ readyReplicas }) => readyReplicas > 0) ?? [];
  if (!before || before.writableStores.length + served.length === 0) return 'nothing served there before';
  const withinSeconds = app.failover.servicesReadySeconds;
  // The activity itself says what is absent when the time is over; the margin lets it.
  const within = roleChangeWithin(app.name, run.worksAt, withinSeconds + 30);
  await within.awaitAtWork({ application: app.name, site, otherSite, before, withinSeconds });
  const services = served.map(({ service, readyReplicas }) => `${service} × ${readyReplicas}`);
  return `${[...before.writableStores, ...services].join(', ')} serve again`;
}

/**
 * Undoes what was registered, the epoch first and the rest in reverse; one that fails must not keep the others from being
 * undone. Answers what could not be undone, in words for people. `seen`: only a promotion by somebody else that can be
 * seen counts, where nobody else can have promoted anything.
 */
export async function undo(run: FailoverRun, seen = false): Promise<string[]> {
  run.steps.enter('undoing');
  const left: string[] = [];
  const attempt = async ({ id, title, work }: UndoStep) => {
    try {
      await run.steps.run(id, title, work, (note) => note);
    } catch (error) {
      left.push(`${title}: ${reasonOf(error)}`);
    }
  };
  for (const store of run.stores) {
    const { name: application } = run.app;
    try {
      const step = { application, store, site: run.site, epoch: run.control.epoch ?? 0, ...(seen ? { seen } : {}) };
      if (await run.at.mayBePromoted(step))
        left.push(`${store} at ${run.site} may have been promoted by somebody else`);
    } catch (error) {
      left.push(`whether ${store} at ${run.site} was promoted by somebody else is unknown: ${reasonOf(error)}`);
    }
  }
  // Rule 2: where a promotion may have happened, nothing is unfenced.
  if (left.length > 0) return [...left, `${run.fromSite} stays fenced`];
  if (run.undoEpoch) await attempt(run.undoEpoch);
  for (const step of run.undo) await attempt(step);
  return left;
}
