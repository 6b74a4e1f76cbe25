import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import type { CallContext } from '../../../core/call';
import { findFailure, reasonOf } from '../../../core/errors';
import type { MemberFollowing } from '../../../core/hand-over';
import { addressOf, withClient } from './connection';
import { ensureSlot } from './follow';
import { refuseOlderEpoch } from './hand-over';
import { pointTo } from './primary-conninfo';
import { readEpoch } from './role-epoch';
import { readFacts } from './server-facts';
import type { PostgresqlSite } from './settings';
import { serversOf } from './site-servers';

const POLL_MILLISECONDS = 200;
/** One that follows another standby of the site, or is being told by somebody else, is left to it. */
const BY_ITSELF_MILLISECONDS = 1_000;
/** A receiver tries every `wal_retrieve_retry_interval` (5 s), and finds the new timeline then. */
const FOLLOW_MILLISECONDS = 20_000;

/** `primary`: as the site is led now; its `standbys` are the others. */
export async function followMembers(
  store: string,
  { site, epoch }: { readonly site: string; readonly epoch: number },
  primary: PostgresqlSite,
  ctx: CallContext,
): Promise<MemberFollowing[]> {
  const lead = await withClient(
    primary,
    async (client) => {
      refuseOlderEpoch(store, site, epoch, await readEpoch(client));
      return readFacts(client, addressOf(primary));
    },
    { signal: ctx.signal },
  );
  const members = serversOf(primary).slice(1);
  return Promise.all(members.map((server) => followMember(server, { primary, lead }, ctx)));
}

interface Lead {
  readonly primary: PostgresqlSite;
  readonly lead: { readonly systemId: string; readonly timeline: number };
}

async function followMember(
  server: PostgresqlSite,
  { primary, lead }: Lead,
  ctx: CallContext,
): Promise<MemberFollowing> {
  const name = `${server.host}:${server.port}`;
  const rebuild = `make it a standby of ${primary.host}:${primary.port}: pg_rewind, or a new pg_basebackup -R`;
  const answer = (follows: boolean, how: string): MemberFollowing => ({ server: name, follows, how });
  try {
    return await withClient(
      server,
      async (client) => {
        const facts = await readFacts(client, addressOf(server));
        if (facts.systemId !== lead.systemId) return answer(false, `it is of another cluster: ${rebuild}`);
        if (!facts.inRecovery) return answer(false, `it is a primary of its own: ${rebuild}`);
        if (await seenFollowing(client, lead.timeline, BY_ITSELF_MILLISECONDS, ctx)) return answer(true, 'it follows');
        await keepSlot(client, primary, ctx);
        await pointTo(client, primary);
        return (await seenFollowing(client, lead.timeline, FOLLOW_MILLISECONDS, ctx))
          ? answer(true, `it follows ${primary.host}:${primary.port}`)
          : answer(false, `it does not stream timeline ${lead.timeline}, its log says why; else ${rebuild}`);
      },
      { signal: ctx.signal },
    );
  } catch (error) {
    ctx.signal.throwIfAborted();
    if (!findFailure(error)) throw error;
    return answer(false, reasonOf(error));
  }
}

async function keepSlot(client: Client, primary: PostgresqlSite, ctx: CallContext): Promise<void> {
  const { rows } = await client.query(`SELECT current_setting('primary_slot_name') AS slot`);
  const { slot } = rows[0] as { slot: string };
  if (slot !== '') await withClient(primary, (other) => ensureSlot(other, slot), { signal: ctx.signal });
}

async function seenFollowing(
  client: Client,
  timeline: number,
  milliseconds: number,
  ctx: CallContext,
): Promise<boolean> {
  for (const deadline = Date.now() + milliseconds; ;) {
    const { rows } = await client.query(
      `SELECT status = 'streaming' AND received_tli = $1 AS follows FROM pg_stat_wal_receiver`,
      [timeline],
    );
    if ((rows[0] as { follows: boolean } | undefined)?.follows) return true;
    if (Date.now() >= deadline) return false;
    ctx.progress({ phase: 'waiting for the other servers to follow' });
    await delay(POLL_MILLISECONDS, undefined, { signal: ctx.signal });
  }
}
