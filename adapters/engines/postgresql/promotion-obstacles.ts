import type { CallContext } from '../../../core/call';
import { answerWithin, LOOK_MILLISECONDS } from '../answer-within';
import { addressOf, withClient } from './connection';
import { SCHEMA } from './schema';
import type { PostgresqlSite } from './settings';

interface Rights {
  readonly account: string;
  readonly mayPromote: boolean;
  readonly mayResume: boolean;
  readonly mayNote: boolean;
}

interface CatchUpRights {
  readonly account: string;
  readonly maySet: boolean;
  readonly mayReload: boolean;
  readonly maySee: boolean;
}

/** SQL of a boolean: whether the account may write where the epoch is kept in the store. */
export const MAY_NOTE_THE_EPOCH = `
  CASE WHEN to_regclass('${SCHEMA}.epoch') IS NULL THEN has_database_privilege(current_database(), 'CREATE')
       ELSE has_table_privilege('${SCHEMA}.epoch', 'INSERT') AND has_table_privilege('${SCHEMA}.epoch', 'UPDATE') END`;

/** The rights that a promotion needs and the account lacks; a standby knows them as its primary does. */
export async function promotionObstacles(site: PostgresqlSite, ctx: CallContext): Promise<string[]> {
  const { account, mayPromote, mayResume, mayNote } = await rightsAt<Rights>(
    site,
    `SELECT current_user AS account,
            has_function_privilege('pg_promote(boolean, integer)', 'EXECUTE') AS "mayPromote",
            has_function_privilege('pg_wal_replay_resume()', 'EXECUTE') AS "mayResume",
            ${MAY_NOTE_THE_EPOCH} AS "mayNote"`,
    ctx,
  );
  const grant = (what: string) => `GRANT EXECUTE ON FUNCTION ${what} TO ${account}`;
  return [
    ...(mayPromote ? [] : [`${account} may not promote: ${grant('pg_promote(boolean, integer)')}`]),
    ...(mayResume ? [] : [`${account} may not resume a paused replay: ${grant('pg_wal_replay_resume()')}`]),
    ...(mayNote ? [] : [`${account} may not note the epoch in the schema ${SCHEMA}`]),
  ];
}

/** What a catch-up from the archive needs and the account or the config lacks. */
export async function catchUpLacks(site: PostgresqlSite, ctx: CallContext): Promise<string[]> {
  const { account, maySet, mayReload, maySee } = await rightsAt<CatchUpRights>(
    site,
    `SELECT current_user AS account,
            has_parameter_privilege('primary_conninfo', 'ALTER SYSTEM') AS "maySet",
            has_function_privilege('pg_reload_conf()', 'EXECUTE') AS "mayReload",
            pg_has_role('pg_read_all_settings', 'USAGE') AS "maySee"`,
    ctx,
  );
  return [
    ...(maySet ? [] : [`GRANT ALTER SYSTEM ON PARAMETER primary_conninfo TO ${account}`]),
    ...(mayReload ? [] : [`GRANT EXECUTE ON FUNCTION pg_reload_conf() TO ${account}`]),
    ...(maySee ? [] : [`GRANT pg_monitor TO ${account}`]),
    ...(site.tls && !site.catchUp?.certFile
      ? ['its connections are encrypted: name catchUp.certFile and keyFile']
      : []),
  ];
}

/** The one row of a look that nothing may wait long for. */
function rightsAt<T extends object>(site: PostgresqlSite, query: string, ctx: CallContext): Promise<T> {
  const options = { statementMilliseconds: LOOK_MILLISECONDS };
  return answerWithin(ctx.signal, LOOK_MILLISECONDS, addressOf(site), (signal) =>
    withClient(site, async (client) => (await client.query<T>(query)).rows[0] as T, { ...options, signal }),
  );
}
