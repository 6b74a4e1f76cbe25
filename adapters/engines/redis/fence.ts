import type Redis from 'ioredis';
import type { CallContext } from '../../../core/call';
import { failure, findFailure } from '../../../core/errors';
import type { FenceEvidence } from '../../../core/fencing';
import { addressOf, isNativeError, lookAtRedis, type RedisEndpoint, withRedis } from './connection';
import { EPOCH_KEY, PROBE_KEY } from './epoch';
import { fenceValue, readFenceLevel } from './fence-level';
import { readConfig } from './info';

/** A lag of 0 switches `min-replicas-to-write` off altogether (config.c, `refreshGoodSlavesCount`). */
const LAG_SECONDS_IN_USE = '10';

/** Half a dozen small commands and one config file written; a silent server must not hold up the fences of others. */
const FENCE_MILLISECONDS = 6_000;

export interface FenceRequest {
  readonly store: string;
  readonly site: string;
  readonly epoch: number;
}

/**
 * Makes the server refuse writes and sees one refused. Existing clients are cut off, so that none waits inside a blocking
 * command. Throws StaleEpoch where a newer role change holds the server; for one that does not answer it says `none`.
 */
export async function fenceRedis(
  { store, site, epoch }: FenceRequest,
  endpoint: RedisEndpoint,
  ctx: CallContext,
): Promise<FenceEvidence> {
  const address = addressOf(endpoint);
  const evidence = (strength: FenceEvidence['strength'], how: string): FenceEvidence => ({
    strength,
    site,
    stores: [store],
    epoch,
    at: new Date().toISOString(),
    how: `Redis at ${address}: ${how}`,
    by: 'redis engine',
  });
  try {
    const fence = async (client: Redis): Promise<FenceEvidence> => {
      await refuseStale(client, address, epoch);
      const before = await refusedWrite(client);
      if (before === 'READONLY') return evidence('proven', 'it is a read-only replica and refused a write (READONLY)');
      const { lasting } = await setFence(client, epoch);
      await client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
      const refusal = await refusedWrite(client);
      if (refusal === null) return evidence('weak', 'it was asked to refuse writes and still accepted one');
      const kept = lasting ? 'kept in its config file' : 'NOT kept in a config file: a restart of it lifts the fence';
      // A fence that a restart lifts proves nothing for later: a site that comes back must stay fenced.
      return evidence(lasting ? 'proven' : 'weak', `a write was refused (${refusal}), clients were cut off; ${kept}`);
    };
    return await lookAtRedis(endpoint, ctx, fence, FENCE_MILLISECONDS);
  } catch (error) {
    const known = findFailure(error);
    if (known?.code === 'StaleEpoch') throw error;
    ctx.signal.throwIfAborted();
    // Saying no is the answer here: a server that cannot be fenced by its own means is fenced by others.
    return evidence('none', `not fenced: ${(error as Error).message}`);
  }
}

/** Puts back what `fenceRedis` changed; does nothing where there is no fence. */
export async function unfenceRedis(epoch: number, endpoint: RedisEndpoint, ctx: CallContext): Promise<void> {
  await withRedis(endpoint, ctx, async (client) => {
    await refuseStale(client, addressOf(endpoint), epoch);
    const fence = readFenceLevel(await minReplicasToWrite(client));
    if (!fence) return;
    await setMinReplicas(client, fence.previous);
    await rewriteConfig(client);
    const now = await minReplicasToWrite(client);
    if (now === fence.previous) return;
    throw failure('TargetUnreachable', `Redis at ${addressOf(endpoint)} keeps min-replicas-to-write ${now}`);
  });
}

/** Lifts whatever would make a lone new primary refuse writes, and says what it was. */
export async function allowWritesAlone(client: Redis): Promise<string | null> {
  const current = await minReplicasToWrite(client);
  if (current === 0) return null;
  // A fence of an earlier role change goes too: this server was told to serve by a newer one.
  await setMinReplicas(client, 0);
  return `min-replicas-to-write ${readFenceLevel(current)?.previous ?? current} was set to 0: no replica follows yet`;
}

async function setFence(client: Redis, epoch: number): Promise<{ lasting: boolean }> {
  const settings = await readConfig(client, 'min-replicas-to-write', 'min-replicas-max-lag');
  const current = Number(settings.get('min-replicas-to-write') ?? 0);
  const inForce = settings.get('min-replicas-max-lag') !== '0';
  const previous = readFenceLevel(current)?.previous ?? (inForce ? current : 0);
  if (!inForce) await client.config('SET', 'min-replicas-max-lag', LAG_SECONDS_IN_USE);
  await setMinReplicas(client, fenceValue({ epoch, previous }));
  return { lasting: await rewriteConfig(client) };
}

async function refuseStale(client: Redis, address: string, epoch: number): Promise<void> {
  const noted = Number((await client.get(EPOCH_KEY)) ?? 0);
  const fenced = readFenceLevel(await minReplicasToWrite(client))?.epoch ?? 0;
  const newest = Math.max(noted, fenced);
  if (newest > epoch)
    throw failure('StaleEpoch', `Redis at ${address} is held by epoch ${newest}, this step is of ${epoch}`);
}

/** The class of the refusal, null when the write was accepted. */
async function refusedWrite(client: Redis): Promise<'NOREPLICAS' | 'READONLY' | null> {
  try {
    await client.set(PROBE_KEY, 'fence');
    return null;
  } catch (error) {
    const refusal = /^(NOREPLICAS|READONLY)/.exec((error as Error).message)?.[1];
    if (refusal === undefined) throw error;
    return refusal as 'NOREPLICAS' | 'READONLY';
  }
}

async function minReplicasToWrite(client: Redis): Promise<number> {
  return Number((await readConfig(client, 'min-replicas-to-write')).get('min-replicas-to-write') ?? 0);
}

const setMinReplicas = (client: Redis, value: number) => client.config('SET', 'min-replicas-to-write', `${value}`);

/** False where the server has no config file of its own, or may not write it. */
export async function rewriteConfig(client: Redis): Promise<boolean> {
  try {
    await client.config('REWRITE');
    return true;
  } catch (error) {
    if (isNativeError(error) && error.name === 'ReplyError') return false;
    throw error;
  }
}
