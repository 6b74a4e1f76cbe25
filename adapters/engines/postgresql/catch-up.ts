import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import type { CallContext } from '../../../core/call';
import type { CatchUpRequest, CaughtUp } from '../../../core/catch-up';
import { failure } from '../../../core/errors';
import type { LogArchive, LogEntry } from '../../../core/log-archive';
import { type ArchivedWay, archivedWay, lastRecordOf, type StandbyPlace } from './archived-way';
import { addressOf, withClient } from './connection';
import { entryBytes } from './entry-bytes';
import { refuseOlderEpoch } from './hand-over';
import { formatLsn, lineageOf, positionAt, readPieceName } from './lsn';
import { borrowConninfo, giveBackConninfo } from './primary-conninfo';
import { readEpoch } from './role-epoch';
import { readFacts } from './server-facts';
import type { PostgresqlSite } from './settings';
import { nameOf, serversOf } from './site-servers';
import { readStandbyPlace } from './standby-place';
import { WalServer } from './wal-server';

const POLL_MILLISECONDS = 100;
/** Our statements on the way; the waiting is done between them. */
const STATEMENT_MILLISECONDS = 15_000;
const SKIP = 'or skip the step: what only the archive has is then not promoted, and restored by `drctl restore`';

interface Standby extends StandbyPlace {
  readonly version: string;
}

/**
 * What the archived log has and a standby has not comes to it as from a primary: this worker offers it at an address of its
 * own, `primary_conninfo` names that until the last archived record is replayed, and is then as it was. The server needs no
 * restart, no program and no file for it. Repeatable; changes nothing where nothing is missing.
 */
export async function catchUpFromArchive(
  store: string,
  site: PostgresqlSite,
  request: CatchUpRequest,
  log: LogArchive,
  ctx: CallContext,
): Promise<CaughtUp> {
  const deadline = Date.now() + request.withinSeconds * 1_000;
  return withClient(
    site,
    async (client) => {
      refuseOlderEpoch(store, request.site, request.epoch, await readEpoch(client));
      const standby = await lookAt(client, addressOf(site));
      const of = { store, server: nameOf(site) };
      const at = (lsn: bigint, timeline = standby?.timeline ?? 0) =>
        positionAt(lineageOf(standby?.systemId ?? '', timeline), lsn);
      if (!standby) return nothing(of, await primaryPosition(client, addressOf(site)), 'it is a primary already');
      await giveBackConninfo(client); // an earlier try may have died
      ctx.progress({ phase: 'looking at the archived log', note: store });
      const way = await inTime(archivedWay(log, standby), deadline, 'the archived log could not be looked at');
      if (!way || way.reaches <= standby.received)
        return nothing(of, at(standby.replayed), way ? upToDate(way) : 'nothing of its cluster is archived');
      const last = await inTime(lastRecordOf(way, log, ctx), deadline, 'the end of the archived log could not be read');
      const archived = at(way.reaches, way.timeline);
      if (last === null || standby.replayed > last)
        return { ...nothing(of, at(standby.replayed), upToDate(way)), archived };
      const reached = await feed({ client, site, standby, way, last, log, deadline, ctx });
      return {
        ...of,
        before: at(standby.replayed),
        reached: at(reached, way.timeline),
        archived,
        fed: true,
        how:
          `replayed from ${formatLsn(standby.replayed)} to ${formatLsn(reached)} out of the archived log, all that it has` +
          (way.broken ? '; more is archived behind a hole in it, which nothing can replay' : ''),
      };
    },
    { statementMilliseconds: STATEMENT_MILLISECONDS, signal: ctx.signal },
  );
}

/** Undoes what a try that died has left, at whichever server of the site. */
export async function leaveArchive(site: PostgresqlSite, ctx: CallContext): Promise<boolean> {
  const options = { statementMilliseconds: STATEMENT_MILLISECONDS, signal: ctx.signal };
  const servers = serversOf(site);
  const ended = await Promise.allSettled(servers.map((server) => withClient(server, giveBackConninfo, options)));
  const failed = ended.find((each) => each.status === 'rejected');
  if (failed) throw failed.reason;
  return ended.some((each) => each.status === 'fulfilled' && each.value);
}

const upToDate = ({ reaches }: ArchivedWay) => `it has all that is archived (until ${formatLsn(reaches)})`;

const nothing = (of: Pick<CaughtUp, 'store' | 'server'>, position: CaughtUp['before'], how: string): CaughtUp => ({
  ...{ ...of, before: position, reached: position, archived: null, fed: false, how },
});

async function primaryPosition(client: Client, where: string) {
  const { systemId, timeline, lsn } = await readFacts(client, where);
  return positionAt(lineageOf(systemId, timeline), lsn);
}

async function lookAt(client: Client, where: string): Promise<Standby | null> {
  const { inRecovery, ...standby } = await readStandbyPlace(client, where);
  return inRecovery ? standby : null;
}

