import { setTimeout as sleep } from 'node:timers/promises';
import type { DnsTarget } from '../core/application';
import { failure } from '../core/errors';
import { isReady, type ServiceState } from '../core/services';
import { type DnsAnswer, type EndpointCheck, type EndpointResult, hasValues } from '../core/traffic';
import { requireEpoch } from './application';
import { withCallContext } from './context';
import type { ActivityDeps, OpenApplication } from './deps';

/** Often enough that waiting adds little to an outage, seldom enough that nobody is flooded. */
const POLL_MILLISECONDS = 200;
/** Route 53 allows five requests a second for a whole account; others ask too. */
const CONTROL_PLANE_POLL_MILLISECONDS = 1_000;

export interface ServiceStep {
  readonly application: string;
  readonly site: string;
  readonly service: string;
  readonly replicas: number;
  readonly epoch: number;
}

/** Services and names: what users reach. */
export function createTrafficActivities(deps: ActivityDeps) {
  return {
    /** Scales and waits until the replicas are ready; the activity's own timeout bounds the wait. */
    async startService(input: ServiceStep): Promise<ServiceState> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        await requireEpoch(open, input.epoch);
        const services = servicesOf(open);
        let state = await services.scale(input.site, input.service, input.replicas, ctx);
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

    /**
     * Sets the record to the site's values, waits until the zone's control plane says INSYNC, then until every
     * authoritative server really answers so. Returns what each server answered.
     */
    async pointDns(input: {
      application: string;
      site: string;
      target: DnsTarget;
      epoch: number;
    }): Promise<DnsAnswer[]> {
      return withCallContext<DnsAnswer[], string>(async (ctx, resume) => {
        const open = deps.open(input.application);
        await requireEpoch(open, input.epoch);
        const { zone } = open;
        const { name, type, ttlSeconds, valuesBySite } = input.target;
        const values = valuesBySite[input.site];
        if (!zone || !values)
          throw failure('ConfigInvalid', `no DNS values of ${name} for site ${input.site} are configured`);
        const changeId = resume.state ?? (await zone.upsert({ name, type, ttlSeconds, values }, ctx));
        resume.keep(changeId);
        while (!(await zone.inSync(changeId, ctx))) {
          ctx.progress({ phase: `waiting for ${name} to be in sync` });
          await sleep(CONTROL_PLANE_POLL_MILLISECONDS, undefined, { signal: ctx.signal });
        }
        for (;;) {
          const answers = await open.probe.authoritative(name, type, ctx);
          const changed = answers.filter((answer) => hasValues(answer, type, values));
          if (answers.length > 0 && changed.length === answers.length) return answers;
          ctx.progress({
            phase: `waiting for the name servers`,
            doneItems: changed.length,
            totalItems: answers.length,
          });
          await sleep(POLL_MILLISECONDS, undefined, { signal: ctx.signal });
        }
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
        if (
          result.address !== null &&
          input.expectAddresses.length > 0 &&
          !input.expectAddresses.includes(result.address)
        ) {
          throw failure('TrafficNotSwitched', `${result.url} is still served by ${result.address}`);
        }
        return result;
      });
    },
  };
}

function servicesOf(open: OpenApplication) {
  if (!open.services) throw failure('ConfigInvalid', `${open.application.name} has no services in its config`);
  return open.services;
}
