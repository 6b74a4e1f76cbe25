import { activityInfo } from '@temporalio/activity';
import type { CallContext } from '../core/call';
import type { EndpointResult } from '../core/traffic';
import type { Position } from '../core/positions';
import { estimateLoss, type LossEstimate, type ReplicaState } from '../core/replication';
import type { StoreProbe } from '../core/engine';
import { archivedBeyond } from './archived-beyond';
import { withCallContext } from './context';
import type { ActivityDeps, OpenApplication } from './deps';
import { unlessDamaged } from './kept-state';
import { freezeSamples, readSamples, type StoredSamples } from './sample-log';

/** One look at a site from where this worker stands. */
export interface SiteVerdict {
  readonly site: string;
  readonly at: string;
  /** True when at least one store accepts writes or the public endpoint answers: then it is not dead. */
  readonly alive: boolean;
  /** True when every store that has roles accepts writes and every endpoint answers at the site's own address. */
  readonly healthy: boolean;
  readonly stores: readonly (Pick<StoreProbe, 'reachable' | 'writable' | 'role'> & { readonly store: string })[];
  /** One line each: what was seen. */
  readonly findings: readonly string[];
}

/** How long one probe of one store may take: a server that needs longer does not serve a shop. */
const PROBE_MILLISECONDS = 4_000;

export function createPrimaryActivities(deps: ActivityDeps) {
  return {
    /** Probes every store and endpoint of a site directly, whatever DNS says. Never throws for a site that is down. */
    async probeSite(input: { application: string; site: string }): Promise<SiteVerdict> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        const bounded = { ...ctx, signal: AbortSignal.any([ctx.signal, AbortSignal.timeout(PROBE_MILLISECONDS)]) };
        const replicated = open.application.stores.filter((store) => store.hasReplication);
        const probes = await Promise.all(replicated.map((store) => open.engine(store.name).probe(input.site, bounded)));
        const addresses = open.application.dns.flatMap((target) => target.valuesBySite[input.site] ?? []).slice(0, 1);
        const endpoints: EndpointResult[] = [];
        for (const address of addresses) {
          endpoints.push(
            ...(await Promise.all(
              open.application.endpoints.map((check) =>
                open.probe.endpointAt(
                  address,
                  { ...check, timeoutMilliseconds: Math.min(check.timeoutMilliseconds, PROBE_MILLISECONDS) },
                  ctx,
                ),
              ),
            )),
          );
        }
        return {
          site: input.site,
          at: new Date().toISOString(),
          alive: probes.some((probe) => probe.writable === true) || endpoints.some((each) => each.ok),
          healthy: probes.every((probe) => probe.writable === true) && endpoints.every((each) => each.ok),
          stores: probes.map(({ reachable, writable, role }, index) => ({
            store: replicated[index]?.name ?? '',
            reachable,
            writable,
            role,
          })),
          findings: [
            ...probes.map((probe, index) => describeProbe(replicated[index]?.name ?? '', probe)),
            ...endpoints.map(
              (each) => `${each.method} ${each.url}: ${each.ok ? each.status : (each.problem ?? each.status)}`,
            ),
          ],
        };
      });
    },

    /**
     * Prices the loss that promoting `toSite` would mean, per store: samples taken before the trouble against the
     * surviving side as it is now. Unknown stays unknown. Also says which promotion would have
     * to be forced and what the archive has beyond the standby, and keeps the samples with the run.
     */
    async assessLoss(input: { application: string; toSite: string }): Promise<LossEstimate[]> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        const replicated = open.application.stores.filter(({ hasReplication }) => hasReplication);
        const [{ value: samples, problem }, current] = await Promise.all([
          // Without them the loss is not known, which is said; whether to promote all the same is for people to decide.
          unlessDamaged(readSamples(open.control), {}),
          open.epochs.current(),
        ]);
        await freezeSamples(open.control, activityInfo().workflowExecution?.runId ?? 'none', samples);
        const lostSite = current?.activeSite ?? open.application.initialSite;
        // Side by side: a standby that is silent must not hold up what the others say.
        const estimates = await Promise.all(
          replicated.map(async ({ name }) => {
            const { replication } = open.engine(name);
            if (!replication) return null;
            const standby = replication.state(input.toSite, ctx);
            const [loss, mustForce, archived, chosen] = await Promise.all([
              standby.then((state) => estimateOf(open, name, samples, state)),
              replication.mustForce?.(input.toSite, lostSite, ctx),
              standby.then((state) => archivedBeyond(open, name, state, ctx)),
              standby.then((state) => (state?.chosen ? `to be promoted: ${state.chosen}` : null)),
            ]);
            const basis = [loss.basis, problem, archived, chosen].filter((each) => each !== null).join('; ');
            return { ...loss, basis, ...(mustForce ? { mustForce } : {}) };
          }),
        );
        return estimates.filter((loss) => loss !== null);
      });
    },
  };
}

/** Null for a store without a role. */
export async function lossOfStore(
  open: OpenApplication,
  store: string,
  samples: StoredSamples,
  toSite: string,
  ctx: CallContext,
): Promise<LossEstimate | null> {
  const { replication } = open.engine(store);
  return replication ? estimateOf(open, store, samples, await replication.state(toSite, ctx)) : null;
}

function estimateOf(
  open: OpenApplication,
  store: string,
  samples: StoredSamples,
  standby: ReplicaState | null,
): LossEstimate {
  const { positions } = open.engine(store);
  const compare = (a: Position, b: Position) => positions.compare(a, b);
  return estimateLoss(store, samples[store] ?? [], standby, new Date().toISOString(), compare);
}

function describeProbe(store: string, probe: StoreProbe): string {
  const state = !probe.reachable
    ? 'does not answer'
    : `${probe.role}, ${probe.writable === null ? 'writability unknown' : probe.writable ? 'writable' : 'not writable'}`;
  return `${store} at ${probe.site}: ${state}${probe.problems[0] ? ` (${probe.problems[0]})` : ''}`;
}
