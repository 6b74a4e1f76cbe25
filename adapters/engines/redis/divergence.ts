import type { CallContext } from '../../../core/call';
import type { Divergence } from '../../../core/divergence';
import { failure } from '../../../core/errors';
import { addressOf, lookAtRedis, type RedisEndpoint } from './connection';
import { infoPosition, readInfo } from './info';
import { redisPosition } from './positions';

/**
 * A promoted replica keeps its old primary's replication id and the offset at which it left it (`master_replid2`,
 * `second_repl_offset`). An old primary that was restarted has another id: then nothing can be told.
 */
export async function divergenceOf(
  store: string,
  { from, to }: { readonly from: RedisEndpoint; readonly to: RedisEndpoint },
  ctx: CallContext,
): Promise<Divergence> {
  const look = (endpoint: RedisEndpoint) => lookAtRedis(endpoint, ctx, (client) => readInfo(client, 'replication'));
  const [old, now] = await Promise.all([look(from), look(to)]);
  const [before, after] = [`Redis at ${addressOf(from)}`, `Redis at ${addressOf(to)}`];
  const cannot = (why: string) => failure('RoleMismatch', `what ${store} has lost cannot be read: ${why}`);
  if (now.get('role') !== 'master') throw cannot(`${after} is a replica`);
  if (old.get('role') !== 'master') throw cannot(`${before} is a replica: what it had of its own is gone`);
  const end = infoPosition(old);
  // One more than what it had applied (replication.c, shiftReplicationId).
  const fork = Number(now.get('second_repl_offset')) - 1;
  if (!end || now.get('master_replid2') !== end.lineage || !(fork >= 0))
    throw cannot(`${after} did not begin where ${before} was, or one of the two was restarted since`);
  return {
    store,
    fork: redisPosition(end.lineage, fork),
    end,
    bytes: Math.max(0, Number(end.value) - fork),
    // The stream is not kept: offsets alone say nothing of commands and times.
    operations: null,
    seconds: null,
    how: `${after} left the stream of ${before} at offset ${fork}, which has written up to ${end.value}`,
  };
}
