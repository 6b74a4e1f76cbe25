import type { CallContext } from '../core/call';
import type { Json } from '../core/catalog';
import { type EndpointSpeed, percentile } from '../core/drill-judgements';
import { failure } from '../core/errors';
import { layout } from '../core/layout';
import { readReport } from '../core/report/run-report';
import type { StoredObject } from '../core/repository';
import type { EndpointCheck, EndpointResult } from '../core/traffic';
import { withCallContext } from './context';
import type { ActivityDeps, OpenApplication } from './deps';
import { bubbleOf } from './drill';
import { nameOf } from './drill-name';
import { poll } from './poll';

/** Older drills say little of how fast the application is today. */
const EARLIER_DRILLS = 6;
/** The services are ready by then, so that this is for what stands before them. */
const ANSWER_MILLISECONDS = 15_000;

/** What the bubble answers under the isolated name, and how fast. */
export function createDrillSpeedActivities(deps: ActivityDeps) {
  return {
    /**
     * The application's own URL, requested at the address that the isolated name has now: port, path, Host header and
     * certificate are those that users know. Throws ServiceNotReady where it does not answer as it should for a while: what
     * stands before the services needs a moment to see them.
     */
    async requestInDrill(input: { application: string; check: EndpointCheck }): Promise<EndpointResult> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        await bubbleOf(open).reopenWays(ctx);
        const result = await firstAnswer(open, input.check, ctx);
        if (result.ok) return result;
        const { method, url, address, problem } = result;
        throw failure('ServiceNotReady', `${method} ${url} at ${address}: ${problem}`);
      });
    },

    /**
     * Requests the endpoint so many times, some at the same time; failures are counted and thrown never. Before the first that
     * counts it has to answer once, or not to answer for a while: a service whose way to its copy was shut connects again first.
     */
    async measureSpeed(input: {
      application: string;
      check: EndpointCheck;
      requests: number;
      concurrency: number;
    }): Promise<EndpointSpeed> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        const { check, requests, concurrency } = input;
        await bubbleOf(open).reopenWays(ctx);
        const address = await addressOf(open, ctx);
        await firstAnswer(open, check, ctx);
        const results: EndpointResult[] = [];
        let begun = 0;
        const beganAt = performance.now();
        const one = async () => {
          while (begun++ < requests) {
            results.push(await open.probe.endpointAt(address, check, ctx));
            ctx.progress({ phase: `requesting ${check.url}`, doneItems: results.length, totalItems: requests });
          }
        };
        await Promise.all(Array.from({ length: Math.min(concurrency, requests) }, one));
        return speedOf(check.url, results, (performance.now() - beganAt) / 1_000);
      });
    },

    /** What earlier drills measured, newest first. */
    async earlierSpeeds(input: { application: string }): Promise<EndpointSpeed[][]> {
      return withCallContext(async () => {
        const { control } = deps.open(input.application);
        const found: StoredObject[] = [];
        for await (const object of control.list(`${layout.reports()}drill-`))
          if (object.key.endsWith('.json')) found.push(object);
        const newest = found.toSorted((a, b) => b.modifiedAt.localeCompare(a.modifiedAt)).slice(0, EARLIER_DRILLS);
        const reports = await Promise.all(
          newest.map(async ({ key }) => readReport(JSON.parse((await control.read(key)).toString('utf8')) as Json)),
        );
        return reports.flatMap((report) => (report?.drill?.speeds.length ? [[...report.drill.speeds]] : []));
      });
    },
  };
}

/** The first good answer, or after a while what stands in the way of one. */
async function firstAnswer(open: OpenApplication, check: EndpointCheck, ctx: CallContext): Promise<EndpointResult> {
  const until = Date.now() + ANSWER_MILLISECONDS;
  return poll(async () => {
    const result = await open.probe.endpointAt(await addressOf(open, ctx), check, ctx);
    if (result.ok || Date.now() > until) return result;
    ctx.progress({ phase: `requesting ${check.url}`, note: result.problem ?? '' });
    return null;
  }, ctx);
}

function speedOf(url: string, results: readonly EndpointResult[], seconds: number): EndpointSpeed {
  const good = results.filter(({ ok }) => ok).map(({ milliseconds }) => milliseconds);
  return {
    url,
    requests: results.length,
    failed: results.length - good.length,
    problem: results.find(({ ok }) => !ok)?.problem ?? null,
    p50Milliseconds: percentile(good, 0.5),
    p95Milliseconds: percentile(good, 0.95),
    perSecond: seconds > 0 ? Math.round(results.length / seconds) : 0,
  };
}

/** The address of the isolated name by the zone's own servers; only one of the bubble's will do. */
async function addressOf(open: OpenApplication, ctx: CallContext): Promise<string> {
  const { name, type, values } = nameOf(open);
  const answers = await open.probe.authoritative(name, type, ctx);
  const address = answers.find(({ values: found }) => found.length > 0)?.values[0];
  if (address !== undefined && values.includes(address)) return address;
  const found = address ?? answers.map(({ server, problem }) => `${server}: ${problem}`).join('; ');
  throw failure('TrafficNotSwitched', `${name} does not lead to the bubble (${values.join(', ')}): ${found}`);
}
