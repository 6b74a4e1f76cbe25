import type { CallContext } from '../../../core/call';
import { failure } from '../../../core/errors';
import type { StoreEnd } from '../../../core/fencing';
import type { Position } from '../../../core/positions';
import { addressOf, withClient } from './connection';
import { replayedUntil } from './hand-over';
import { parseLsn, positionAt } from './lsn';
import { readFacts } from './server-facts';
import type { PostgresqlSite } from './settings';

/**
 * A primary that is shut down (`fast` or `smart`) sends everything to its standbys, the record of its shutdown checkpoint
 * last, before it ends. A checkpoint's location is where its record begins, so that a standby that has replayed *past* it
 * has all that there ever was on this timeline, and the old primary's files need no rewinding to follow it.
 */
export async function passedShutdownCheckpoint(
  site: PostgresqlSite,
  { end, withinSeconds }: { readonly end: StoreEnd; readonly withinSeconds: number },
  ctx: CallContext,
): Promise<Position> {
  const wait = { ctx, deadline: Date.now() + withinSeconds * 1_000, where: addressOf(site) };
  return withClient(
    site,
    async (standby) => {
      const { systemId, inRecovery } = await readFacts(standby, wait.where);
      if (!inRecovery) throw failure('RoleMismatch', `${wait.where} is a primary already`);
      if (!end.lineage.startsWith(`${systemId}/`))
        throw failure('RoleMismatch', `${wait.where} is of cluster ${systemId}, not a standby of ${end.lineage}`);
      return positionAt(end.lineage, await replayedUntil(standby, parseLsn(end.value) + 1n, wait));
    },
    { statementMilliseconds: withinSeconds * 1_000, signal: ctx.signal },
  );
}
