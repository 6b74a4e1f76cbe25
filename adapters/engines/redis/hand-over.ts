import { setTimeout as delay } from 'node:timers/promises';
import type Redis from 'ioredis';
import type { CallContext } from '../../../core/call';
import { failure } from '../../../core/errors';
import type { Following, FollowRequest, HandOver, HandOverRequest } from '../../../core/hand-over';
import { addressOf, type RedisEndpoint, withRedis } from './connection';
import { readEpoch } from './epoch';
import { fenceRedis, rewriteConfig, unfenceRedis } from './fence';
import { infoPosition, readInfo, type RedisInfo } from './info';
import { redisPositions } from './positions';

const POLL_MILLISECONDS = 50;
/** A partial synchronisation takes moments; a full one of a large store goes on by itself and is reported as it is. */
const LINK_MILLISECONDS = 20_000;

/**
 * Writes are refused and clients cut off as for a fence, then the replica has to have applied what the primary had written
 * by then. Not by `FAILOVER`: that promotes within the same command, and until every store of the application has settled
 * each has to be able to go back.
 */
export async function handOverRedis(
  store: string,
  { fromSite, toSite, epoch, withinSeconds }: HandOverRequest,
  endpointOf: (site: string) => RedisEndpoint,
  ctx: CallContext,
): Promise<HandOver> {
  const deadline = Date.now() + withinSeconds * 1_000;
  const [from, to] = [endpointOf(fromSite), endpointOf(toSite)];
  const look = () => withRedis(from, ctx, (primary) => readInfo(primary, 'replication'));
  const role = (await look()).get('role');
  if (role !== 'master')
    throw failure('RoleMismatch', `${store} cannot be handed over: Redis at ${addressOf(from)} is a ${role}`);
  const evidence = await fenceRedis({ store, site: fromSite, epoch }, from, ctx);
  if (evidence.strength === 'none')
    throw failure('TargetUnreachable', `${store} at ${fromSite} cannot hand over: ${evidence.how}`);
  // Commands run one after the other: behind this answer nothing is acknowledged any more.
  const final = infoPosition(await look());
  if (!final) throw failure('TargetUnreachable', `Redis at ${addressOf(from)} does not say its position`);
  return withRedis(to, ctx, async (replica) => {
    for (;;) {
      const info = await readInfo(replica, 'replication');
      const reached = infoPosition(info);
      const same = reached?.lineage === final.lineage && info.get('role') === 'slave';
      if (same && redisPositions.compare(reached, final) >= 0) {
        const how = `writes refused, clients cut off at offset ${final.value}; the replica at ${addressOf(to)} has applied ${reached.value}`;
        return { store, final, reached, at: new Date().toISOString(), how, evidence };
      }
      const seen = same
        ? `has applied ${reached.value} of ${final.value}`
        : `does not follow ${addressOf(from)} (${info.get('role')} of ${reached?.lineage})`;
      if (Date.now() >= deadline) throw failure('HandOverIncomplete', `Redis at ${addressOf(to)} ${seen}`);
      ctx.progress({ phase: 'waiting for the replica', note: seen });
      await delay(POLL_MILLISECONDS, undefined, { signal: ctx.signal });
    }
  });
}

/**
 * `REPLICAOF` the new primary, which throws away what only the old one has: after a hand-over that is nothing, and a new
 * primary of another epoch is refused. The fence goes once it is a replica, which refuses writes by itself.
 */
export async function followRedis(
  store: string,
  { site, primarySite, epoch }: FollowRequest,
  endpointOf: (site: string) => RedisEndpoint,
  ctx: CallContext,
): Promise<Following> {
  const [old, primary] = [endpointOf(site), endpointOf(primarySite)];
  await withRedis(primary, ctx, (client) => requirePrimaryOf(client, epoch, addressOf(primary)));
  return withRedis(old, ctx, async (client) => {
    const noted = (await readEpoch(client)) ?? 0;
    if (noted > epoch)
      throw failure('StaleEpoch', `Redis at ${addressOf(old)} holds epoch ${noted}, this step is of ${epoch}`);
    if (!followsAlready(await readInfo(client, 'replication'), primary))
      await client.call('REPLICAOF', primary.host, primary.port);
    const info = await linked(client, ctx);
    if (info.get('master_link_status') !== 'up') {
      const how = `it was told to follow ${addressOf(primary)} and is not linked yet: see its log (masterauth, network), or wait for its full synchronisation`;
      return { store, site, follows: false, how };
    }
    await unfenceRedis(epoch, old, ctx);
    const kept = (await rewriteConfig(client)) ? '' : '; NOT kept in a config file: a restart makes it a primary again';
    return { store, site, follows: true, how: `it is a replica of ${addressOf(primary)}${kept}` };
  });
}

async function requirePrimaryOf(client: Redis, epoch: number, address: string): Promise<void> {
  const role = (await readInfo(client, 'replication')).get('role');
  const noted = (await readEpoch(client)) ?? 0;
  if (role === 'master' && noted === epoch) return;
  const code = noted > epoch ? 'StaleEpoch' : 'RoleMismatch';
  throw failure(code, `nothing follows Redis at ${address}: it is a ${role} of epoch ${noted}, not of ${epoch}`);
}

const followsAlready = (info: RedisInfo, { host, port }: RedisEndpoint) =>
  info.get('role') === 'slave' && info.get('master_host') === host && info.get('master_port') === `${port}`;

async function linked(client: Redis, ctx: CallContext): Promise<RedisInfo> {
  for (const deadline = Date.now() + LINK_MILLISECONDS; ;) {
    const info = await readInfo(client, 'replication');
    if (info.get('master_link_status') === 'up' || Date.now() >= deadline) return info;
    ctx.progress({ phase: 'waiting for the link to the new primary', note: info.get('master_link_status') ?? '' });
    await delay(POLL_MILLISECONDS, undefined, { signal: ctx.signal });
  }
}
