import { allHandlersFinished, condition, setHandler } from '@temporalio/workflow';
import { failure } from '../core/errors';
import { type Command, commands, type RestoreStoresInput, type RestoreStoresResult } from '../core/runs';
import { type Leave, requireStopped, type RestoredStore, type RestorePlan } from '../core/recovery';
import { elsewhereLine, type ReadElsewhere } from '../core/reading';
import { checkLine, checksFailed } from '../core/restore-checks';
import type { StoreRestore } from '../activities/restore';
import { persevering } from './persevering';
import { atSite, restoringOn } from './proxies';
import { onCommand, planQuery, refuse } from './commands';
import { type Course, howItFailed, reportRestore } from './restore-report';
import { StepTable } from './step-table';
import { readingThawed, requireAtOnce, thawChain, thawOf } from './thaw-chain';

/** A person who looks at a plan comes back within a day, or starts again with a plan that is not stale. */
const DECISION_TIMEOUT = '24 hours';

/**
 * Restores stores into new places, all to the same target: plan (shown before anything starts), fetch and rebuild, replay
 * to the target, open unless they are to be left there, read everything once, run the config's checks. The source is never
 * touched (rule 5). However it ends, a report is left.
 */
export async function restoreStores(input: RestoreStoresInput): Promise<RestoreStoresResult> {
  const course: Course = { steps: new StepTable('restore', input.application), decisions: [], plans: [] };
  try {
    const result = await restoreAll(input, course);
    const reached = course.plans.map(({ store, reaches }) => `${store} to ${reaches.time}`).join(', ');
    await reportRestore(input, course, { outcome: 'completed', verdict: 'achieved', because: `restored ${reached}` });
    return result;
  } catch (error) {
    await reportRestore(input, course, howItFailed(error));
    throw error;
  }
}

async function restoreAll(input: RestoreStoresInput, course: Course): Promise<RestoreStoresResult> {
  const { application, restoreId, site, target, requestedBy, leave, thawTier, selection } = input;
  const { steps } = course;
  const from = input.copy === undefined ? {} : { copy: input.copy };
  const startedAt = Date.now();
  const decided = (made: 'approved' | 'rejected', by: string, reason: string | null, note: string | null) => {
    const command = made === 'approved' ? 'approve' : 'reject';
    course.decisions.push({ command, by, at: new Date().toISOString(), reason, step: null, note });
  };
  const decision: { made: 'approved' | 'rejected' | null; by: string } = {
    made: input.approved ? 'approved' : null,
    by: requestedBy,
  };
  if (input.approved) decided('approved', requestedBy, null, 'together with the request');
  setHandler(planQuery<RestorePlan[]>(), () => [...course.plans]);
  const undecided = () => {
    if (decision.made !== null) throw refuse(`this restore was ${decision.made} already`);
  };
  const decide = (made: 'approved' | 'rejected') => (command: Command) => {
    Object.assign(decision, { made, by: command.by });
    decided(made, command.by, command.reason ?? null, null);
  };
  onCommand(commands.approve, undecided, decide('approved'), (message) => steps.say(message));
  onCommand(commands.reject, undecided, decide('rejected'), (message) => steps.say(message));

  steps.enter('planning');
  const planned = await steps.run(
    'plan',
    'Choose backups and logs that reach the target',
    () =>
      atSite(application, site).planRestores({
        application,
        target,
        stores: input.stores.map(({ store }) => store),
        ...(leave === undefined ? {} : { leave }),
        ...(thawTier === undefined ? {} : { thawTier }),
        ...(selection === undefined ? {} : { selection }),
        ...from,
      }),
    (result) => result.plans.map((plan) => `${plan.store}: ${plan.reaches.time}`).join(', '),
  );
  const { plans } = planned;
  course.plans = plans;

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
  // Each to its own end: one that fails leaves the others as they were asked for.
  const ends = await Promise.allSettled(
    input.stores.map(async ({ store, place }, index) => {
      const plan = plans[index];
      if (!plan) throw failure('NotFound', `no plan was made for store ${store}`);
      const checked = planned.checked?.includes(store) ?? false;
      const wanted = { application, restoreId, store, plan, place, fromLocalTier: true, ...from };
      return restoreStore(steps, wanted, planned.hostQueue, {
        ...{ leave, checked, thaw: true },
      });
    }),
  );
  const failed = ends.find((end) => end.status === 'rejected');
  if (failed) throw failed.reason;
  const stores = ends.flatMap((end) => (end.status === 'fulfilled' ? [end.value] : []));
  await condition(allHandlersFinished);
  steps.finish('completed');
  return { restoreId, stores, seconds: (Date.now() - startedAt) / 1_000 };
}

