import type Redis from 'ioredis';
import type { CallContext } from '../../../core/call';
import { failure, findFailure } from '../../../core/errors';
import type { FenceEvidence } from '../../../core/fencing';
import { liftAclFence, readAclFence, saveUsers, setAclFence } from './acl-fence';
import { addressOf, lookAtRedis, type RedisEndpoint, unlessRefused, withRedis } from './connection';
import { EPOCH_KEY, PROBE_KEY } from './epoch';
import { fenceValue, readFenceLevel } from './fence-level';
import { readConfig, readInfo } from './info';

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
 * command. Where `min-replicas-to-write` cannot be set, or would not outlive a restart, the users' rights are taken. Throws StaleEpoch where a newer role change holds the server; for one that does not answer it says `none`.
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
      if (await isReadOnlyReplica(client))
        return evidence('proven', 'it is a read-only replica and refused a write (READONLY)');
      const kept = await setFence(client, epoch);
      if (kept === null) return evidence('none', 'our account may change neither its settings nor its users');
      await client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
      const refusal = await refusedWrite(client);
      if (refusal === null) return evidence('weak', 'it was asked to refuse writes and still accepted one');
      if (refusal === 'NOPERM' && (await readAclFence(client)) === null)
        return evidence('weak', `our account may not write, so that no write could be tried; ${kept.how}`);
      // A fence that a restart lifts proves nothing for later: a site that comes back must stay fenced.
      const strength = kept.lasting ? 'proven' : 'weak';
      return evidence(strength, `a write was refused (${refusal}), clients were cut off; ${kept.how}`);
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
    if (await liftAclFence(client)) await persist(client);
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
  // A fence of an earlier role change goes too: this server was told to serve by a newer one.
  const given = (await liftAclFence(client)) ? 'its users got their rights to write back' : null;
  if (given !== null) await persist(client);
  const current = await minReplicasToWrite(client);
  if (current === 0) return given;
  await setMinReplicas(client, 0);
  const lifted = given === null ? '' : `${given}; `;
  return `${lifted}min-replicas-to-write ${readFenceLevel(current)?.previous ?? current} was set to 0: no replica follows yet`;
}

/** Null where our account may do neither. */
async function setFence(client: Redis, epoch: number): Promise<{ lasting: boolean; how: string } | null> {
  const bySetting = await unlessRefused(() => raiseMinReplicas(client, epoch));
  if (bySetting?.lasting) return { lasting: true, how: 'kept in its config file' };
  const users = await setAclFence(client, epoch);
  if (users === null) {
    const how = 'NOT kept in a config file: a restart of it lifts the fence';
    return bySetting && { lasting: false, how };
  }
  const place = await persist(client);
  const kept = place ? `kept in its ${place}` : 'NOT kept in a file: a restart of it lifts the fence';
  return { lasting: place !== null, how: `its ${users} users lost the write commands (ACL), ${kept}` };
}

async function raiseMinReplicas(client: Redis, epoch: number): Promise<{ lasting: boolean }> {
  const settings = await readConfig(client, 'min-replicas-to-write', 'min-replicas-max-lag');
  const current = Number(settings.get('min-replicas-to-write') ?? 0);
  const inForce = settings.get('min-replicas-max-lag') !== '0';
  const previous = readFenceLevel(current)?.previous ?? (inForce ? current : 0);
  if (!inForce) await client.config('SET', 'min-replicas-max-lag', LAG_SECONDS_IN_USE);
  await setMinReplicas(client, fenceValue({ epoch, previous }));
  return { lasting: await rewriteConfig(client) };
}

/** Users are in the ACL file where the server has one, in its config file otherwise. Null: nowhere that outlives a restart. */
async function persist(client: Redis): Promise<string | null> {
  if (await saveUsers(client)) return 'ACL file';
  return (await rewriteConfig(client)) ? 'config file' : null;
}

async function isReadOnlyReplica(client: Redis): Promise<boolean> {
  const refusal = await refusedWrite(client);
  if (refusal !== 'NOPERM') return refusal === 'READONLY';
  // Rights are looked at before roles are: whose users are fenced already does not say the other.
  const info = await readInfo(client, 'replication');
  return info.get('role') === 'slave' && info.get('slave_read_only') === '1';
}

async function refuseStale(client: Redis, address: string, epoch: number): Promise<void> {
  const noted = Number((await client.get(EPOCH_KEY)) ?? 0);
  const fenced = readFenceLevel(await minReplicasToWrite(client))?.epoch ?? 0;
  const newest = Math.max(noted, fenced, (await readAclFence(client)) ?? 0);
  if (newest > epoch)
    throw failure('StaleEpoch', `Redis at ${address} is held by epoch ${newest}, this step is of ${epoch}`);
}

/** The class of the refusal, null when the write was accepted. */
async function refusedWrite(client: Redis): Promise<'NOREPLICAS' | 'READONLY' | 'NOPERM' | null> {
  try {
    await client.set(PROBE_KEY, 'fence');
    return null;
  } catch (error) {
    const refusal = /^(NOREPLICAS|READONLY|NOPERM)/.exec((error as Error).message)?.[1];
    if (refusal === undefined) throw error;
    return refusal as 'NOREPLICAS' | 'READONLY' | 'NOPERM';
  }
}

/** 0 where our account may not ask: then it cannot have fenced it so. */
async function minReplicasToWrite(client: Redis): Promise<number> {
  const settings = await unlessRefused(() => readConfig(client, 'min-replicas-to-write'));
  return Number(settings?.get('min-replicas-to-write') ?? 0);
}

const setMinReplicas = (client: Redis, value: number) => client.config('SET', 'min-replicas-to-write', `${value}`);

/** False where the server has no config file of its own, or may not write it. */
export async function rewriteConfig(client: Redis): Promise<boolean> {
  return (await unlessRefused(() => client.config('REWRITE'))) !== null;
}
