import { setTimeout as sleep } from 'node:timers/promises';
import type { FenceEvidence } from '../core/fencing';
import { requireEpoch } from './application';
import { withCallContext } from './context';
import type { ActivityDeps } from './deps';

/** An old primary that wakes up should take as few writes as possible; one that is silent holds up each try for seconds. */
const INTERVAL_MILLISECONDS = 1_000;

export interface HoldFenceRound {
  readonly application: string;
  readonly stores: readonly string[];
  /** The site that lost its role, and the one that has it now. */
  readonly site: string;
  readonly survivingSite: string;
  readonly epoch: number;
  /** Return after about this long, so that the workflow can continue as new. */
  readonly runForMilliseconds: number;
}

export function createHoldFenceActivities(deps: ActivityDeps) {
  return {
    /**
     * Tries to fence stores of the lost site by their engines' own means, again and again, until one of them answers and takes
     * no writes; answers the evidence of each that does, and none when the time is over. Throws StaleEpoch after a newer role
     * change.
     */
    async holdFence(input: HoldFenceRound): Promise<FenceEvidence[]> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        const { stores, site, survivingSite, epoch } = input;
        const refused = async (store: string): Promise<FenceEvidence | null> => {
          const engine = open.engine(store);
          const evidence = await engine.replication?.fence(site, survivingSite, epoch, ctx);
          if (!evidence || evidence.strength !== 'none') return evidence ?? null;
          // Members that elect their primary themselves take no writes before the election, and that is no fence.
          if (engine.replication?.electsItself) return null;
          // Somebody has made it a replica meanwhile: there is no primary to fence, and it takes no writes.
          const { reachable, writable } = await engine.probe(site, ctx);
          return reachable && writable === false ? evidence : null;
        };
        const until = Date.now() + input.runForMilliseconds;
        const found: FenceEvidence[] = [];
        // Each at its own pace: a silent store takes its engine many seconds, and must not hold up one that has woken up.
        const watch = async (store: string) => {
          while (found.length === 0 && Date.now() < until) {
            await requireEpoch(open, epoch);
            const evidence = await refused(store);
            if (evidence) {
              found.push(evidence);
              return;
            }
            ctx.progress({ phase: `waiting for ${stores.join(', ')} at ${site} to come back, to refuse its writes` });
            await sleep(INTERVAL_MILLISECONDS, undefined, { signal: ctx.signal });
          }
        };
        const ended = await Promise.allSettled(stores.map(watch));
        const failed = ended.find((each) => each.status === 'rejected');
        if (failed && found.length === 0) throw failed.reason;
        return found;
      });
    },
  };
}
