import { allHandlersFinished, condition, setHandler } from '@temporalio/workflow';
import { failure } from '../core/errors';
import { commands, type RestoreStoresInput, type RestoreStoresResult } from '../core/runs';
import type { RestorePlan } from '../core/recovery';
import type { StoreRestore } from '../activities/restore';
import { atSite, onHost } from './proxies';
import { onCommand, planQuery, refuse } from './commands';
import { StepTable } from './step-table';

/** A person who looks at a plan comes back within a day, or starts again with a plan that is not stale. */
const DECISION_TIMEOUT = '24 hours';

/**
 * Restores stores into new places, all to the same target: plan (shown before anything starts), fetch and rebuild, replay
 * to the target, open, read everything once. The source is never touched (rule 5).
 */
export async function restoreStores(input: RestoreStoresInput): Promise<RestoreStoresResult> {
  const { application, restoreId, site, target, requestedBy } = input;
  const steps = new StepTable('restore', application);
  const startedAt = Date.now();
  let plans: RestorePlan[] = [];
  const decision: { made: 'approved' | 'rejected' | null; by: string } = {
    made: input.approved ? 'approved' : null,
    by: requestedBy,
  };
  setHandler(planQuery<RestorePlan[]>(), () => plans);
  const undecided = () => {
    if (decision.made !== null) throw refuse(`this restore was ${decision.made} already`);
  };
  const decide = (made: 'approved' | 'rejected') => (command: { by: string }) => {
    Object.assign(decision, { made, by: command.by });
  };
  onCommand(commands.approve, undecided, decide('approved'), (message) => steps.say(message));
  onCommand(commands.reject, undecided, decide('rejected'), (message) => steps.say(message));

  steps.enter('planning');
  const planned = await steps.run(
    'plan',
    'Choose backups and logs that reach the target',
    () =>
      atSite(application, site).planRestores({ application, target, stores: input.stores.map(({ store }) => store) }),
    (result) => result.plans.map((plan) => `${plan.store}: ${plan.reaches.time}`).join(', '),
  );
  plans = planned.plans;

  if (decision.made === null) {
    steps.waitingFor = 'approval of the plan (approve or reject)';
    steps.enter('waiting for approval');
    if (!(await condition(() => decision.made !== null, DECISION_TIMEOUT))) {
      throw failure('ApprovalTimedOut', `nobody approved the restore ${restoreId} within ${DECISION_TIMEOUT}`, {
        data: 'Nothing was restored.',
      });
    }
    steps.waitingFor = null;
  }
  if (decision.made === 'rejected') {
    steps.finish('rejected');
    throw failure('ApprovalRejected', `${decision.by} rejected the restore ${restoreId}`, {
      data: 'Nothing was restored.',
    });
  }

  steps.enter('restoring');
  const stores = await Promise.all(
    input.stores.map(({ store, place }, index) => {
      const plan = plans[index];
      if (!plan) throw failure('NotFound', `no plan was made for store ${store}`);
      return restoreStore(steps, { application, restoreId, store, plan, place }, planned.hostQueue);
    }),
  );
  await condition(allHandlersFinished);
  steps.finish('completed');
  return { restoreId, stores, seconds: (Date.now() - startedAt) / 1_000 };
}

/** One store, step by step on the host that holds its place. */
export async function restoreStore(
  steps: StepTable,
  restore: StoreRestore,
  hostQueue: string,
): Promise<RestoreStoresResult['stores'][number]> {
  const { application, store, plan } = restore;
  const startedAt = Date.now();
  const host = onHost(hostQueue);
  await steps.run(
    `rebuild:${store}`,
    `Fetch and rebuild ${store}`,
    () => host.rebuildStore(restore),
    () => plan.chain.join(' + '),
  );
  await steps.run(
    `replay:${store}`,
    `Replay ${store} to the target`,
    () => host.replayLog(restore),
    (reached) =>
      plan.log
        ? `reached ${reached.reachedTime ?? reached.reachedPosition?.value ?? 'the target'}`
        : 'nothing to replay',
  );
  const restored = await steps.run(
    `open:${store}`,
    `Open ${store}`,
    () => host.openStore(restore),
    ({ address, directory }) => (address ? `${address.host}:${address.port}` : directory),
  );
  const fingerprint = await steps.run(
    `verify:${store}`,
    `Read all of ${store} once`,
    () => host.fingerprintStore({ application, store, restored }),
    ({ items }) => `${items.length} items, ${items.reduce((sum, item) => sum + item.count, 0)} entries`,
  );
  return { store, plan, restored, fingerprint, seconds: (Date.now() - startedAt) / 1_000 };
}
