import { CancellationScope, workflowInfo } from '@temporalio/workflow';
import { failure } from '../../core/errors';
import type { StoreSummary } from '../../core/application';
import type { RestoreProof } from '../../core/proofs';
import type { RecoveryTarget } from '../../core/recovery';
import { type ChosenInstant, newestAgeSeconds } from '../../core/restorable-instant';
import type { ReadElsewhere } from '../../core/reading';
import type { RestoreStoresResult } from '../../core/runs';
import { anywhere, atSite, onHost } from '../proxies';
import { compareHeartbeat } from '../restorable-instant';
import { restoreStore } from '../restore-stores';
import type { StepTable } from '../step-table';

export interface RestoreTest {
  readonly application: string;
  readonly store: StoreSummary;
  readonly site: string;
  readonly target: RecoveryTarget;
  /** How chance chose the target; absent where somebody named it, or there was nothing to choose. */
  readonly instant?: ChosenInstant;
  readonly rtoSeconds: number;
  /** Ask back what lies in an archive class; the wait for it is no part of the recovery that is timed. */
  readonly thaw: boolean;
  /** See `StoreRestore`. */
  readonly copy?: string;
}

export interface TestedRestore {
  readonly restore: RestoreProof;
  readonly problem: string | null;
  /** What it read from another copy, because it was not as it had been stored. */
  readonly elsewhere: readonly ReadElsewhere[];
}

/**
 * Restores a store from the repository alone into a scratch place, reads all of it, compares it with an earlier restore of
 * the same state, and removes it again, also when it failed or was cancelled. `problem`: what did not hold of a restore that
 * came to its end.
 */
export async function testRestore(steps: StepTable, test: RestoreTest): Promise<TestedRestore> {
  const { application, site, target } = test;
  const from = test.copy === undefined ? {} : { copy: test.copy };
  const { name: store } = test.store;
  const restoreId = `verify-${workflowInfo().runId.slice(-8)}`;
  const beganAt = Date.now();
  const { hostQueue, plans, checked } = await steps.run(
    `plan:${store}`,
    `Choose what restores ${store}`,
    () => atSite(application, site).planRestores({ application, target, stores: [store], ...from }),
    (planned) => planned.plans.map(({ reaches }) => reaches.time).join(),
  );
  const [plan] = plans;
  if (!plan) throw failure('NotFound', `no plan was made for store ${store}`);
  const place = await onHost(hostQueue).scratchPlace({ application, store, name: restoreId });
  const restore = { application, restoreId, store, plan, place, ...from };
  try {
    const restored = await restoreStore(steps, restore, hostQueue, {
      ...{ checked: checked?.includes(store) ?? false, thaw: test.thaw },
    });
    const stepOf = (id: string) => steps.steps.find((step) => step.id === `${id}:${store}`);
    const opened = stepOf('open')?.finishedAt;
    const usableAt = opened ? Date.parse(opened) : Date.now();
    const thaw = stepOf('thaw');
    const waited = thaw?.startedAt && thaw.finishedAt ? Date.parse(thaw.finishedAt) - Date.parse(thaw.startedAt) : 0;
    const recoverySeconds = (usableAt - beganAt - waited) / 1_000;
    const compared = await compareHeartbeat(steps, hostQueue, restore, restored.restored);
    const judgement = await judged(steps, test, restored, { beganAt, recoverySeconds, compared });
    return { ...judgement, elsewhere: restored.elsewhere ?? [] };
  } finally {
    await CancellationScope.nonCancellable(() =>
      steps.run(`discard:${store}`, `Remove the restored ${store}`, () =>
        onHost(hostQueue).discardRestore({ application, store, place }),
      ),
    );
  }
}

/** What else was seen of it. */
interface Observed {
  readonly beganAt: number;
  readonly recoverySeconds: number;
  readonly compared: Awaited<ReturnType<typeof compareHeartbeat>>;
}

async function judged(
  steps: StepTable,
  { application, store, target, instant, rtoSeconds, copy }: RestoreTest,
  { plan, restored, fingerprint, checks }: RestoreStoresResult['stores'][number],
  { beganAt, recoverySeconds, compared: ofTime }: Observed,
): Promise<{ readonly restore: RestoreProof; readonly problem: string | null }> {
  const reachedTime = restored.reachedTime ?? plan.reaches.time;
  const reachedPosition = restored.reachedPosition?.value ?? null;
  const { chain } = plan;
  const compared = await steps.run(
    `compare:${store.name}`,
    `Compare ${store.name} with an earlier restore of the same state`,
    () =>
      anywhere(application).compareWithEarlier({
        application,
        store: store.name,
        ...(copy === undefined ? {} : { copy }),
        restored: { chain, reached: reachedPosition ?? reachedTime, fingerprint },
      }),
    (found) =>
      found === null
        ? 'there is none'
        : found.differences.length === 0
          ? `equal to ${found.proofId}`
          : `${found.differences.length} items differ from ${found.proofId}`,
  );
  const ofNewest = target.kind === 'latest' ? Math.max(0, (beganAt - Date.parse(reachedTime)) / 1_000) : null;
  // Of an instant that chance chose the age says nothing; of the newest that it could have chosen it does.
  const lossSeconds = ofNewest ?? (instant ? newestAgeSeconds(instant, store.name) : null);
  const restore: RestoreProof = {
    ...{ chain, reachedTime, reachedPosition, recoverySeconds, rtoSeconds, lossSeconds },
    ...{ rpoSeconds: store.rpoSeconds, fingerprint, comparedWith: compared?.proofId ?? null, checks },
    ...(instant ? { instant } : {}),
    ...(ofTime ? { heartbeat: ofTime.heartbeat } : {}),
  };
  return { restore, problem: ofTime?.problem ?? problemOf(restore, store.hasLog, compared?.differences ?? []) };
}

/** Of a store without a log the newest state that can be had is that of its backup: its age is for the health check. */
function problemOf(restore: RestoreProof, hasLog: boolean, differences: readonly string[]): string | null {
  const { recoverySeconds, rtoSeconds, lossSeconds, rpoSeconds, comparedWith } = restore;
  const seconds = (value: number) => `${Math.round(value)} s`;
  if (differences.length > 0)
    return `what was restored is not what ${comparedWith} restored of the same state: ${differences.slice(0, 5).join('; ')}`;
  if (recoverySeconds > rtoSeconds)
    return `it took ${seconds(recoverySeconds)} until it could be used; the objective (RTO) is ${seconds(rtoSeconds)}`;
  if (hasLog && lossSeconds !== null && lossSeconds > rpoSeconds)
    return `the newest state that could be restored was ${seconds(lossSeconds)} old; the objective (RPO) is ${seconds(rpoSeconds)}`;
  return null;
}
