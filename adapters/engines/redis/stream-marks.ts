import { setTimeout as delay } from 'node:timers/promises';
import type Redis from 'ioredis';
import type { CallContext } from '../../../core/call';
import { failure, reasonOf } from '../../../core/errors';
import { readAclFence } from './acl-fence';
import type { ScannedCommand } from './command-scanner';
import { addressOf, type RedisEndpoint, unlessRefused, withRedis } from './connection';
import { readFenceLevel } from './fence-level';
import { readConfig } from './info';

/** Ours among the channels. Nobody has to listen: what is published goes to the replicas, and no key is written. */
export const MARK_CHANNEL = 'drctl:mark';

/**
 * Puts the server's own time into the replication stream, as one command: everything before it in the stream was executed
 * at or before that instant, everything behind it not before.
 */
const MARK = `
local time = redis.call('TIME')
local milliseconds = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('PUBLISH', '${MARK_CHANNEL}', string.format('%.0f', milliseconds))
return string.format('%.0f', milliseconds)`;

export interface SetMark {
  /** The server's time in milliseconds, which the stream now has as well. */
  readonly markedAt: number;
  /** How far its clock is ahead of ours; half the round trip is the usual estimate. */
  readonly clockAhead: number;
}

export async function setMark(client: Redis): Promise<SetMark> {
  const before = Date.now();
  const markedAt = Number(await client.eval(MARK, 0));
  return { markedAt, clockAhead: markedAt - (before + Date.now()) / 2 };
}

/** The time of a mark; null for every other command. */
export function markOf({ name, words }: Pick<ScannedCommand, 'name' | 'words'>): number | null {
  if (name !== 'PUBLISH' || words[1] !== MARK_CHANNEL) return null;
  const at = words[2] ?? '';
  return /^\d{13,15}$/.test(at) ? Number(at) : null;
}

/** Has the stream name the selected database: of marks in two databases, one is in another than was selected before. */
export async function markDatabases(client: Redis): Promise<void> {
  for (const database of [1, 0]) {
    await client.select(database);
    await setMark(client);
  }
}

/** The stream of such a server need not ever name it. Where it does not say, it has the usual sixteen. */
export async function hasOneDatabase(client: Redis): Promise<boolean> {
  return (await unlessRefused(() => client.config('GET', 'databases')))?.[1] === '1';
}

export interface StreamMarks {
  /** How far the server's clock is ahead of ours, in milliseconds. */
  clockAhead(): number;
  /** Why the last one failed, null when it did not. */
  problem(): string | null;
  /** A role change has fenced the server: it is to go no further, not by a mark either. */
  isFenced(): boolean;
  stop(): Promise<void>;
}

/** Marks at this pace, on a connection of their own. A failed one is told and not thrown: the stream is archived without it. */
export function startMarks(
  endpoint: RedisEndpoint,
  everyMilliseconds: number,
  clockAhead: number,
  ctx: CallContext,
): StreamMarks {
  const stopped = new AbortController();
  const signal = AbortSignal.any([stopped.signal, ctx.signal]);
  let [ahead, problem]: [number, string | null] = [clockAhead, null];
  const fence = { isSet: false };
  const pause = () => delay(everyMilliseconds, undefined, { signal }).catch(() => {});
  const marking = async (client: Redis) => {
    for (; !signal.aborted; await pause()) {
      fence.isSet = await isFenced(client);
      if (fence.isSet) return;
      ahead = (await setMark(client)).clockAhead;
      problem = null;
    }
  };
  const run = async () => {
    for (; !signal.aborted && !fence.isSet; await pause()) {
      await withRedis(endpoint, { ...ctx, signal }, marking).catch((error: unknown) => {
        if (signal.aborted) return;
        // The covered range just stops growing, which the status shows; the stream itself is archived all the same.
        problem = `no time is marked in the stream: ${reasonOf(error)}`;
        ctx.log.warn({ problem }, 'a mark was not set');
      });
    }
  };
  const running = run();
  return {
    clockAhead: () => ahead,
    problem: () => problem,
    isFenced: () => fence.isSet,
    async stop() {
      stopped.abort();
      await running;
    },
  };
}

/** By its setting or by the rights of its users (fence.ts). */
export async function isFenced(client: Redis): Promise<boolean> {
  const settings = await unlessRefused(() => readConfig(client, 'min-replicas-to-write'));
  if (readFenceLevel(Number(settings?.get('min-replicas-to-write') ?? 0))) return true;
  return (await readAclFence(client)) !== null;
}

/** What a fenced server's log comes to. */
export function fenced(endpoint: RedisEndpoint): Error {
  return failure(
    'TargetUnreachable',
    `Redis at ${addressOf(endpoint)} is fenced by a role change: what it wrote before is archived`,
    { next: 'Nothing has to be done: the log goes on at the new primary, or when the fence is lifted.' },
  );
}
