import type { CaughtUp } from '../core/catch-up';
import { failure } from '../core/errors';
import { requireEpoch } from './application';
import { withCallContext } from './context';
import type { ActivityDeps } from './deps';
import { replicationOf, type RoleStep } from './promote';

/** Between the fence and the promotion. */
export function createCatchUpActivities(deps: ActivityDeps) {
  return {
    /** See `Replication.catchUp`. */
    async catchUpStore(input: RoleStep & { withinSeconds: number }): Promise<CaughtUp> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        await requireEpoch(open, input.epoch);
        const { site, store, epoch, withinSeconds } = input;
        const [replication, log] = [replicationOf(open, store), open.logArchive(store)];
        if (!replication.catchUp || !log) throw failure('UsageInvalid', `no standby of ${store} can take archived log`);
        return replication.catchUp({ site, epoch, withinSeconds }, log, ctx);
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
