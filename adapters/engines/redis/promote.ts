import type Redis from 'ioredis';
import { setTimeout as delay } from 'node:timers/promises';
import type { CallContext } from '../../../core/call';
import type { PromoteRequest, PromoteResult } from '../../../core/roles';
import { failure } from '../../../core/errors';
import { unfencedStores } from '../../../core/fencing';
import { addressOf, lookAtRedis, type RedisEndpoint, withRedis } from './connection';
import { raiseEpoch, readEpoch } from './epoch';
import { allowWritesAlone, rewriteConfig } from './fence';
import { databasesWithKeys, infoPosition, readInfo, type RedisInfo } from './info';

/** The role changes inside the command (replication.c `replicationUnsetMaster`); this is for a server that is busy. */
const ROLE_DEADLINE_MILLISECONDS = 10_000;

/** Ends the replica's following, makes it writable and notes the epoch. May be repeated at any point. */
export async function promoteRedis(
  store: string,
  request: PromoteRequest,
  endpoint: RedisEndpoint,
  ctx: CallContext,
): Promise<PromoteResult> {
  const { site, epoch } = request;
  const address = addressOf(endpoint);
  if (unfencedStores([store], request.evidence, { epoch, promotedSite: site }).length > 0) {
    throw failure(
      'FencingUnconfirmed',
      `promotion of ${store} at ${site} (${address}): nothing proves that the old primary is fenced`,
    );
  }
  return withRedis(endpoint, ctx, async (client) => {
    const noted = (await readEpoch(client)) ?? 0;
    if (noted > epoch)
      throw failure('StaleEpoch', `Redis at ${address} holds epoch ${noted}, this step is of ${epoch}`);
    const before = await readInfo(client, 'replication', 'keyspace', 'persistence');
    const already = before.get('role') === 'master' && noted === epoch;
    if (before.get('role') !== 'master') {
      requireWholeCopy(before, address);
      await client.call('REPLICAOF', 'NO', 'ONE');
    }
    const info = await becomesPrimary(client, address, ctx);
    const lifted = await allowWritesAlone(client);
    if (lifted !== null) ctx.log.warn({ store, site }, lifted);
    await raiseEpoch(client, epoch, address);
    if (!(await rewriteConfig(client))) {
      ctx.log.warn(
        { store, site },
        'Redis has no config file to write: after a restart it follows the old primary again',
      );
    }
    const position = infoPosition(info);
    if (!position) throw failure('PromotionFailed', `Redis at ${address} does not say its position`);
    return { site, position, promotedAt: new Date().toISOString(), already };
  });
}

/** A replica in the middle of a first copy holds nothing, or a part: promoting it would lose everything. */
function requireWholeCopy(info: RedisInfo, address: string): void {
  const why = whyNoWholeCopy(info);
  if (why === null) return;
  throw failure('PromotionFailed', `Redis at ${address} is not promoted: ${why}`, {
    data: 'Nothing was promoted; this replica does not hold a whole copy.',
  });
}

function whyNoWholeCopy(info: RedisInfo): string | null {
  if (info.get('loading') === '1' || info.get('async_loading') === '1') return 'it is loading its data';
  if (info.get('master_sync_in_progress') === '1') return 'a full synchronisation from the old primary is under way';
  const neverLinked = info.get('master_link_status') !== 'up' && info.get('master_link_down_since_seconds') === '-1';
  const empty = databasesWithKeys(info).length === 0 && Number(info.get('slave_repl_offset') ?? 0) <= 1;
  return neverLinked && empty ? 'it has never received a copy of its primary' : null;
}

/** What would keep `promoteRedis` from succeeding now. */
export async function redisPromotionObstacles(endpoint: RedisEndpoint, ctx: CallContext): Promise<string[]> {
  return lookAtRedis(endpoint, ctx, async (client) => {
    const incomplete = whyNoWholeCopy(await readInfo(client, 'replication', 'keyspace', 'persistence'));
    const account = String(await client.call('ACL', 'WHOAMI'));
    // Answers OK, or in a sentence why not; the command itself is not carried out.
    const answer = String(await client.call('ACL', 'DRYRUN', account, 'REPLICAOF', 'NO', 'ONE'));
    return [...(incomplete === null ? [] : [incomplete]), ...(answer === 'OK' ? [] : [answer])];
  });
}

async function becomesPrimary(client: Redis, address: string, ctx: CallContext): Promise<RedisInfo> {
  const deadline = Date.now() + ROLE_DEADLINE_MILLISECONDS;
  for (;;) {
    const info = await readInfo(client, 'replication');
    if (info.get('role') === 'master') return info;
    if (Date.now() > deadline) throw failure('PromotionFailed', `Redis at ${address} still says that it is a replica`);
    await delay(50, undefined, { signal: ctx.signal });
  }
}
