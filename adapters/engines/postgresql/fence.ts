import type { CallContext } from '../../../core/call';
import { failure, findFailure } from '../../../core/errors';
import type { FenceEvidence } from '../../../core/fencing';
import { answerWithin } from '../answer-within';
import { addressOf, sqlState, withClient } from './connection';
import { noteEpoch, readEpoch } from './role-epoch';
import { ensureSchema, SCHEMA } from './schema';
import type { PostgresqlSite } from './settings';

/** A dead host must not hold up the failover: the fence that counts is the site's. */
const FENCE_MILLISECONDS = 5_000;
/** Connecting, each of the statements and the look for a refused write take milliseconds where the server lives. */
const FENCE_TOTAL_MILLISECONDS = 10_000;

/**
 * Makes an old primary that still answers refuse writes and drops its sessions, and tries a write to see it refused. That
 * is `weak`: any session may switch its transactions back to read-write (documentation, default_transaction_read_only).
 * A server that does not answer gives `none`: a timeout is no fence. The setting and the epoch stay in the server: it comes
 * back as it was left, and a step of an older role change can no longer lift the fence.
 */
export async function fencePrimary(
  store: string,
  name: string,
  site: PostgresqlSite,
  epoch: number,
  ctx: CallContext,
): Promise<FenceEvidence> {
  const evidence = (strength: FenceEvidence['strength'], how: string): FenceEvidence => ({
    strength,
    site: name,
    stores: [store],
    epoch,
    at: new Date().toISOString(),
    how,
    by: 'PostgreSQL engine',
  });
  const fence = async (signal: AbortSignal): Promise<FenceEvidence> => {
    const dropped = await withClient(
      site,
      async (client) => {
        await refuseOlderEpoch(await readEpoch(client), store, name, epoch);
        const recovery = await client.query('SELECT pg_is_in_recovery() AS yes');
        if ((recovery.rows[0] as { yes: boolean }).yes) return null;
        await client.query('SET default_transaction_read_only = off');
        // The standby that a commit would be synchronous with may be the one that is about to be promoted, or be gone.
        await client.query('SET synchronous_commit = local');
        await ensureSchema(client);
        await noteEpoch(client, store, { site: name, epoch });
        await client.query('ALTER SYSTEM SET default_transaction_read_only = on');
        await client.query('SELECT pg_reload_conf()');
        // One that still signs in has no user yet: nobody but a superuser may end it, and the error would end the fence.
        const { rows } = await client.query(`
          SELECT count(pg_terminate_backend(pid))::int AS dropped FROM pg_stat_activity
          WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND usesysid IS NOT NULL`);
        return (rows[0] as { dropped: number }).dropped;
      },
      { statementMilliseconds: FENCE_MILLISECONDS, signal },
    );
    if (dropped === null) return evidence('none', `${addressOf(site)} is a standby: there is no primary to fence`);
    const refused = await writeIsRefused(site, signal);
    return refused
      ? evidence(
          'weak',
          `default_transaction_read_only set, ${dropped} sessions dropped, a write was refused; a session can override it`,
        )
      : evidence('none', `${addressOf(site)} still accepts writes after default_transaction_read_only was set`);
  };
  try {
    return await answerWithin(ctx.signal, FENCE_TOTAL_MILLISECONDS, addressOf(site), fence);
  } catch (error) {
    const known = findFailure(error);
    if (known?.code !== 'TargetUnreachable') throw error;
    return evidence('none', `no answer, which proves nothing: ${known.message}`);
  }
}

/** Lifts what `fencePrimary` set. Repeatable; refuses for a role change that a newer one has overtaken. */
export async function unfencePrimary(
  store: string,
  name: string,
  site: PostgresqlSite,
  epoch: number,
  ctx: CallContext,
): Promise<void> {
  await withClient(
    site,
    async (client) => {
      await refuseOlderEpoch(await readEpoch(client), store, name, epoch);
      await client.query('ALTER SYSTEM RESET default_transaction_read_only');
      await client.query('SELECT pg_reload_conf()');
    },
    { statementMilliseconds: FENCE_MILLISECONDS, signal: ctx.signal },
  );
}

async function writeIsRefused(site: PostgresqlSite, signal: AbortSignal): Promise<boolean> {
  // The reload reaches new sessions within moments of pg_reload_conf's return: each try is a new session.
  for (const deadline = Date.now() + FENCE_MILLISECONDS; Date.now() < deadline;) {
    const refused = await withClient(
      site,
      async (client) => {
        try {
          await client.query(
            `INSERT INTO ${SCHEMA}.write_probe VALUES ('fence', now()) ON CONFLICT (marker) DO NOTHING`,
          );
          return false;
        } catch (error) {
          if (sqlState(error) === '25006') return true; // read_only_sql_transaction
          throw error;
        }
      },
      { statementMilliseconds: FENCE_MILLISECONDS, signal },
    );
    if (refused) return true;
  }
  return false;
}

async function refuseOlderEpoch(noted: number | null, store: string, site: string, epoch: number): Promise<void> {
  if (noted !== null && noted > epoch) {
    throw failure('StaleEpoch', `${store} at ${site} is at epoch ${noted}; this role change is ${epoch}`);
  }
}
