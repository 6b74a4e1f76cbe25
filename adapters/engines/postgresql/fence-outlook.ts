import type { Client } from 'pg';
import type { CallContext } from '../../../core/call';
import type { FenceOutlook } from '../../../core/fencing';
import { answerWithin, LOOK_MILLISECONDS } from '../answer-within';
import { doorObstacles } from './access-fence';
import { addressOf, withClient } from './connection';
import { MAY_NOTE_THE_EPOCH } from './promotion-obstacles';
import { SCHEMA } from './schema';
import type { PostgresqlSite } from './settings';

interface Rights {
  readonly account: string;
  readonly standby: boolean;
  readonly mayRefuse: boolean;
  readonly mayReload: boolean;
  readonly mayEnd: boolean;
  readonly mayCheckpoint: boolean;
  readonly mayNote: boolean;
}

/** The rights that `fencePrimary` and `handOverPrimary` need at a primary that answers. */
export async function fenceOutlook(
  site: PostgresqlSite,
  byAccessRules: boolean,
  ctx: CallContext,
): Promise<FenceOutlook> {
  const where = addressOf(site);
  const ask = (signal: AbortSignal) =>
    withClient(site, (client) => look(client, where, byAccessRules), {
      statementMilliseconds: LOOK_MILLISECONDS,
      signal,
    });
  return answerWithin(ctx.signal, LOOK_MILLISECONDS, where, ask);
}

async function look(client: Client, where: string, byAccessRules: boolean): Promise<FenceOutlook> {
  const { rows } = await client.query<Rights>(`
    SELECT current_user AS account, pg_is_in_recovery() AS standby,
           has_parameter_privilege('default_transaction_read_only', 'ALTER SYSTEM') AS "mayRefuse",
           has_function_privilege('pg_reload_conf()', 'EXECUTE') AS "mayReload",
           pg_has_role('pg_signal_backend', 'usage') AS "mayEnd",
           pg_has_role('pg_checkpoint', 'usage') AS "mayCheckpoint",
           ${MAY_NOTE_THE_EPOCH} AS "mayNote"`);
  const rights = rows[0] as Rights;
  if (rights.standby) {
    const how = `${where} is a standby: there is no primary to fence`;
    return { strength: 'none', how, lacking: [], handOverLacks: [how] };
  }
  const { account } = rights;
  const toRefuse = [
    ...(rights.mayRefuse
      ? []
      : [
          `${account} may not set it read-only: GRANT ALTER SYSTEM ON PARAMETER default_transaction_read_only TO ${account}`,
        ]),
    ...(rights.mayReload
      ? []
      : [`${account} may not reload settings: GRANT EXECUTE ON FUNCTION pg_reload_conf() TO ${account}`]),
    ...(rights.mayNote ? [] : [`${account} may not note the epoch in the schema ${SCHEMA}`]),
    ...(rights.mayEnd ? [] : [`${account} may not end sessions: GRANT pg_signal_backend TO ${account}`]),
  ];
  const toClose = byAccessRules && toRefuse.length === 0 ? await doorObstacles(client) : [];
  const toHandOver = rights.mayCheckpoint ? [] : [`${account} may not CHECKPOINT: GRANT pg_checkpoint TO ${account}`];
  return {
    ...strengthOf(toRefuse, toClose, byAccessRules),
    lacking: [...toRefuse, ...toClose],
    handOverLacks: [...toRefuse, ...toHandOver],
  };
}

function strengthOf(
  toRefuse: readonly string[],
  toClose: readonly string[],
  byAccessRules: boolean,
): Pick<FenceOutlook, 'strength' | 'how'> {
  if (toRefuse.length > 0) return { strength: 'none', how: 'it cannot be set read-only' };
  if (!byAccessRules)
    return { strength: 'weak', how: 'read-only, which a session can override (`fenceByAccessRules` would prove it)' };
  return toClose.length > 0
    ? { strength: 'weak', how: 'read-only, which a session can override' }
    : { strength: 'proven', how: 'nobody but drctl would be let in any more' };
}
