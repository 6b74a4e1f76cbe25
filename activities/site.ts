import { setTimeout as sleep } from 'node:timers/promises';
import { failure, findFailure, hasCode } from '../core/errors';
import { withCallContext } from './context';
import type { ActivityDeps } from './deps';

/** What served at a site before something was done to it, and has to serve again when that is undone. */
export interface SiteAtWork {
  /** Stores that took writes. */
  readonly writableStores: readonly string[];
  /** Those that had replicas, or were to have some. */
  readonly services: readonly {
    readonly service: string;
    readonly readyReplicas: number;
    readonly desiredReplicas: number;
  }[];
  /** Services of which nothing could be seen. */
  readonly unseenServices: readonly string[];
}

/** A look at one server: as long as a probe of a site's store may take. */
const LOOK_MILLISECONDS = 4_000;
const POLL_MILLISECONDS = 500;

export function createSiteActivities(deps: ActivityDeps) {
  return {
    /** What serves at the site now. What does not answer does not serve: a dead site is no error here. */
    async lookAtWork(input: { application: string; site: string }): Promise<SiteAtWork> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        const bounded = { ...ctx, signal: AbortSignal.any([ctx.signal, AbortSignal.timeout(LOOK_MILLISECONDS)]) };
        const replicated = open.application.stores.filter(({ hasReplication }) => hasReplication);
        const stores = replicated.map(async ({ name }) =>
          (await open.engine(name).probe(input.site, bounded)).writable ? [name] : [],
        );
        const names = open.application.serviceGroups.flatMap((group) => group.services.map(({ name }) => name));
        const unseenServices: string[] = [];
        const services = names.map(async (service) => {
          try {
            const state = await open.services?.state(input.site, service, bounded);
            if (!state || state.readyReplicas + state.desiredReplicas === 0) return [];
            const { readyReplicas, desiredReplicas } = state;
            return [{ service, readyReplicas, desiredReplicas }];
          } catch (error) {
            ctx.signal.throwIfAborted();
            if (!findFailure(error) && !bounded.signal.aborted) throw error;
            // It cannot be seen to run, so nothing is promised about it; one that is not there at all does not.
            if (!hasCode(error, 'NotFound')) unseenServices.push(service);
            return [];
          }
        });
        return {
          writableStores: (await Promise.all(stores)).flat(),
          services: (await Promise.all(services)).flat(),
          unseenServices,
        };
      });
    },

    /**
     * Waits until what served before serves again. A store that elects its primary itself may be led from
     * `otherSite` meanwhile: it serves as well. Throws ServiceNotReady naming what does not serve after `withinSeconds`.
     */
    async awaitAtWork(input: {
      application: string;
      site: string;
      otherSite: string;
      before: SiteAtWork;
      withinSeconds: number;
    }): Promise<SiteAtWork> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        const { site, before } = input;
        const deadline = Date.now() + input.withinSeconds * 1_000;
        const storeServes = async (store: string) => {
          const engine = open.engine(store);
          const places = engine.replication?.electsItself ? [site, input.otherSite] : [site];
          const probes = await Promise.all(places.map((place) => engine.probe(place, ctx)));
          return probes.some(({ writable }) => writable === true) && probes[0]?.reachable === true;
        };
        const serviceServes = async ({ service, readyReplicas }: SiteAtWork['services'][number]) => {
          const state = await open.services?.state(site, service, ctx);
          return (state?.readyReplicas ?? 0) >= readyReplicas;
        };
        for (;;) {
          const absent = [
            ...(await namesOfAbsent(before.writableStores, (store) => store, storeServes)),
            ...(await namesOfAbsent(before.services, ({ service }) => `service ${service}`, serviceServes)),
          ];
          if (absent.length === 0) return before;
          if (Date.now() > deadline) {
            throw failure('ServiceNotReady', `${site} does not serve as before: ${absent.join(', ')}`, {
              data: 'Nothing was promoted: the data is at the old site, as it was.',
              next: `Start what is named at ${site}; its logs say why it does not serve.`,
            });
          }
          ctx.progress({ phase: `waiting for ${absent.join(', ')} at ${site}` });
          await sleep(POLL_MILLISECONDS, undefined, { signal: ctx.signal });
        }
      });
    },
  };
}

async function namesOfAbsent<T>(
  all: readonly T[],
  name: (each: T) => string,
  serves: (each: T) => Promise<boolean>,
): Promise<string[]> {
  const answers = await Promise.all(all.map(async (each) => ({ name: name(each), serves: await serves(each) })));
  return answers.filter((each) => !each.serves).map((each) => each.name);
}
