import type { Client } from 'pg';
import type { CallContext } from '../../../core/call';
import { failure, findFailure } from '../../../core/errors';
import type { FenceEvidence } from '../../../core/fencing';
import { answerWithin } from '../answer-within';
import { admitOthers, readAccessFence, type Rejection, rejectOthers, secondsClosed } from './access-fence';
import { addressOf, sqlState, withClient } from './connection';
import { noteEpoch, readEpoch } from './role-epoch';
import { ensureSchema, SCHEMA } from './schema';
import type { PostgresqlSite } from './settings';

/** A dead host must not hold up the failover: the fence that counts is the site's. */
const FENCE_MILLISECONDS = 5_000;
/** Connecting, each of the statements and the look for a refused write take milliseconds where the server lives. */
const FENCE_TOTAL_MILLISECONDS = 10_000;
/** With the access rules: connections that were signing in are waited for as well. */
const FENCE_DOOR_MILLISECONDS = 20_000;

/**
 * Makes an old primary that still answers refuse writes and drops its sessions, and tries a write to see it refused. That
 * is `weak`: any session may switch its transactions back to read-write (documentation, default_transaction_read_only), so
 * that a proof takes more: where the config allows it nobody else is let in any more, and nobody else is connected.
 * A server that does not answer gives `none`: a timeout is no fence. The setting and the epoch stay in the server: it comes
 * back as it was left, and a step of an older role change can no longer lift the fence.
 */
export async function fencePrimary(
  store: string,
  name: string,
  site: PostgresqlSite,
  epoch: number,
  ctx: CallContext,
  byAccessRules = false,
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
    let closedFor = 0;
    const dropped = await withClient(
      site,
      async (client) => {
        await refuseOlderEpoch(client, store, name, epoch);
        if (byAccessRules) closedFor = await secondsClosed(client);
        const recovery = await client.query('SELECT pg_is_in_recovery() AS yes');
        if ((recovery.rows[0] as { yes: boolean }).yes) return null;
        await client.query('SET default_transaction_read_only = off');
        // The standby that a commit would be synchronous with may be the one that is about to be promoted, or be gone.
        await client.query('SET synchronous_commit = local');
        await ensureSchema(client);
        await noteEpoch(client, store, { site: name, epoch });
        await client.query('ALTER SYSTEM SET default_transaction_read_only = on');
        await client.query('SELECT pg_reload_conf()');
        return endSessions(client);
      },
      { statementMilliseconds: FENCE_MILLISECONDS, signal },
    );
    if (dropped === null) return evidence('none', `${addressOf(site)} is a standby: there is no primary to fence`);
    if (!(await writeIsRefused(site, signal)))
      return evidence('none', `${addressOf(site)} still accepts writes after default_transaction_read_only was set`);
    const seen = `default_transaction_read_only set, ${dropped} sessions dropped, a write was refused`;
    if (!byAccessRules) return evidence('weak', `${seen}; a session can override it`);
    const { proven, how } = await closeDoor(site, { epoch, closedFor }, signal);
    return proven
      ? evidence('proven', `${seen}; ${how}`)
      : evidence('weak', `${seen}; a session can override it: ${how}`);
  };
  try {
    return await answerWithin(
      ctx.signal,
      byAccessRules ? FENCE_DOOR_MILLISECONDS : FENCE_TOTAL_MILLISECONDS,
      addressOf(site),
      fence,
    );
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
      await refuseOlderEpoch(client, store, name, epoch);
      await liftFence(client);
    },
    { statementMilliseconds: FENCE_MILLISECONDS, signal: ctx.signal },
  );
}

/** Whatever a role change has set at this server, for a server that is to serve (again). */
export async function liftFence(client: Client): Promise<void> {
  await client.query('SET default_transaction_read_only = off');
  await admitOthers(client);
  await client.query('ALTER SYSTEM RESET default_transaction_read_only');
  await client.query('SELECT pg_reload_conf()');
}

/** Whether a fence of an earlier role change has outlived it here: a standby keeps its own files. */
export async function isFenced(client: Client): Promise<boolean> {
  const { rows } = await client.query(`SELECT current_setting('default_transaction_read_only') = 'on' AS fenced`);
  return (rows[0] as { fenced: boolean }).fenced || (await readAccessFence(client)) !== null;
}

/**
 * How many were ended. One that still signs in has no user yet, and that one and a superuser's only a superuser may end: the
 * error would end the fence. Where that matters the session that is left keeps the evidence from being a proof.
 */
async function endSessions(client: Client): Promise<number> {
  const { rows } = await client.query(`
    SELECT count(pg_terminate_backend(a.pid))::int AS dropped
    FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid
    WHERE a.backend_type = 'client backend' AND a.pid <> pg_backend_pid()
      AND (NOT r.rolsuper OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user))`);
  return (rows[0] as { dropped: number }).dropped;
}

function closeDoor(site: PostgresqlSite, at: { epoch: number; closedFor: number }, signal: AbortSignal) {
  const close = async (client: Client): Promise<Rejection> => {
    await client.query('SET default_transaction_read_only = off');
    return rejectOthers(client, site, at, signal);
  };
  return withClient(site, close, { statementMilliseconds: FENCE_MILLISECONDS, signal });
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

async function refuseOlderEpoch(client: Client, store: string, site: string, epoch: number): Promise<void> {
  const newest = Math.max((await readEpoch(client)) ?? 0, (await readAccessFence(client)) ?? 0);
  if (newest > epoch)
    throw failure('StaleEpoch', `${store} at ${site} is at epoch ${newest}; this role change is ${epoch}`);
}
