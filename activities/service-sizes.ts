import { setTimeout as sleep } from 'node:timers/promises';
import type { ServiceState } from '../core/services';
import { requireEpoch } from './application';
import { withCallContext } from './context';
import type { ActivityDeps } from './deps';
import { type ServiceStep, servicesOf } from './traffic';

const POLL_MILLISECONDS = 200;

/** Services of a site that stops serving on purpose. */
export function createServiceSizeActivities(deps: ActivityDeps) {
  return {
    /** Scales to nothing and waits until no replica is ready; the activity's own timeout bounds the wait. */
    async stopService(input: {
      application: string;
      site: string;
      service: string;
      epoch: number;
    }): Promise<ServiceState> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        await requireEpoch(open, input.epoch);
        const services = servicesOf(open);
        let state = await services.scale(input.site, input.service, 0, ctx);
        while (!state.settled || state.desiredReplicas > 0 || state.readyReplicas > 0) {
          ctx.progress({ phase: `stopping ${input.service}`, doneItems: state.readyReplicas });
          await sleep(POLL_MILLISECONDS, undefined, { signal: ctx.signal });
          state = await services.state(input.site, input.service, ctx);
        }
        return state;
      });
    },

    /** Gives a service back its size. Not waited for: whether it serves as it did before is `awaitAtWork`'s to see. */
    async resizeService(input: ServiceStep): Promise<ServiceState> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        await requireEpoch(open, input.epoch);
        return servicesOf(open).scale(input.site, input.service, input.replicas, ctx);
      });
    },
  };
}
