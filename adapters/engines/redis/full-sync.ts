import type { CallContext } from '../../../core/call';
import type { RedisEndpoint } from './connection';
import { redisPosition, type RedisPosition } from './positions';
import { receiveRdb } from './rdb-stream';
import { refusal, requireOk, withReplicaLink } from './replica-link';

export interface FullSync {
  /** Where the replication stream continues behind this RDB. */
  readonly position: RedisPosition;
  readonly rdb: AsyncGenerator<Buffer, void, undefined>;
}

/**
 * Takes a full synchronisation as a replica would. `PSYNC ? -1` and not `SYNC`, because only it answers with the position;
 * `rdb-only 1`, so that the server keeps no stream of changes for us while the RDB is on its way (no output buffer to
 * overflow, however slow the repository). The connection ends with `use`.
 */
export async function withFullSync<T>(
  endpoint: RedisEndpoint,
  ctx: CallContext,
  use: (sync: FullSync) => Promise<T>,
): Promise<T> {
  return withReplicaLink(endpoint, ctx, async (link) => {
    await requireOk(link, 'REPLCONF', 'capa', 'eof', 'capa', 'psync2');
    await requireOk(link, 'REPLCONF', 'rdb-only', '1');
    const answer = await link.ask('PSYNC', '?', '-1');
    const [, replicationId, offset] = /^\+FULLRESYNC ([0-9a-f]{40}) (\d+)$/.exec(answer) ?? [];
    if (!replicationId || !offset) throw refusal(answer, link.peer);
    return use({ position: redisPosition(replicationId, offset), rdb: receiveRdb(link.reader, link.peer) });
  });
}
