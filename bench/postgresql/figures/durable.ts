import * as fs from 'node:fs';
import * as path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { inPostgres } from '../../../lab/servers/postgresql-client';
import { runToEnd, serverFolder, waitUntil } from '../../../lab/servers/process';
import { figure, type Figure, median, percentile } from '../../figure';
import { sizeWords } from '../../parts';
import type { Cluster } from '../cluster';
import { STORE } from '../../product';
import { type Side, SLOT } from '../product';
import { loginAt } from '../restored-copy';
import type { Stand } from '../stand';

const TRANSACTIONS_PER_SECOND = 500;
const DURABLE_AT_MOST_SECONDS = 2;
const LATENCY_GROWTH_AT_MOST = 1.1;
const CLIENTS = 8;
/** The first seconds open connections and fill caches. */
const WARM_UP_SECONDS = 5;
/** The independent writer commits this often, and how far the log is durable is looked at this often. */
const COMMIT_EVERY_MILLISECONDS = 50;
const LOOK_EVERY_MILLISECONDS = 20;
/** Anything that is not durable this long after the load is lost: the measurement fails. */
const LATE_MILLISECONDS = 60_000;

/**
 * Commit to durable: an independent writer notes each of its commits with the time of its acknowledgement and a position
 * behind it; it counts as durable when the archiver has confirmed that position to the server, which it does only after
 * S3 has acknowledged the object. In other rounds nothing archives: what archiving costs the primary is between the two.
 */
export async function durable(stand: Stand): Promise<Figure[]> {
  const side = await stand.on18();
  const { cluster, product } = side;
  await stand.ourChain(); // the log has a window only behind a backup
  await cluster.query('CREATE TABLE IF NOT EXISTS independent (id bigserial PRIMARY KEY, at timestamptz NOT NULL)');
  const rounds = { on: [] as number[], off: [] as number[], durable: [] as number[][] };
  for (let round = 1; round <= stand.rounds; round += 1) {
    // Which comes first changes, so that what grows over time falls on both.
    for (const archiving of round % 2 === 1 ? [false, true] : [true, false]) {
      if (archiving) await product.work();
      else await product.rest();
      await cluster.query('CHECKPOINT');
      const load = await underLoad(stand, cluster, archiving);
      rounds[archiving ? 'on' : 'off'].push(load.p95Milliseconds);
      if (archiving) {
        await provenInS3(side, load.lastCommitAt);
        rounds.durable.push(load.durableSeconds);
      }
      const lag = archiving ? `, durable p99 ${percentile(load.durableSeconds, 0.99).toFixed(2)} s` : '';
      stand.say(
        `  load, round ${round}, archiving ${archiving ? 'on' : 'off'}: p95 ${load.p95Milliseconds.toFixed(2)} ms, ` +
          `${load.perSecond.toFixed(0)} transactions/s${lag}`,
      );
    }
  }
  await product.rest();
  const on = `drctl on PostgreSQL ${cluster.version.number}, ${sizeWords(stand.megabytes)}`;
  const load = `${TRANSACTIONS_PER_SECOND} transactions/s`;
  const counted = rounds.durable.reduce((sum, each) => sum + each.length, 0);
  return [
    figure({
      name: `commit to durable in S3 at ${load}, p99 (${on})`,
      unit: 's',
      values: rounds.durable.map((each) => percentile(each, 0.99)),
      aim: { valueAtMost: DURABLE_AT_MOST_SECONDS },
      note: `${counted} commits; median ${median(rounds.durable.flat()).toFixed(2)} s, worst ${Math.max(...rounds.durable.flat()).toFixed(2)} s`,
    }),
    figure({
      name: `latency of the primary at ${load}, p95 while archiving (${on})`,
      unit: 'ms',
      values: rounds.on,
      peer: { name: 'the same without an archiver', values: rounds.off },
      aim: { ratioAtMost: LATENCY_GROWTH_AT_MOST },
    }),
  ];
}

interface Load {
  readonly p95Milliseconds: number;
  readonly perSecond: number;
  /** Of every commit of the independent writer. */
  readonly durableSeconds: number[];
  readonly lastCommitAt: Date;
}

