import type { CallContext } from '../core/call';
import { requireModestShare } from '../core/retention/delete-share';
import { goingBackups } from '../core/retention/plan-store';
import type { LogRun } from '../core/retention/records';
import {
  type Amount,
  isNothing,
  type MarkedStore,
  plus,
  type StorePlace,
  type SweptStore,
} from '../core/retention/runs';
import { withCallContext } from './context';
import { atCopy } from './copies';
import type { ActivityDeps, OpenApplication } from './deps';
import { type LogGroup, lookAtRetention, type RetentionLook } from './retention-look';
import { sweepStore } from './retention-sweep';

export interface MarkInput {
  readonly application: string;
  readonly store: string;
  readonly copy?: string;
  readonly runId: string;
  readonly by: string;
  readonly graceSeconds: number | null;
  readonly maxDeleteShare: number | null;
}

export function createRetentionActivities(deps: ActivityDeps) {
  return {
    /**
     * Plans what nothing will need when the grace is over, and writes it down; deletes nothing. Throws DeletionRefused where
     * that is more than a run may delete.
     */
    async markExpired(input: MarkInput): Promise<MarkedStore> {
      const open = atCopy(deps.open(input.application), input.copy);
      return withCallContext(async (ctx) => ({ ...(await markStore(open, input, ctx)), ...ofCopy(input) }));
    },

    /** Deletes what the run marked and what nothing needs now either. Goes on where an earlier try died. */
    async sweepExpired(input: StorePlace & { application: string; runId: string }): Promise<SweptStore> {
      const open = atCopy(deps.open(input.application), input.copy);
      return withCallContext(async (ctx) => ({ ...(await sweepStore(open, input, ctx)), ...ofCopy(input) }));
    },

    /** Takes a mark back: nothing of it was or will be deleted. */
    async unmarkExpired(input: StorePlace & { application: string; runId: string }): Promise<void> {
      const open = atCopy(deps.open(input.application), input.copy);
      await withCallContext(() => open.retentionStore(input.store).unmark(input.runId));
    },
  };
}

const ofCopy = ({ copy }: { readonly copy?: string }) => (copy === undefined ? {} : { copy });

/** See `markExpired`. */
export async function markStore(
  open: OpenApplication,
  input: MarkInput,
  ctx: CallContext,
  now = Date.now(),
): Promise<MarkedStore> {
  const { store, runId, by } = input;
  const sweepAt = now + (input.graceSeconds ?? open.retention.graceSeconds) * 1_000;
  const look = await lookAtRetention(open, store, sweepAt, ctx);
  const amounts = amountsOf(look);
  requireShare(look, input.maxDeleteShare ?? open.retention.maxDeleteShare);
  const times = { markedAt: new Date(now).toISOString(), sweepAt: new Date(sweepAt).toISOString() };
  if (!isNothing(amounts)) {
    await open.retentionStore(store).mark({
      ...{ store, runId, by, ...times },
      backups: goingBackups(look.plan).map(({ backupId }) => backupId),
      log: look.log.filter(({ keptFor }) => keptFor === null).map(runOf),
    });
  }
  return { store, ...amounts, sweepAt: times.sweepAt, problems: look.plan.problems };
}

const runOf = ({ lineage, firstKey, lastKey, objects, sizeBytes }: LogGroup): LogRun => ({
  lineage,
  first: firstKey,
  last: lastKey,
  objects,
  sizeBytes,
});

const total = (all: readonly Amount[]): Amount => all.reduce(plus, { objects: 0, sizeBytes: 0 });

const asAmount = ({ storedBytes }: { readonly storedBytes: number }): Amount => ({
  objects: 1,
  sizeBytes: storedBytes,
});

export function amountsOf({ plan, log, leftovers, unfinishedUploads }: RetentionLook) {
  return {
    backups: total(goingBackups(plan).map(asAmount)),
    log: total(log.filter(({ keptFor }) => keptFor === null)),
    leftovers: total(leftovers),
    unfinishedUploads: unfinishedUploads.length,
  };
}

/** Throws DeletionRefused; see `requireModestShare`. */
export function requireShare(look: RetentionLook, maxDeleteShare: number): void {
  const { backups, log } = amountsOf(look);
  requireModestShare(
    {
      store: look.plan.store,
      backups: total(look.plan.backups.map(asAmount)),
      goingBackups: backups,
      log: total(look.log),
      goingLog: log,
    },
    maxDeleteShare,
  );
}
