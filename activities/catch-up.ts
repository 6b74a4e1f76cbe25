import type { CallContext } from '../core/call';
import type { CaughtUp } from '../core/catch-up';
import { failure, reasonOf } from '../core/errors';
import { requireEpoch } from './application';
import { withCallContext } from './context';
import type { ActivityDeps, OpenApplication } from './deps';
import { replicationOf, type RoleStep } from './promote';
import { announceUse, withdrawUse } from './uses';

/** Between the fence and the promotion. */
export function createCatchUpActivities(deps: ActivityDeps) {
  return {
    /** See `Replication.catchUp`. */
    async catchUpStore(input: RoleStep & { withinSeconds: number }): Promise<CaughtUp> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        await requireEpoch(open, input.epoch);
        const { site, store, epoch } = input;
        const begunMs = Date.now();
        const [replication, log] = [replicationOf(open, store), open.logArchive(store)];
        if (!replication.catchUp || !log) throw failure('UsageInvalid', `no standby of ${store} can take archived log`);
        // A sweep that is under way is not waited for: what it may not have seen yet is log from before all that is kept for
        // its own sake, and a piece that is missing is said.
        await announceUse(open, store, { kind: 'restore', backups: [] }, ctx);
        // A repository that answers late has cost a part of the time already.
        const withinSeconds = Math.max(1, input.withinSeconds - (Date.now() - begunMs) / 1_000);
        try {
          return await replication.catchUp({ site, epoch, withinSeconds }, log, ctx);
        } finally {
          await endUse(open, store, ctx);
        }
      });
    },

    /** Takes back what a catch-up that died has left at the standby; whether there was anything. */
    async leaveArchive(input: { application: string; store: string; site: string }): Promise<boolean> {
      return withCallContext(async (ctx) => {
        const replication = replicationOf(deps.open(input.application), input.store);
        return (await replication.leaveArchive?.(input.site, ctx)) ?? false;
      });
    },
  };
}

/** A word that stays lapses by itself and keeps a little log longer: no reason to hold a promotion up. */
async function endUse(open: OpenApplication, store: string, ctx: CallContext): Promise<void> {
  await withdrawUse(open, store, ctx).catch((error: unknown) => {
    ctx.log.warn({ store, error: reasonOf(error) }, 'the log is noted as being read for 36 hours from now');
  });
}
