import { setTimeout as sleep } from 'node:timers/promises';
import type { CallContext } from '../core/call';
import { reasonOf } from '../core/errors';
import type { EndpointCheck } from '../core/traffic';
import { daysOfStretch, readUptimeDay, type Stretch, unknownDay, type UptimeDay, withStretch } from '../core/uptime';
import { withCallContext } from './context';
import { changeDay } from './day-records';
import type { ActivityDeps, OpenApplication } from './deps';

export interface SampleUptimeInput {
  readonly application: string;
  readonly runForMilliseconds: number;
  /** From the beginning of one round to that of the next; a round that takes longer is followed by the next at once. */
  readonly intervalMilliseconds: number;
  /** What does not answer is asked once more after this long: a packet that was lost is no outage. */
  readonly askAgainMilliseconds: number;
}

export function createUptimeActivities(deps: ActivityDeps) {
  return {
    /**
     * Asks every endpoint through the public name once a minute, as users reach it, and keeps what it saw of each minute in the
     * control repository. Answers how many rounds it took. May be repeated, and run twice at once: it adds to what is kept.
     */
    async sampleUptime(input: SampleUptimeInput): Promise<number> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        const until = Date.now() + input.runForMilliseconds;
        let untold: readonly Stretch[] = [];
        let rounds = 0;
        while (Date.now() < until) {
          // On the minute, so that a round is of one minute wherever it is asked from.
          const next = (Math.floor(Date.now() / input.intervalMilliseconds) + 1) * input.intervalMilliseconds;
          const seen = await askOnce(open, deps.site, input.askAgainMilliseconds, ctx);
          untold = await keep(open, [...untold, seen], ctx);
          rounds += 1;
          ctx.progress({ phase: 'asking the endpoints', doneItems: rounds });
          await sleep(Math.max(0, next - Date.now()), undefined, { signal: ctx.signal });
        }
        return rounds;
      });
    },
  };
}

/** Up only while every endpoint answers as it should. */
async function askOnce(
  { application, probe }: OpenApplication,
  site: string,
  askAgainMilliseconds: number,
  ctx: CallContext,
): Promise<Stretch> {
  const from = new Date().toISOString();
  const ask = async (check: EndpointCheck): Promise<string | null> => {
    const { ok, method, url, problem, status } = await probe.endpoint(check, ctx);
    return ok ? null : `${method} ${url}: ${problem ?? `status ${status}`}`;
  };
  const problems = await Promise.all(
    application.endpoints.map(async (check) => {
      if ((await ask(check)) === null) return null;
      await sleep(askAgainMilliseconds, undefined, { signal: ctx.signal });
      return ask(check);
    }),
  );
  ctx.signal.throwIfAborted();
  const problem = problems.find((each) => each !== null) ?? null;
  const to = new Date().toISOString();
  return { from, to, state: problem === null ? 'up' : 'down', problem: problem && `${problem} (asked from ${site})` };
}

/**
 * Answers what could not be kept and is worth another try. Only what is up: who cannot reach the control repository either
 * cannot tell a trouble of the application from one of its own, so that a "down" from there stays unknown.
 */
async function keep({ control }: OpenApplication, seen: readonly Stretch[], ctx: CallContext): Promise<Stretch[]> {
  try {
    for (const day of new Set(seen.flatMap(daysOfStretch))) {
      await changeDay<UptimeDay>(control, day, 'uptime', (stored) =>
        seen.reduce(withStretch, readUptimeDay(day, stored) ?? unknownDay(day)),
      );
    }
    return [];
  } catch (error) {
    ctx.signal.throwIfAborted();
    ctx.log.warn({ reason: reasonOf(error) }, 'what the endpoints answered could not be kept');
    return seen.filter(({ state }) => state === 'up');
  }
}
