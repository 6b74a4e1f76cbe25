import { setTimeout as sleep } from 'node:timers/promises';
import type { CallContext } from '../core/call';
import { layout } from '../core/layout';
import type { ReplicationSample } from '../core/replication';
import { withCallContext } from './context';
import type { ActivityDeps, OpenApplication } from './deps';

/** Two minutes at one sample every two seconds: enough for a peak rate and for a standby that is a minute behind. */
const KEPT_SAMPLES = 60;

export interface WatchInput {
  readonly application: string;
  readonly primarySite: string;
  readonly standbySite: string;
  readonly runForMilliseconds: number;
  readonly intervalMilliseconds: number;
}

export function createWatchActivities(deps: ActivityDeps) {
  return {
    /**
     * Measures replication of every store from outside the primary and keeps the newest samples in the control
     * repository, at the DR side, where they survive the primary. Answers how many rounds it took.
     */
    async sampleReplication(input: WatchInput): Promise<number> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        const stores = open.application.stores.filter((store) => store.hasReplication).map((store) => store.name);
        const until = Date.now() + input.runForMilliseconds;
        let rounds = 0;
        while (Date.now() < until) {
          const next = Date.now() + input.intervalMilliseconds;
          await Promise.all(stores.map((store) => sampleStore(open, store, input, ctx)));
          rounds += 1;
          ctx.progress({ phase: 'measuring replication', doneItems: rounds });
          await sleep(Math.max(0, next - Date.now()), undefined, { signal: ctx.signal });
        }
        return rounds;
      });
    },
  };
}

/** The samples that are kept of a store, oldest first. */
export async function readSamples(open: OpenApplication, store: string): Promise<ReplicationSample[]> {
  const key = layout.samples(store);
  if ((await open.control.head(key)) === null) return [];
  return JSON.parse((await open.control.read(key)).toString('utf8')) as ReplicationSample[];
}

async function sampleStore(open: OpenApplication, store: string, input: WatchInput, ctx: CallContext): Promise<void> {
  const { replication } = open.engine(store);
  if (!replication) return;
  const sample = await replication.sample(input.primarySite, input.standbySite, ctx);
  // A sample without the primary is kept only while it is the newest: a dead primary must not push out its last words.
  const kept = (await readSamples(open, store)).filter((each) => each.primary !== null);
  await open.control.put(layout.samples(store), Buffer.from(JSON.stringify([...kept, sample].slice(-KEPT_SAMPLES))));
}
