import { setTimeout as sleep } from 'node:timers/promises';
import { failure } from '../core/errors';
import { isReady, type ServiceState } from '../core/services';
import { type EndpointCheck, type EndpointResult, sameHost } from '../core/traffic';
import { requireEpoch } from './application';
import { withCallContext } from './context';
import type { ActivityDeps, OpenApplication } from './deps';

/** Often enough that waiting adds little to an outage, seldom enough that nobody is flooded. */
const POLL_MILLISECONDS = 200;

export interface ServiceStep {
  readonly application: string;
  readonly site: string;
  readonly service: string;
  readonly replicas: number;
  readonly epoch: number;
}

/** Services and endpoints: what users reach. */
export function createTrafficActivities(deps: ActivityDeps) {
  return {
    /**
     * Scales up and waits until so many replicas are ready; the activity's own timeout bounds the wait. More than that are left:
     * an autoscaler that has taken over, perhaps since an earlier try, knows better.
     */
    async startService(input: ServiceStep): Promise<ServiceState> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        await requireEpoch(open, input.epoch);
        const services = servicesOf(open);
        let state = await services.state(input.site, input.service, ctx);
        if (state.desiredReplicas < input.replicas)
          state = await services.scale(input.site, input.service, input.replicas, ctx);
        while (!isReady(state, input.replicas)) {
          ctx.progress({
            phase: `starting ${input.service}`,
            doneItems: state.readyReplicas,
            totalItems: input.replicas,
          });
          await sleep(POLL_MILLISECONDS, undefined, { signal: ctx.signal });
          state = await services.state(input.site, input.service, ctx);
        }
        return state;
      });
    },

    /** Requests an endpoint through the public name; throws ServiceNotReady (retried) until it answers as it should. */
    async verifyEndpoint(input: {
      application: string;
      check: EndpointCheck;
      expectAddresses: readonly string[];
    }): Promise<EndpointResult> {
      return withCallContext(async (ctx) => {
        const result = await deps.open(input.application).probe.endpoint(input.check, ctx);
        if (!result.ok) {
          throw failure(
            'ServiceNotReady',
            `${result.method} ${result.url}: ${result.problem ?? `status ${result.status}`}`,
          );
        }
        // A CNAME of the config is met by the name on the way as well as by what it leads to.
        const served = result.address === null ? [] : [result.address, ...(result.aliases ?? [])];
        const expected = served.some((each) => input.expectAddresses.some((wanted) => sameHost(each, wanted)));
        if (result.address !== null && input.expectAddresses.length > 0 && !expected) {
          throw failure('TrafficNotSwitched', `${result.url} is still served by ${result.address}`);
        }
        return result;
      });
    },
  };
}

export function servicesOf(open: OpenApplication) {
  if (!open.services) throw failure('ConfigInvalid', `${open.application.name} has no services in its config`);
  return open.services;
}