export interface RestoreWishes {
  /** Open where it is left out. */
  readonly leave?: Leave | undefined;
  /** Whether the config has checks for the store. */
  readonly checked: boolean;
  /** Ask back what lies in an archive class, and wait for it; refused where it is left out. */
  readonly thaw?: boolean;
}

/** One store, step by step on the host that holds its place. Throws CheckFailed with the copy left as it is. */
export async function restoreStore(
  steps: StepTable,
  restore: StoreRestore,
  hostQueue: string,
  { leave = 'open', checked, thaw = false }: RestoreWishes,
): Promise<RestoreStoresResult['stores'][number]> {
  const { store, plan } = restore;
  const startedAt = Date.now();
  const host = restoringOn(hostQueue);
  if (!thaw) requireAtOnce(store, plan);
  if (plan.thaw) await thawChain(steps, host, thawOf(restore, false));
  const reading = <T>(read: () => Promise<T>) =>
    readingThawed(steps, host, restore, thaw, () => persevering(steps, store, read));
  const rebuilt = await steps.run(
    `rebuild:${store}`,
    `Fetch and rebuild ${store}`,
    () => reading(() => host.rebuildStore(restore)),
    () => plan.chain.join(' + '),
  );
  const { elsewhere: ofLog = [], ...replayed } = await steps.run(
    `replay:${store}`,
    `Replay ${store} to the target`,
    async () => {
      const reached = await reading(() => host.replayLog(restore));
      requireStopped(store, leave, reached);
      return reached;
    },
    (reached) =>
      plan.log
        ? `reached ${reached.reachedTime ?? reached.reachedPosition?.value ?? 'the target'}`
        : 'nothing to replay',
  );
  // Histories of before there were copies have no answer of a rebuild.
  const elsewhere = [...((rebuilt as readonly ReadElsewhere[] | undefined) ?? []), ...ofLog];
  for (const each of elsewhere) steps.say(`${store}: ${elsewhereLine(each)}`);
  const readable =
    leave === 'open'
      ? await steps.run(
          `open:${store}`,
          `Open ${store}`,
          () => host.openStore(restore),
          ({ address, directory }) => (address ? `${address.host}:${address.port}` : directory),
        )
      : replayed;
  const { fingerprint, checks } = await verify(steps, restore, readable, hostQueue, checked);
  const restored =
    leave === 'shutdown'
      ? await steps.run(
          `shutdown:${store}`,
          `Shut ${store} down at its target`,
          () => host.shutDownStore(restore),
          ({ directory }) => directory,
        )
      : readable;
  const seconds = (Date.now() - startedAt) / 1_000;
  return { store, plan, restored, fingerprint, checks, ...(elsewhere.length > 0 ? { elsewhere } : {}), seconds };
}

async function verify(
  steps: StepTable,
  { application, store }: StoreRestore,
  restored: RestoredStore,
  hostQueue: string,
  checked: boolean,
): Promise<Pick<RestoreStoresResult['stores'][number], 'fingerprint' | 'checks'>> {
  const host = restoringOn(hostQueue);
  return steps.run(
    `verify:${store}`,
    checked ? `Read all of ${store} once and run its checks` : `Read all of ${store} once`,
    async () => {
      const fingerprint = await host.fingerprintStore({ application, store, restored });
      const checks = checked ? await host.checkStore({ application, store, restored }) : [];
      for (const each of checks) steps.say(`check of ${store} ${each.ok ? 'holds' : 'FAILED'}: ${checkLine(each)}`);
      if (checks.some(({ ok }) => !ok)) throw checksFailed(store, restored, checks);
      return { fingerprint, checks };
    },
    ({ fingerprint: { items }, checks }) =>
      `${items.length} items, ${items.reduce((sum, item) => sum + item.count, 0)} entries` +
      (checks.length > 0 ? `, ${checks.length} checks hold` : ''),
  );
}
