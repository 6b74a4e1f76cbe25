import { setTimeout as delay } from 'node:timers/promises';
import type { Timestamp } from 'mongodb';
import { optimeFrom } from '../../../adapters/engines/mongodb/oplog';
import type { Optime } from '../../../adapters/engines/mongodb/positions';
import { waitUntil } from '../../../lab/servers/process';
import { type At, secondsUntilDurable, watchArchived } from '../../archived-log';
import { figure, type Figure, median, percentile } from '../../figure';
import { sizeWords } from '../../parts';
import { applicationWrites, fullSpeedWrites, pacedWrites } from '../load';
import { REACHING, type Side } from '../product';
import { DATABASE, type ReplicaSet } from '../replica-set';
import type { Stand } from '../stand';

const WRITES_PER_SECOND = 500;
const DURABLE_AT_MOST_SECONDS = 2;
const THROUGHPUT_AT_LEAST = 0.95;
const CLIENTS = 16;
/** The first seconds open connections and fill caches. */
const WARM_UP_SECONDS = 3;
/** The independent writer writes this often. */
const WRITE_EVERY_MILLISECONDS = 50;
/** Anything that is not durable this long after the load is lost: the measurement fails. */
const LATE_MILLISECONDS = 60_000;

/**
 * Acknowledged to durable: beside 500 writes/s an independent writer notes when a majority acknowledged each of its own, and
 * its optime; it counts as durable when a listing of S3 shows a piece that reaches it. In other rounds nothing archives: what
 * archiving costs the primary is between the two.
 */
export async function durable(stand: Stand): Promise<Figure[]> {
  const side = await stand.mixed();
  const { set, product } = side;
  await product.work();
  await product.backUp('full'); // the log has a window only behind a backup
  const rounds = {
    on: { p95: [] as number[], perSecond: [] as number[] },
    off: { p95: [] as number[], perSecond: [] as number[] },
  };
  const seconds: number[][] = [];
  for (let round = 1; round <= stand.rounds; round += 1) {
    // Which comes first changes, so that what grows over time falls on both.
    for (const archiving of round % 2 === 1 ? [false, true] : [true, false]) {
      if (archiving) await product.work();
      else await product.rest();
      await set.settled();
      const load = await underLoad(stand, side, archiving);
      const into = rounds[archiving ? 'on' : 'off'];
      into.p95.push(load.p95Milliseconds);
      into.perSecond.push(load.fullSpeedPerSecond);
      if (archiving) seconds.push(load.durableSeconds);
      const lag = archiving ? `, durable p99 ${percentile(load.durableSeconds, 0.99).toFixed(2)} s` : '';
      stand.say(
        `  load, round ${round}, archiving ${archiving ? 'on' : 'off'}: p95 ${load.p95Milliseconds.toFixed(2)} ms, ` +
          `at full speed ${load.fullSpeedPerSecond.toFixed(0)} writes/s${lag}`,
      );
    }
  }
  await product.rest();
  const on = `drctl on MongoDB ${set.serverVersion}, ${sizeWords(stand.megabytes)}`;
  const load = `${WRITES_PER_SECOND} writes/s`;
  const peer = 'the same without an archiver';
  return [
    figure({
      name: `acknowledged write to durable in S3 at ${load}, p99 (${on})`,
      unit: 's',
      values: seconds.map((each) => percentile(each, 0.99)),
      aim: { valueAtMost: DURABLE_AT_MOST_SECONDS },
      note: `${seconds.flat().length} writes; median ${median(seconds.flat()).toFixed(2)} s, worst ${Math.max(...seconds.flat()).toFixed(2)} s`,
    }),
    figure({
      name: `latency of the primary at ${load}, p95 while archiving (${on})`,
      unit: 'ms',
      values: rounds.on.p95,
      peer: { name: peer, values: rounds.off.p95 },
    }),
    figure({
      name: `throughput of the primary, ${CLIENTS} clients at full speed while archiving (${on})`,
      unit: 'writes/s',
      values: rounds.on.perSecond,
      peer: { name: peer, values: rounds.off.perSecond },
      aim: { ratioAtLeast: THROUGHPUT_AT_LEAST },
      note: 'the worker shares its cores with both members, Temporal, S3 and the clients',
    }),
  ];
}

async function underLoad({ loadSeconds: seconds }: Stand, { set, archived }: Side, archiving: boolean) {
  const [ending, over] = [new AbortController(), new AbortController()];
  const write = await applicationWrites(set.client);
  const writing = independentWrites(set, ending.signal);
  // In rounds without an archiver too, so that both bear it.
  const looking = watchArchived(archived, REACHING, over.signal);
  try {
    const load = { perSecond: WRITES_PER_SECOND, seconds, warmUpSeconds: WARM_UP_SECONDS, clients: CLIENTS };
    const latencies = await pacedWrites(write, load);
    ending.abort();
    const written = await writing.done;
    const last = written.at(-1);
    if (!last) throw new Error('the independent writer wrote nothing');
    if (archiving) {
      const isThere = async () => {
        const newest = looking.newest();
        return newest !== null && REACHING.compare(newest, last.position) >= 0;
      };
      await waitUntil('the last write being durable', isThere, { deadlineMs: LATE_MILLISECONDS });
    }
    over.abort();
    const seen = await looking.done;
    return {
      p95Milliseconds: percentile(latencies, 0.95),
      durableSeconds: archiving ? secondsUntilDurable(written, seen, REACHING) : [],
      fullSpeedPerSecond: await fullSpeedWrites(write, { seconds: seconds / 2, clients: CLIENTS }),
    };
  } finally {
    ending.abort();
    over.abort();
    await Promise.allSettled([writing.done, looking.done]);
  }
}

function independentWrites({ client }: ReplicaSet, signal: AbortSignal): { readonly done: Promise<At<Optime>[]> } {
  const written: At<Optime>[] = [];
  const done = client.withSession(async (session) => {
    const into = client.db(DATABASE).collection('independent');
    while (!signal.aborted) {
      await into.insertOne({ at: new Date() }, { session, writeConcern: { w: 'majority' } });
      // Of a write the session's operation time is its optime.
      written.push({ at: performance.now(), position: optimeFrom(session.operationTime as Timestamp) });
      await delay(WRITE_EVERY_MILLISECONDS, undefined, { signal }).catch(() => undefined);
    }
    return written;
  });
  done.catch(() => undefined); // awaited where the load ends
  return { done };
}
