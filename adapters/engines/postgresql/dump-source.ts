import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from 'pg';
import type { CallContext } from '../../../core/call';
import type { DumpSource } from '../../../core/catalog';
import { formatBytes } from '../../../core/clock';
import { failure, findFailure } from '../../../core/errors';
import { addressOf, withClient } from './connection';
import { formatLsn, parseLsn } from './lsn';
import { readFacts, type ServerFacts } from './server-facts';
import type { PostgresqlSettings, PostgresqlSite } from './settings';

/** The server to read from, and why it is not one of those that were asked for. */
export interface ChosenSource {
  readonly source: DumpSource;
  readonly endpoint: PostgresqlSite;
  readonly fallback: string | null;
}

/** A standby that serves is a moment behind; one that stays behind for longer would make an old backup of a new one. */
const CATCH_UP_AT_CHOICE_MILLISECONDS = 10_000;
/** Before the copy: a checkpoint has just made the primary write more WAL than usual. */
const CATCH_UP_AT_START_MILLISECONDS = 60_000;
const POLL_MILLISECONDS = 100;

/** The member as it stands in manifests. */
function memberOf({ host, port }: { readonly host: string; readonly port: number }): string {
  return `${host}:${port}`;
}

/** The connection to a source that a plan names. Throws NotFound where the config has changed since. */
export function endpointOf(sites: Readonly<Record<string, PostgresqlSite>>, source: DumpSource): PostgresqlSite {
  const found = serversAt(sites, source.site).find((each) => memberOf(each) === source.member);
  if (found) return found;
  throw failure('NotFound', `the config names no server ${source.member} at the site "${source.site}" any more`, {
    next: 'Start the backup again.',
  });
}

function serversAt(sites: Readonly<Record<string, PostgresqlSite>>, name: string): PostgresqlSite[] {
  const site = sites[name];
  return site ? [site, ...site.standbys.map((standby) => ({ ...site, ...standby }))] : [];
}

/**
 * Chooses by `backupFrom`: the active site's own standbys first, then the other sites' servers. Throws TargetUnreachable
 * naming what is wrong with each where a standby is demanded and none can be read, ConfigInvalid where there is none.
 */
export async function chooseSource(
  sites: Readonly<Record<string, PostgresqlSite>>,
  active: { readonly site: string; readonly endpoint: PostgresqlSite; readonly facts: ServerFacts },
  { backupFrom }: Pick<PostgresqlSettings, 'backupFrom'>,
  ctx: CallContext,
): Promise<ChosenSource> {
  const { site, endpoint, facts } = active;
  const primary = (fallback: string | null) => ({
    source: { site, member: memberOf(endpoint) },
    endpoint,
    fallback,
  });
  if (backupFrom === 'primary') return primary(null);
  const candidates = [site, ...Object.keys(sites).filter((each) => each !== site)].flatMap((name) =>
    serversAt(sites, name).map((server) => ({ name, server })),
  );
  const standbys = candidates.filter(({ server }) => memberOf(server) !== memberOf(endpoint));
  const unfit: string[] = [];
  for (const { name, server } of standbys) {
    const why = await whyUnfit(server, facts, ctx);
    if (why === null) {
      return { source: { site: name, member: memberOf(server), follows: site }, endpoint: server, fallback: null };
    }
    unfit.push(`${memberOf(server)} at ${name} ${why}`);
  }
  const reason = unfit.length > 0 ? unfit.join('; ') : 'the config names no other server';
  if (backupFrom === 'prefer-standby') return primary(`read from the primary, not from a standby: ${reason}`);
  throw failure(
    unfit.length > 0 ? 'TargetUnreachable' : 'ConfigInvalid',
    `no standby of ${addressOf(endpoint)} can be read: ${reason}`,
    {
      data: 'No backup was taken; earlier backups are not affected.',
      next: 'Mend the standby, or let the primary stand in with backupFrom: prefer-standby.',
    },
  );
}

/** What keeps a server from being read in the primary's stead; null where nothing does. */
async function whyUnfit(server: PostgresqlSite, primary: ServerFacts, ctx: CallContext): Promise<string | null> {
  // The server refuses such a base backup: nothing that was replayed could mend a page that was copied half-written.
  if (primary.settings['full_page_writes'] === 'off') return 'cannot be read: full_page_writes is off at the primary';
  try {
    return await withClient(
      server,
      async (client) => {
        const facts = await readFacts(client, addressOf(server));
        if (facts.systemId !== primary.systemId) return `is another cluster (${facts.systemId})`;
        if (!facts.inRecovery) return 'is not a standby';
        if (facts.timeline !== primary.timeline) return `follows timeline ${facts.timeline}, not ${primary.timeline}`;
        return await whyBehind(client, primary.lsn, CATCH_UP_AT_CHOICE_MILLISECONDS, ctx);
      },
      { signal: ctx.signal },
    );
  } catch (error) {
    const known = findFailure(error);
    if (!known) throw error;
    return `cannot be read: ${known.message}`;
  }
}

/**
 * Has the primary checkpoint and the standby replay that, so that the copy begins there: a standby begins at the last
 * checkpoint that it replayed, which may lie before the archived log, or before the parent of an incremental.
 */
export async function prepareStandby(
  source: DumpSource,
  standby: PostgresqlSite,
  primary: PostgresqlSite,
  checkpoint: PostgresqlSettings['checkpoint'],
  ctx: CallContext,
): Promise<void> {
  ctx.progress({ phase: 'waiting for the standby', note: source.member });
  const common = { signal: ctx.signal, statementMilliseconds: CATCH_UP_AT_START_MILLISECONDS };
  const target = await withClient(
    primary,
    async (client) => {
      if (checkpoint === 'fast') await client.query('CHECKPOINT');
      const { rows } = await client.query('SELECT pg_current_wal_flush_lsn()::text AS lsn');
      return parseLsn((rows[0] as { lsn: string }).lsn);
    },
    common,
  );
  await withClient(
    standby,
    async (client) => {
      const facts = await readFacts(client, addressOf(standby));
      if (!facts.inRecovery) {
        throw failure('RoleMismatch', `${addressOf(standby)} (site ${source.site}) is no standby any more`, {
          data: 'No backup was committed; earlier backups are not affected.',
          next: 'Start the backup again: it looks for a standby anew.',
        });
      }
      const behind = await whyBehind(client, target, CATCH_UP_AT_START_MILLISECONDS, ctx);
      if (behind !== null) {
        throw failure('TargetUnreachable', `${addressOf(standby)} (site ${source.site}), a standby, ${behind}`);
      }
    },
    common,
  );
}

async function whyBehind(
  client: Client,
  target: bigint,
  milliseconds: number,
  ctx: CallContext,
): Promise<string | null> {
  const deadline = Date.now() + milliseconds;
  for (;;) {
    const { rows } = await client.query(
      "SELECT pg_last_wal_replay_lsn()::text AS lsn, pg_get_wal_replay_pause_state() <> 'not paused' AS paused",
    );
    const { lsn, paused } = rows[0] as { lsn: string | null; paused: boolean };
    const replayed = lsn === null ? 0n : parseLsn(lsn);
    if (replayed >= target) return null;
    if (paused) return `does not replay: somebody paused it at ${formatLsn(replayed)} (pg_wal_replay_resume())`;
    if (Date.now() > deadline) {
      const behind = formatBytes(Number(target - replayed));
      return `is ${behind} behind the primary and did not catch up within ${milliseconds / 1_000} s`;
    }
    await sleep(POLL_MILLISECONDS, undefined, { signal: ctx.signal });
  }
}
