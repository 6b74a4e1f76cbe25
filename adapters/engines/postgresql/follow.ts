import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import type { CallContext } from '../../../core/call';
import { findFailure } from '../../../core/errors';
import type { Following, FollowRequest } from '../../../core/hand-over';
import { answerWithin, LOOK_MILLISECONDS } from '../answer-within';
import { slotName } from './archive';
import { addressOf, withClient } from './connection';
import { unfencePrimary } from './fence';
import { refuseOlderEpoch } from './hand-over';
import { readEpoch } from './role-epoch';
import type { PostgresqlSite } from './settings';

const POLL_MILLISECONDS = 200;
/** A server that starts, and its receiver, which tries every `wal_retrieve_retry_interval` (5 s). */
const START_MILLISECONDS = 30_000;

interface Look {
  readonly state: 'silent' | 'primary' | 'standby' | 'streaming';
  /** The slot that it streams from at its primary; empty for none. */
  readonly slot: string;
}

/**
 * Starting as a standby takes a file in its data directory and a restart, which nobody can do through its port: where the
 * site's agent has done that, this sees it stream, and clears away what was a primary's. Else it says what is left to do.
 */
export async function followNewPrimary(
  store: string,
  { site, primarySite, epoch, starting = false }: FollowRequest,
  { old, primary }: { readonly old: PostgresqlSite; readonly primary: PostgresqlSite },
  ctx: CallContext,
): Promise<Following> {
  refuseOlderEpoch(store, primarySite, epoch, await withClient(primary, readEpoch, { signal: ctx.signal }));
  const deadline = Date.now() + (starting ? START_MILLISECONDS : 0);
  for (;;) {
    const look = await lookAt(store, site, old, epoch, ctx);
    if (look.slot !== '') await withClient(primary, (client) => ensureSlot(client, look.slot), { signal: ctx.signal });
    if (look.state === 'streaming') {
      await unfencePrimary(store, site, old, epoch, ctx);
      await dropSlots(store, old, primary, ctx);
      return { store, site, follows: true, how: `${addressOf(old)} is a standby and streams` };
    }
    if (Date.now() >= deadline) return { store, site, follows: false, how: whatIsLeft(look.state, old, primary) };
    ctx.progress({ phase: `waiting for the standby at ${site}`, note: look.state });
    await delay(POLL_MILLISECONDS, undefined, { signal: ctx.signal });
  }
}

async function lookAt(
  store: string,
  name: string,
  site: PostgresqlSite,
  epoch: number,
  ctx: CallContext,
): Promise<Look> {
  const ask = (signal: AbortSignal) =>
    withClient(
      site,
      async (client): Promise<Look> => {
        refuseOlderEpoch(store, name, epoch, await readEpoch(client));
        const { rows } = await client.query(
          `SELECT pg_is_in_recovery() AS standby, (SELECT status FROM pg_stat_wal_receiver) AS receiver,
                  current_setting('primary_slot_name') AS slot`,
        );
        const { standby, receiver, slot } = rows[0] as { standby: boolean; receiver: string | null; slot: string };
        if (!standby) return { state: 'primary', slot: '' };
        return { state: receiver === 'streaming' ? 'streaming' : 'standby', slot };
      },
      { statementMilliseconds: LOOK_MILLISECONDS, signal },
    );
  try {
    return await answerWithin(ctx.signal, LOOK_MILLISECONDS, addressOf(site), ask);
  } catch (error) {
    if (findFailure(error)?.code !== 'TargetUnreachable') throw error;
    return { state: 'silent', slot: '' };
  }
}

function whatIsLeft(state: Look['state'], old: PostgresqlSite, primary: PostgresqlSite): string {
  const seen = {
    silent: 'does not answer (fenced by its host, as a rule)',
    primary: 'is still a primary of its own, read-only',
    standby: 'is a standby that does not stream: see its log, else',
    streaming: 'streams',
  }[state];
  return (
    `${addressOf(old)} ${seen}: make it a standby at its host before it serves anybody: stop it, pg_rewind it against ` +
    `${primary.host}:${primary.port} with -R (or take a new pg_basebackup -R), start it`
  );
}

/** Lets the standby find the slot that it is configured for, also after it was dropped here or has lost its WAL. */
export async function ensureSlot(client: Client, slot: string): Promise<void> {
  const lost = `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
                WHERE slot_name = $1 AND wal_status = 'lost' AND NOT active`;
  await client.query(lost, [slot]);
  await client.query(
    `SELECT pg_create_physical_replication_slot($1, true)
     WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1)`,
    [slot],
  );
}

/** Slots of its time as a primary, of the archiver and of its own standby, would keep WAL here that nobody comes to fetch. */
async function dropSlots(store: string, old: PostgresqlSite, primary: PostgresqlSite, ctx: CallContext): Promise<void> {
  const { rows } = await withClient(
    primary,
    (client) => client.query("SELECT current_setting('primary_slot_name') AS slot"),
    { signal: ctx.signal },
  );
  const { slot } = rows[0] as { slot: string };
  await withClient(
    old,
    (client) =>
      client.query(
        `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
         WHERE slot_type = 'physical' AND NOT active AND slot_name = ANY ($1)`,
        [[slotName(store), slot].filter((name) => name !== '')],
      ),
    { signal: ctx.signal },
  );
}
