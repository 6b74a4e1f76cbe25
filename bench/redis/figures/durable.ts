import * as path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { projectRoot } from '../../../lab/runtime/servers';
import { waitUntil } from '../../../lab/servers/process';
import { type At, secondsUntilDurable, watchArchived } from '../../archived-log';
import { figure, type Figure, percentile } from '../../figure';
import { sizeWords } from '../../parts';
import { pipeline } from '../../pipeline';
import { REACHING, type Side } from '../product';
import { type BenchRedis, streamEnd } from '../server';
import type { Stand } from '../stand';

const COMMANDS_PER_SECOND = 20_000;
/** Of that pace: what a load that could not keep up measures says nothing. */
const PACE_AT_LEAST = 0.95;
const DURABLE_AT_MOST_SECONDS = 2;
const WRITE_EVERY_MILLISECONDS = 50;
/** Anything that is not durable this long after the load is lost: the measurement fails. */
const LATE_MILLISECONDS = 60_000;

/**
 * Acknowledged to durable: beside 20,000 commands/s an independent writer notes when each of its own writes was acknowledged, and an
 * offset behind it; it counts as durable when a listing of S3 shows a piece that reaches it.
 */
export async function durable(stand: Stand): Promise<Figure[]> {
  const side = await stand.sessions();
  await side.product.work();
  await side.product.backUp('full'); // the log has a window only behind a backup
  const seconds: number[][] = [];
  const paces: number[] = [];
  for (let round = 1; round <= stand.rounds; round += 1) {
    const { durableSeconds, perSecond } = await underLoad(stand, side);
    seconds.push(durableSeconds);
    paces.push(perSecond);
    const p99 = percentile(durableSeconds, 0.99).toFixed(2);
    stand.say(`  load, round ${round}: ${perSecond.toFixed(0)} commands/s, durable p99 ${p99} s`);
  }
  await side.product.rest();
  const all = seconds.flat();
  const on = `drctl on Redis ${side.server.serverVersion}, ${sizeWords(stand.megabytes)}`;
  return [
    figure({
      name: `acknowledged write to durable in S3 at ${COMMANDS_PER_SECOND} commands/s, p99 (${on})`,
      unit: 's',
      values: seconds.map((each) => percentile(each, 0.99)),
      aim: { valueAtMost: DURABLE_AT_MOST_SECONDS },
      note: `${all.length} writes; median ${percentile(all, 0.5).toFixed(2)} s, worst ${Math.max(...all).toFixed(2)} s`,
    }),
    figure({
      name: `commands that the load came to meanwhile (${on})`,
      unit: 'commands/s',
      values: paces,
      aim: { valueAtLeast: COMMANDS_PER_SECOND * PACE_AT_LEAST },
    }),
  ];
}

async function underLoad({ loadSeconds: seconds }: Stand, { server, archived }: Side) {
  const [ending, over] = [new AbortController(), new AbortController()];
  const writing = independentWrites(server, ending.signal);
  const looking = watchArchived(archived, REACHING, over.signal);
  try {
    const perSecond = await loadBeside(server, seconds);
    ending.abort();
    const written = await writing;
    const last = written.at(-1);
    if (!last) throw new Error('the independent writer wrote nothing');
    const isThere = async () => (looking.newest() ?? 0) >= last.position;
    await waitUntil('the last write being durable', isThere, { deadlineMs: LATE_MILLISECONDS });
    over.abort();
    return { perSecond, durableSeconds: secondsUntilDurable(written, await looking.done, REACHING) };
  } finally {
    ending.abort();
    over.abort();
    await Promise.allSettled([writing, looking.done]);
  }
}

/** In a process of its own: here it would share a thread with the clock that it is measured by. */
async function loadBeside({ host, port, password }: BenchRedis, seconds: number): Promise<number> {
  const program = path.join(projectRoot(), 'dist/bench/redis/paced-load.js');
  const server = { REDIS_HOST: host, REDIS_PORT: `${port}`, REDIS_PASSWORD: password };
  const load = { PER_SECOND: `${COMMANDS_PER_SECOND}`, SECONDS: `${seconds}` };
  const printed = await pipeline([{ argv: [process.execPath, program], env: { ...server, ...load } }]);
  return (JSON.parse(printed) as { perSecond: number }).perSecond;
}

/**
 * On a connection of its own, the question for the offset too: behind a pipeline of the load the answer would be an offset
 * behind all of that pipeline.
 */
async function independentWrites({ client }: BenchRedis, signal: AbortSignal): Promise<At<number>[]> {
  const own = client.duplicate();
  const written: At<number>[] = [];
  try {
    while (!signal.aborted) {
      await own.incr('independent');
      const at = performance.now();
      written.push({ at, position: await streamEnd(own) });
      await delay(WRITE_EVERY_MILLISECONDS, undefined, { signal }).catch(() => undefined);
    }
    return written;
  } finally {
    own.disconnect();
  }
}
