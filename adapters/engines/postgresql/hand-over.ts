import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import type { CallContext } from '../../../core/call';
import { failure } from '../../../core/errors';
import type { HandOver, HandOverRequest } from '../../../core/hand-over';
import { addressOf, sqlState, withClient } from './connection';
import { fencePrimary } from './fence';
import { formatLsn, lineageOf, positionAt } from './lsn';
import { readEpoch } from './role-epoch';
import { readFacts } from './server-facts';
import type { PostgresqlSite } from './settings';

const POLL_MILLISECONDS = 100;
/** A session that is told to end does so within milliseconds, or is in a call that nothing interrupts. */
const SESSION_END_MILLISECONDS = 1_000;

/**
 * Read-only, every session ended, CHECKPOINT, and then the position up to which the primary has flushed: whatever was ever
 * acknowledged is before it, also what was committed with `synchronous_commit = off`. The standby has to have *replayed*
 * that far; a paused replay is resumed. Where transaction ids were taken meanwhile (by a session that overrode the setting,
 * or by autovacuum) the position is taken once more.
 */
export async function handOverPrimary(
  store: string,
  request: HandOverRequest,
  { from, to }: { readonly from: PostgresqlSite; readonly to: PostgresqlSite },
  ctx: CallContext,
): Promise<HandOver> {
  const { fromSite, epoch, withinSeconds } = request;
  const deadline = Date.now() + withinSeconds * 1_000;
  const options = { statementMilliseconds: withinSeconds * 1_000, signal: ctx.signal };
  return withClient(
    to,
    async (standby) => {
      const lineage = await withClient(
        from,
        async (primary) => {
          refuseOlderEpoch(store, fromSite, epoch, await readEpoch(primary));
          return requireStandby(primary, standby, store, { from, to });
        },
        options,
      );
      await standby.query('SELECT pg_wal_replay_resume() WHERE pg_is_wal_replay_paused()');
      // Ends every session but its own: ours begins after it.
      const evidence = await fencePrimary(store, fromSite, from, epoch, ctx);
      if (evidence.strength === 'none')
        throw failure('TargetUnreachable', `${store} at ${fromSite} cannot hand over: ${evidence.how}`);
      const { final, reached } = await withClient(
        from,
        async (primary) => {
          ctx.progress({ phase: 'ending what still writes', note: addressOf(from) });
          await endTransactions(primary, { ctx, deadline, where: addressOf(from) });
          await primary.query('CHECKPOINT');
          return settled(primary, standby, { ctx, deadline, where: addressOf(to) });
        },
        options,
      );
      return {
        store,
        final: positionAt(lineage, final),
        reached: positionAt(lineage, reached),
        at: new Date().toISOString(),
        how:
          `read-only, every session ended, CHECKPOINT, flushed until ${formatLsn(final)}; ` +
          `${addressOf(to)} has replayed ${formatLsn(reached)}`,
        evidence,
      };
    },
    options,
  );
}

export interface Wait {
  readonly ctx: CallContext;
  /** Epoch milliseconds. */
  readonly deadline: number;
  readonly where: string;
}

async function settled(primary: Client, standby: Client, wait: Wait): Promise<{ final: bigint; reached: bigint }> {
  for (;;) {
    const { lsn: final, transactions } = await ownEnd(primary);
    const reached = await replayedUntil(standby, final, wait);
    if ((await ownEnd(primary)).transactions === transactions) return { final, reached };
  }
}

/** Answers the lineage that both are of. */
async function requireStandby(
  primary: Client,
  standby: Client,
  store: string,
  { from, to }: { readonly from: PostgresqlSite; readonly to: PostgresqlSite },
): Promise<string> {
  const [here, there] = [await readFacts(primary, addressOf(from)), await readFacts(standby, addressOf(to))];
  const refuse = (why: string) => failure('RoleMismatch', `${store} cannot be handed over: ${why}`);
  if (here.inRecovery) throw refuse(`${addressOf(from)} is a standby itself`);
  if (!there.inRecovery) throw refuse(`${addressOf(to)} is a primary already`);
  if (here.systemId !== there.systemId)
    throw refuse(`${addressOf(to)} is a copy of another cluster (${there.systemId}, not ${here.systemId})`);
  return lineageOf(here.systemId, here.timeline);
}

/**
 * Once more than the fence did: a session that began just before the setting reached the server keeps a transaction that may
 * write for as long as it lasts. One that is not ours to end (a superuser's) is waited for. Not one that still signs in and has
 * no user yet: since 18 it shows a transaction as well (that of looking its user up), one that forgot to answer does so for all
 * of `authentication_timeout`, and what it will write begins after the setting.
 */
async function endTransactions(primary: Client, { ctx, deadline, where }: Wait): Promise<void> {
  const now = await primary.query('SELECT clock_timestamp() AS at');
  const { at } = now.rows[0] as { at: Date };
  for (;;) {
    const { rows } = await primary.query(
      `SELECT pid FROM pg_stat_activity
       WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND usesysid IS NOT NULL AND xact_start < $1`,
      [at],
    );
    if (rows.length === 0) return;
    if (Date.now() >= deadline)
      throw failure('HandOverIncomplete', `${where}: ${rows.length} transactions do not end and may still write`);
    for (const { pid } of rows as { pid: number }[]) {
      await primary
        .query(`SELECT pg_terminate_backend($1, ${SESSION_END_MILLISECONDS})`, [pid])
        .catch((error: unknown) => {
          if (sqlState(error) !== '42501') throw error; // insufficient_privilege
        });
    }
    ctx.progress({ phase: 'waiting for transactions to end', note: where });
    await delay(POLL_MILLISECONDS, undefined, { signal: ctx.signal });
  }
}

interface OwnEnd {
  readonly lsn: bigint;
  /** Grows with every transaction that writes. */
  readonly transactions: string;
}

async function ownEnd(primary: Client): Promise<OwnEnd> {
  const { rows } = await primary.query(
    `SELECT (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::text AS lsn,
            pg_snapshot_xmax(pg_current_snapshot())::text AS transactions`,
  );
  const { lsn, transactions } = rows[0] as { lsn: string; transactions: string };
  return { lsn: BigInt(lsn), transactions };
}

export async function replayedUntil(standby: Client, wanted: bigint, { ctx, deadline, where }: Wait): Promise<bigint> {
  for (;;) {
    const { rows } = await standby.query(`SELECT (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::text AS lsn`);
    const replayed = BigInt((rows[0] as { lsn: string | null }).lsn ?? '0');
    if (replayed >= wanted) return replayed;
    const behind = `${where} has replayed ${formatLsn(replayed)} of ${formatLsn(wanted)}`;
    if (Date.now() >= deadline)
      throw failure('HandOverIncomplete', `${behind}: ${wanted - replayed} bytes are missing`);
    ctx.progress({ phase: 'waiting for the standby', note: behind });
    await delay(POLL_MILLISECONDS, undefined, { signal: ctx.signal });
  }
}

export function refuseOlderEpoch(store: string, site: string, epoch: number, noted: number | null): void {
  if (noted === null || noted <= epoch) return;
  throw failure('StaleEpoch', `${store} at ${site} is at epoch ${noted}; this role change is ${epoch}`);
}
