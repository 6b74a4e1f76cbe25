import { taskQueues } from '../core/names';
import type { RestoreRequest } from '../core/engine';
import { failure, hasCode, reasonOf } from '../core/errors';
import {
  type Fingerprint,
  type Leave,
  type RecoveryTarget,
  requireLeave,
  type RestoredStore,
  type RestorePlace,
  type RestorePlan,
} from '../core/recovery';
import type { ReadElsewhere, StoreReading } from '../core/reading';
import type { CheckResult } from '../core/restore-checks';
import type { Selection } from '../core/selection';
import type { ThawTier } from '../core/thaw';
import { withCallContext } from './context';
import { atCopy } from './copies';
import type { ActivityDeps } from './deps';
import { manifestsOf, planStoreRestore } from './plan-restore';
import { announceReading, requireNotSwept, withdrawReading } from './uses';

/** One store's part of a restore; every step gets it unchanged. */
export interface StoreRestore {
  readonly application: string;
  readonly restoreId: string;
  readonly store: string;
  /** The only repository that is read; the store's own, and its copies where that has to be, where it is left out. */
  readonly copy?: string;
  readonly plan: RestorePlan;
  readonly place: RestorePlace;
  /** Left out: what is proven is the repository, so that nothing is read from this host's own copies. */
  readonly fromLocalTier?: boolean;
}

/** Where it was read from another copy of the log, and why. */
export interface ReplayedStore extends RestoredStore {
  readonly elsewhere?: readonly ReadElsewhere[];
}

/** Kept beside the heartbeat: a worker that takes a rebuild over need not meet the damage again. */
interface RebuildState {
  readonly readFirst: boolean;
}

async function requestOf({ catalog }: StoreReading, input: StoreRestore): Promise<RestoreRequest> {
  const chain = await manifestsOf(catalog, input.store, input.plan.chain);
  return { restoreId: input.restoreId, plan: input.plan, chain, place: input.place };
}

export function createRestoreActivities(deps: ActivityDeps) {
  return {
    /**
     * Chooses chain, log and reachable state of every store, and the host that will restore; says which stores have checks.
     * Changes nothing.
     */
    async planRestores(input: {
      application: string;
      target: RecoveryTarget;
      stores: readonly string[];
      leave?: Leave;
      /** Instead of the config's. */
      thawTier?: ThawTier;
      /** Of the one store that is named. */
      selection?: Selection;
      copy?: string;
    }): Promise<{ hostQueue: string; plans: RestorePlan[]; checked?: string[] }> {
      return withCallContext(async (ctx) => {
        const open = atCopy(deps.open(input.application), input.copy);
        const plans: RestorePlan[] = [];
        for (const store of input.stores) requireLeave(store, open.engine(store).restore.leaves, input.leave ?? 'open');
        const { target, thawTier, selection } = input;
        for (const store of input.stores) {
          const wish = { store, target, ...(thawTier && { tier: thawTier }), ...(selection && { selection }) };
          plans.push(await planStoreRestore(open, wish, ctx));
        }
        for (const { store, chain } of plans) {
          await announceReading(open, store, chain, ctx);
          await requireNotSwept(open, store, chain, open.reading(store).catalog, ctx);
        }
        const checked = input.stores.filter((store) => (open.engine(store).checks?.names ?? []).length > 0);
        return { hostQueue: taskQueues.host(input.application, deps.site, deps.hostId), plans, checked };
      });
    },

    /** Fetches the chain and rebuilds the store's files in the new place. */
    async rebuildStore(input: StoreRestore): Promise<readonly ReadElsewhere[]> {
      return withCallContext<readonly ReadElsewhere[], RebuildState>(async (ctx, resume) => {
        const open = atCopy(deps.open(input.application), input.copy);
        await announceReading(open, input.store, input.plan.chain, ctx);
        const reading = open.reading(input.store);
        const request = await requestOf(reading, input);
        const { restore } = open.engine(input.store);
        const fromLocalTier = (input.fromLocalTier ?? false) && input.copy === undefined;
        const from = (readFirst: boolean) =>
          restore.rebuild(request, reading.source(request.chain, { readFirst, fromLocalTier }), reading.log, ctx);
        try {
          await from(resume.state?.readFirst ?? false);
        } catch (error) {
          if (!reading.hasCopies || !hasCode(error, 'BackupCorrupt') || resume.state?.readFirst) throw error;
          // Damage that only a digest shows was met behind bytes that were used already: once more, each read before it is used.
          ctx.log.warn({ store: input.store, error: reasonOf(error) }, 'rebuilding again from copies that are intact');
          resume.keep({ readFirst: true });
          await from(true);
        }
        return reading.elsewhere();
      });
    },

    /** Replays the log up to the target. */
    async replayLog(input: StoreRestore): Promise<ReplayedStore> {
      return withCallContext(async (ctx) => {
        const open = atCopy(deps.open(input.application), input.copy);
        await announceReading(open, input.store, input.plan.chain, ctx);
        const reading = open.reading(input.store);
        const request = await requestOf(reading, input);
        const replayed = await open.engine(input.store).restore.replay(request, reading.log, ctx);
        const elsewhere = reading.elsewhere();
        return elsewhere.length > 0 ? { ...replayed, elsewhere } : replayed;
      });
    },

    /** Opens the restored store for reading and writing. */
    async openStore(input: StoreRestore): Promise<RestoredStore> {
      return withCallContext(async (ctx) => {
        const open = atCopy(deps.open(input.application), input.copy);
        const request = await requestOf(open.reading(input.store), input);
        const opened = await open.engine(input.store).restore.open(request, ctx);
        await withdrawReading(open, input.store, ctx);
        return opened;
      });
    },

    /** Ends the restored server at its target, ready to be started. */
    async shutDownStore(input: StoreRestore): Promise<RestoredStore> {
      return withCallContext(async (ctx) => {
        const open = atCopy(deps.open(input.application), input.copy);
        const { restore } = open.engine(input.store);
        if (!restore.shutDown) throw failure('UsageInvalid', `${input.store} cannot be left shut down by its engine`);
        const ended = await restore.shutDown(await requestOf(open.reading(input.store), input), ctx);
        await withdrawReading(open, input.store, ctx);
        return ended;
      });
    },

    /** Runs the checks that the config has for the store; one that does not hold is a result and no error. */
    async checkStore(input: { application: string; store: string; restored: RestoredStore }): Promise<CheckResult[]> {
      return withCallContext(
        async (ctx) => (await deps.open(input.application).engine(input.store).checks?.run(input.restored, ctx)) ?? [],
      );
    },

    /** Reads the whole restored content once: proof that it is readable, and comparable with any other copy. */
    async fingerprintStore(input: {
      application: string;
      store: string;
      restored: RestoredStore;
    }): Promise<Fingerprint> {
      return withCallContext((ctx) =>
        deps.open(input.application).engine(input.store).fingerprint(input.restored, ctx),
      );
    },

    async discardRestore(input: { application: string; store: string; place: RestorePlace }): Promise<void> {
      await withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        await open.engine(input.store).restore.discard(input.place, ctx);
        // One that failed has not said that it ended. Its word ends by itself, too: a removed copy is not kept up for it.
        await withdrawReading(open, input.store, ctx).catch((error: unknown) =>
          ctx.log.warn({ store: input.store, error: reasonOf(error) }, 'retention still keeps what was read'),
        );
      });
    },

    /** A place on this worker that nobody named: for drills. */
    async scratchPlace(input: { application: string; store: string; name: string }): Promise<RestorePlace> {
      return deps.open(input.application).scratchPlace(input.store, input.name);
    },
  };
}