interface Feeding {
  readonly client: Client;
  readonly site: PostgresqlSite;
  readonly standby: Standby;
  readonly way: ArchivedWay;
  /** Replay has to get past this. */
  readonly last: bigint;
  readonly log: LogArchive;
  readonly deadline: number;
  readonly ctx: CallContext;
}

async function feed(feeding: Feeding): Promise<bigint> {
  const { client, site, standby, way, log } = feeding;
  const password = randomBytes(24).toString('hex');
  const host = site.catchUp?.host ?? localAddress(client);
  const tls = await certificateOf(site);
  const read = (entry: LogEntry) => readEntry(log, entry);
  const source = { way, serverVersion: standby.version, password, tls, read };
  const server = await WalServer.listen(source, { host, port: site.catchUp?.port ?? 0 });
  try {
    const encryption = tls ? 'sslmode=require' : 'sslmode=disable';
    await borrowConninfo(
      client,
      `host=${host} port=${server.port} user=drctl password=${password} ${encryption} gssencmode=disable connect_timeout=5`,
    );
    return await replayedPast(server, `${host}:${server.port}`, feeding);
  } finally {
    // Over a connection of its own where this one is gone: without it the standby would look for us for ever.
    await giveBackConninfo(client).catch(() =>
      leaveArchive(site, { ...feeding.ctx, signal: AbortSignal.timeout(5_000) }),
    );
    await server.close();
  }
}

/** The address that this worker has on the way to the standby leads back, unless something translates addresses between. */
function localAddress(client: Client): string {
  const { stream } = (client as unknown as { connection: { stream: Socket } }).connection;
  return (stream.localAddress ?? '127.0.0.1').replace(/^::ffff:/, '');
}

/** What is encrypted on its way from the primary is not sent in the clear by us. */
async function certificateOf({ tls, catchUp }: PostgresqlSite) {
  if (catchUp?.keyFile && catchUp.certFile)
    return { key: await readFile(catchUp.keyFile), cert: await readFile(catchUp.certFile) };
  if (!tls) return null;
  throw failure(
    'CatchUpIncomplete',
    'the connections of this store are encrypted, and there is no certificate to offer its log with',
    {
      next: `Name catchUp.certFile and catchUp.keyFile at the site of the store in the config and retry; ${SKIP}.`,
    },
  );
}

async function readEntry(log: LogArchive, entry: LogEntry): Promise<Buffer> {
  const bytes = await entryBytes(log, entry);
  const range = readPieceName(entry.name);
  if (range && BigInt(bytes.length) === range.to - range.from) return bytes;
  throw failure('BackupCorrupt', `${entry.key} holds ${bytes.length} bytes, which is not what its name says`);
}

async function replayedPast(server: WalServer, address: string, feeding: Feeding): Promise<bigint> {
  const { client, site, standby, way, last, deadline, ctx } = feeding;
  const missing = Number(way.reaches - standby.replayed);
  for (;;) {
    server.check();
    const { rows } = await client.query(
      `SELECT (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::text AS replayed,
              CASE WHEN pg_is_in_recovery() AND pg_is_wal_replay_paused() THEN pg_wal_replay_resume() END`,
    );
    const replayed = BigInt((rows[0] as { replayed: string }).replayed);
    if (replayed > last) return replayed;
    const done = Number(replayed - standby.replayed);
    ctx.progress({
      phase: 'replaying the archived log',
      doneBytes: done,
      totalBytes: missing,
      note: formatLsn(replayed),
    });
    if (Date.now() >= deadline) throw tooLate(addressOf(site), replayed, server.welcomed ? null : address, way);
    await delay(POLL_MILLISECONDS, undefined, { signal: ctx.signal });
  }
}

function tooLate(where: string, replayed: bigint, unreached: string | null, { reaches }: ArchivedWay): Error {
  const why =
    unreached === null
      ? `${where} has replayed ${formatLsn(replayed)} of ${formatLsn(reaches)} that is archived`
      : `${where} has not come to ${unreached} for the archived log (until ${formatLsn(reaches)})`;
  const mend =
    unreached === null
      ? 'Retry: it goes on where it is'
      : 'See in the log of the server why it cannot reach this worker (catchUp.host and catchUp.port choose the address), then retry';
  return failure('CatchUpIncomplete', `${why}, in the time that it was given`, { next: `${mend}; ${SKIP}.` });
}

async function inTime<T>(work: Promise<T>, deadline: number, words: string): Promise<T> {
  const over = new AbortController();
  const late = delay(Math.max(1, deadline - Date.now()), undefined, { signal: over.signal }).then(() => {
    throw failure('CatchUpIncomplete', `${words} in the time that it was given`, { next: `Retry; ${SKIP}.` });
  });
  void Promise.allSettled([work, late]);
  try {
    return await Promise.race([work, late]);
  } finally {
    over.abort();
  }
}
