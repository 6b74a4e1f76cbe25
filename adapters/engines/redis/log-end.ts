import type { CallContext } from '../../../core/call';
import type { LogEnd } from '../../../core/engine';
import { failure } from '../../../core/errors';
import { addressOf, type RedisEndpoint, withRedis } from './connection';
import { infoPosition, infoVersion, readInfo } from './info';
import { fenced, isFenced, setMark } from './stream-marks';

/** Behind a mark that is set for it: the archive that has the one covers the instant of the other. */
export async function logEnd(endpoint: RedisEndpoint, site: string, ctx: CallContext): Promise<LogEnd> {
  return withRedis(endpoint, ctx, async (client) => {
    if (await isFenced(client)) throw fenced(endpoint);
    const { markedAt } = await setMark(client);
    const info = await readInfo(client, 'server', 'replication');
    const [position, serverVersion] = [infoPosition(info), infoVersion(info)];
    if (info.get('role') !== 'master' || position === null || serverVersion === null)
      throw failure(
        'TargetUnreachable',
        `Redis at ${addressOf(endpoint)} does not say as a primary where its stream ends`,
      );
    return {
      position,
      // Commands of the mark's own millisecond may still follow it.
      at: new Date(markedAt - 1).toISOString(),
      identity: position.lineage,
      serverVersion,
      source: { site, member: addressOf(endpoint) },
    };
  });
}