async function underLoad({ rig, loadSeconds }: Stand, cluster: Cluster, archiving: boolean): Promise<Load> {
  const folder = serverFolder(path.join(rig.folder, 'pgbench'));
  const [ending, over] = [new AbortController(), new AbortController()];
  const writing = commits(cluster, ending.signal);
  const looking = positions(cluster, over.signal);
  const seconds = loadSeconds + WARM_UP_SECONDS;
  try {
    const options = ['-n', '-c', `${CLIENTS}`, '-j', '1', '-T', `${seconds}`, '-R', `${TRANSACTIONS_PER_SECOND}`];
    const argv = [cluster.program('pgbench'), ...options, '--log', '--log-prefix=latency', 'postgres'];
    await runToEnd(
      { argv, env: cluster.environment, cwd: folder, unprivileged: true },
      { deadlineMs: 2_000 * seconds + LATE_MILLISECONDS },
    );
    ending.abort();
    const written = await writing.done;
    const last = written.at(-1);
    if (!last) throw new Error('the independent writer committed nothing');
    if (archiving) {
      await waitUntil('the last commit being durable', async () => looking.newest() >= last.lsn, {
        deadlineMs: LATE_MILLISECONDS,
      });
    }
    over.abort();
    const seen = await looking.done;
    const latencies = readLatencies(folder);
    return {
      p95Milliseconds: percentile(latencies, 0.95),
      perSecond: latencies.length / loadSeconds,
      durableSeconds: archiving ? written.map((commit) => secondsUntil(commit, seen)) : [],
      lastCommitAt: last.committedAt,
    };
  } finally {
    ending.abort();
    over.abort();
    await Promise.allSettled([writing.done, looking.done]);
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

interface Commit {
  /** When it was acknowledged, by performance.now and by the clock. */
  readonly at: number;
  readonly committedAt: Date;
  /** Not before the end of its commit record. */
  readonly lsn: bigint;
}

interface Seen {
  readonly at: number;
  readonly lsn: bigint;
}

function commits(cluster: Cluster, signal: AbortSignal): { readonly done: Promise<Commit[]> } {
  const written: Commit[] = [];
  const done = inPostgres(loginAt(cluster, cluster.port), async (client) => {
    while (!signal.aborted) {
      await client.query('INSERT INTO independent (at) VALUES (clock_timestamp())');
      const [at, committedAt] = [performance.now(), new Date()];
      const { rows } = await client.query('SELECT pg_current_wal_insert_lsn()::text AS lsn');
      written.push({ at, committedAt, lsn: lsnOf((rows[0] as { lsn: string }).lsn) });
      await delay(COMMIT_EVERY_MILLISECONDS, undefined, { signal }).catch(() => undefined);
    }
    return written;
  });
  done.catch(() => undefined); // awaited where the load ends
  return { done };
}

/** How far the archiver has said that the log is durable, over time; asked in rounds without one too, so that both bear it. */
function positions(
  cluster: Cluster,
  signal: AbortSignal,
): { readonly done: Promise<Seen[]>; readonly newest: () => bigint } {
  const seen: Seen[] = [];
  const done = inPostgres(loginAt(cluster, cluster.port), async (client) => {
    while (!signal.aborted) {
      const { rows } = await client.query(
        `SELECT r.flush_lsn::text AS lsn FROM pg_stat_replication r
         JOIN pg_replication_slots s ON s.active_pid = r.pid WHERE s.slot_name = $1`,
        [SLOT],
      );
      const lsn = (rows[0] as { lsn: string | null } | undefined)?.lsn;
      const newest = seen.at(-1)?.lsn ?? 0n;
      if (lsn && lsnOf(lsn) > newest) seen.push({ at: performance.now(), lsn: lsnOf(lsn) });
      await delay(LOOK_EVERY_MILLISECONDS, undefined, { signal }).catch(() => undefined);
    }
    return seen;
  });
  done.catch(() => undefined); // awaited where the load ends
  return { done, newest: () => seen.at(-1)?.lsn ?? 0n };
}

function secondsUntil({ at, lsn }: Commit, seen: readonly Seen[]): number {
  const covered = seen.find((each) => each.lsn >= lsn);
  if (!covered) throw new Error(`nothing was seen to cover ${lsn}`);
  return Math.max(0, covered.at - at) / 1_000;
}

/** What the archiver says to the server is also what somebody else finds in S3. */
async function provenInS3({ product }: Side, committedAt: Date): Promise<void> {
  await waitUntil(
    'S3 holding the log to the last commit',
    async () => {
      const [status] = await product.drctl<{ windows: { to: string }[] }[]>('log', 'status', STORE);
      return Date.parse(status?.windows.at(-1)?.to ?? '') >= committedAt.getTime();
    },
    { deadlineMs: LATE_MILLISECONDS, intervalMs: 1_000 },
  );
}

/** In milliseconds, from the moment a transaction was due (pgbench documentation, "Per-Transaction Logging"). */
function readLatencies(folder: string): number[] {
  const lines = fs
    .readdirSync(folder)
    .filter((file) => file.startsWith('latency.'))
    .flatMap((file) => fs.readFileSync(path.join(folder, file), 'utf8').trim().split('\n'));
  const rows = lines.map((line) => line.split(' '));
  const secondOf = (row: readonly string[]) => Number(row[4]);
  const first = rows.reduce((least, row) => Math.min(least, secondOf(row)), Infinity);
  const measured = rows.filter((row) => secondOf(row) >= first + WARM_UP_SECONDS);
  if (measured.length === 0) throw new Error('pgbench logged no transactions');
  return measured.map((row) => Number(row[2]) / 1_000);
}

function lsnOf(text: string): bigint {
  const [high = '0', low = '0'] = text.split('/');
  return (BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`);
}
