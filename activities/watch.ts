import { setTimeout as sleep } from 'node:timers/promises';
import { withCallContext } from './context';
import type { ActivityDeps } from './deps';
import { SampleLog } from './sample-log';

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
     * repository, at the DR side, where they survive the primary. Answers how many rounds it took. May be repeated: it
     * goes on from what is kept.
     */
    async sampleReplication(input: WatchInput): Promise<number> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        const replications = open.application.stores
          .filter((store) => store.hasReplication)
          .flatMap((store) => open.engine(store.name).replication ?? []);
        const log = await SampleLog.open(open.control);
        if (log.problem !== null) ctx.log.warn({ problem: log.problem }, 'the watch begins anew');
        const until = Date.now() + input.runForMilliseconds;
        let rounds = 0;
        try {
          while (Date.now() < until) {
            const next = Date.now() + input.intervalMilliseconds;
            const { primarySite, standbySite } = input;
            await log.add(await Promise.all(replications.map((each) => each.sample(primarySite, standbySite, ctx))));
            rounds += 1;
            ctx.progress({ phase: 'measuring replication', doneItems: rounds });
            await sleep(Math.max(0, next - Date.now()), undefined, { signal: ctx.signal });
          }
        } catch (error) {
          // A worker that stops leaves to the next one what only it knows; the reason is the first error, not this one's.
          await log.save().catch(() => undefined);
          throw error;
        }
        await log.save();
        return rounds;
      });
    },
  };
}
