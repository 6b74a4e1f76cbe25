import type { Client } from 'pg';
import type { CallContext } from '../../../core/call';
import type { PromoteRequest, PromoteResult, Replication, WriteProbe } from '../../../core/roles';
import { failure, findFailure, hasCode } from '../../../core/errors';
import { type FenceEvidence, unfencedStores } from '../../../core/fencing';
import type { ReplicaState, ReplicationSample } from '../../../core/replication';
import { answerWithin, LOOK_MILLISECONDS } from '../answer-within';
import { addressOf, sqlState, withClient } from './connection';
import { catchUpFromArchive, leaveArchive } from './catch-up';
import { divergenceOf } from './divergence';
import { fencePrimary, isFenced, liftFence, unfencePrimary } from './fence';
import { fenceOutlook } from './fence-outlook';
import { followNewPrimary } from './follow';
import { followMembers } from './follow-members';
import { handOverPrimary } from './hand-over';
import { lineageOf, positionAt } from './lsn';
import { giveBackConninfo } from './primary-conninfo';
import { catchUpLacks, promotionObstacles } from './promotion-obstacles';
import { noteEpoch, readEpoch } from './role-epoch';
import { ensureSchema, SCHEMA } from './schema';
import { readFacts } from './server-facts';
import { passedShutdownCheckpoint } from './shutdown-checkpoint';
import type { PostgresqlSettings, PostgresqlSite } from './settings';
import { lookAtServers, sameServer, type SiteServers } from './site-servers';

/** pg_promote's own wait; a promotion takes a second or two once what was received is replayed. */
const PROMOTE_SECONDS = 60;

export function createReplication(
  store: string,
  servers: SiteServers,
  { fenceByAccessRules }: Pick<PostgresqlSettings, 'fenceByAccessRules'>,
): Replication {
  const primaryAt = (site: string, ctx: CallContext) => servers.primaryAt(site, ctx);
  const candidateAt = async (site: string, ctx: CallContext) => (await servers.candidateAt(site, ctx)).site;
  const measure = async (site: string, ctx: CallContext) => {
    const candidate = await servers.candidateAt(site, ctx);
    const state = await measureState(site, candidate.site, ctx);
    return candidate.why === null ? state : { ...state, chosen: candidate.why };
  };

  return {
    electsItself: false,

    async sample(primarySite, standbySite, ctx): Promise<ReplicationSample> {
      const takenAt = new Date().toISOString();
      const [primary, standby] = await Promise.allSettled([
        primaryAt(primarySite, ctx).then((server) => measureState(primarySite, server, ctx)),
        measure(standbySite, ctx),
      ]);
      for (const side of [primary, standby]) {
        if (side.status === 'rejected' && !findFailure(side.reason)) throw side.reason;
      }
      const problems = [[primarySite, primary] as const, [standbySite, standby] as const].flatMap(([site, result]) =>
        result.status === 'rejected' ? [`${site}: ${(result.reason as Error).message}`] : [],
      );
      return {
        store,
        takenAt,
        primary: primary.status === 'fulfilled' ? primary.value : null,
        standby: standby.status === 'fulfilled' ? standby.value : null,
        problem: problems.length > 0 ? problems.join('; ') : null,
      };
    },

    async state(site, ctx) {
      try {
        return await measure(site, ctx);
      } catch (error) {
        if (hasCode(error, 'TargetUnreachable')) return null;
        throw error;
      }
    },

    async fence(site, _survivingSite, epoch, ctx) {
      const primary = await primaryAt(site, ctx);
      const evidence = await fencePrimary(store, site, primary, epoch, ctx, fenceByAccessRules);
      return evidence.strength === 'proven' ? unlessAnotherMayLead(evidence, primary, ctx) : evidence;
    },
    unfence: async (site, epoch, ctx) => unfencePrimary(store, site, await primaryAt(site, ctx), epoch, ctx),
    async handOver(request, ctx) {
      const { fromSite, toSite } = request;
      return handOverPrimary(
        store,
        request,
        { from: await primaryAt(fromSite, ctx), to: await candidateAt(toSite, ctx) },
        ctx,
      );
    },
    passedEnd: async (request, ctx) => passedShutdownCheckpoint(await candidateAt(request.site, ctx), request, ctx),
    async follow(request, ctx) {
      const { site, primarySite } = request;
      const [old, primary] = [await primaryAt(site, ctx), await primaryAt(primarySite, ctx)];
      return followNewPrimary(store, request, { old, primary }, ctx);
    },
    followMembers: async (request, ctx) => followMembers(store, request, await primaryAt(request.site, ctx), ctx),
    catchUp: async (request, log, ctx) =>
      catchUpFromArchive(store, await candidateAt(request.site, ctx), request, log, ctx),
    catchUpLacks: async (site, ctx) => catchUpLacks(await candidateAt(site, ctx), ctx),
    leaveArchive: (site, ctx) => leaveArchive(servers.named(site), ctx),

    async divergence(oldSite, newSite, ctx) {
      return divergenceOf(store, { from: await primaryAt(oldSite, ctx), to: await primaryAt(newSite, ctx) }, ctx);
    },

    choose: (request, ctx) => servers.choose(request.site, request.atLeast, ctx),

    async promote(request, ctx) {
      if (unfencedStores([store], request.evidence, { epoch: request.epoch, promotedSite: request.site }).length > 0) {
        throw failure(
          'FencingUnconfirmed',
          `${store} at ${request.site} is not promoted: nothing proves that its old primary is fenced`,
        );
      }
      const { site, why } = request.server
        ? { site: servers.at(request.site, request.server), why: null }
        : await servers.candidateAt(request.site, ctx);
      const promoted = await promote(store, site, request, ctx);
      return why === null ? promoted : { ...promoted, chosen: why };
    },

    async epoch(name, ctx) {
      try {
        const site = await candidateAt(name, ctx);
        return await answerWithin(ctx.signal, LOOK_MILLISECONDS, addressOf(site), (signal) =>
          withClient(site, readEpoch, { signal }),
        );
      } catch (error) {
        if (hasCode(error, 'TargetUnreachable')) return null;
        throw error;
      }
    },

    obstacles: async (site, _lostSite, ctx) => promotionObstacles(await candidateAt(site, ctx), ctx),
    fenceOutlook: async (site, _survivingSite, ctx) =>
      fenceOutlook(await primaryAt(site, ctx), fenceByAccessRules, ctx),
    writeProbe: async (site, marker, ctx) => writeProbe(site, await primaryAt(site, ctx), marker, ctx),
  };
}

/** Nobody connected to this one says nothing of another server of the site that takes writes, or may. */
async function unlessAnotherMayLead(
  evidence: FenceEvidence,
  primary: PostgresqlSite,
  ctx: CallContext,
): Promise<FenceEvidence> {
  const others = (await lookAtServers(primary, ctx)).filter(({ server }) => !sameServer(server, primary));
  const doubtful = others.filter(({ place }) => place === null || place.primary);
  if (doubtful.length === 0) return evidence;
  const words = doubtful.map(
    ({ server, place }) => `${addressOf(server)} ${place ? 'is a primary too' : 'does not answer'}`,
  );
  return { ...evidence, strength: 'weak', how: `${evidence.how}; ${words.join('; ')}` };
}

/**
 * Position and counters of one side. `operations` counts transaction ids, which only writes take: the same counter is
 * readable on both sides and its growth is the number of writing transactions.
 */
async function measureState(name: string, site: PostgresqlSite, ctx: CallContext): Promise<ReplicaState> {
  const look = (signal: AbortSignal) =>
    withClient(
      site,
      async (client) => {
        const at = new Date().toISOString();
        const facts = await readFacts(client, addressOf(site));
        const answeredAt = new Date().toISOString();
        const { rows } = await client.query(
          `SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS xids, to_regclass('${SCHEMA}.heartbeat') IS NOT NULL AS beats,
                  (SELECT checkpoint_time FROM pg_control_checkpoint()) AS checkpoint`,
        );
        const { xids, beats, checkpoint } = rows[0] as { xids: string; beats: boolean; checkpoint: Date | null };
        return {
          site: name,
          at,
          answeredAt,
          serverAt: facts.now,
          position: positionAt(lineageOf(facts.systemId, facts.timeline), facts.lsn),
          bytes: Number(facts.lsn),
          operations: Number(xids),
          appliedUntil: facts.inRecovery ? (beats ? await heartbeatOf(client) : null) : facts.now,
          checkpointAt: checkpoint?.toISOString() ?? null,
        };
      },
      { statementMilliseconds: LOOK_MILLISECONDS, signal },
    );
  // A measurement must not hold up the next one, nor a decision.
  return answerWithin(ctx.signal, LOOK_MILLISECONDS, addressOf(site), look);
}

async function heartbeatOf(client: Parameters<typeof readEpoch>[0]): Promise<string | null> {
  const { rows } = await client.query(`SELECT at FROM ${SCHEMA}.heartbeat`);
  return (rows[0] as { at: Date } | undefined)?.at.toISOString() ?? null;
}

/** Reads the state, acts, verifies: a repeat finds a primary of this epoch and changes nothing. */
async function promote(
  store: string,
  site: PostgresqlSite,
  request: PromoteRequest,
  ctx: CallContext,
): Promise<PromoteResult> {
  return withClient(
    site,
    async (client) => {
      const where = addressOf(site);
      const noted = await readEpoch(client);
      if (noted !== null && noted > request.epoch) {
        throw failure(
          'StaleEpoch',
          `${store} at ${request.site} is at epoch ${noted}; this role change is ${request.epoch}`,
        );
      }
      const before = await readFacts(client, where);
      if (before.inRecovery) {
        ctx.progress({ phase: 'promoting the standby', note: request.site });
        // A replay that somebody paused would leave the promotion waiting, and received WAL unused.
        await client.query('SELECT pg_wal_replay_resume()');
        const { rows } = await client.query(`SELECT pg_promote(true, ${PROMOTE_SECONDS}) AS done`);
        if (!(rows[0] as { done: boolean }).done) {
          throw failure('PromotionFailed', `${where} did not end its recovery within ${PROMOTE_SECONDS} s`);
        }
      }
      // Of a catch-up whose worker died, and which a person skipped then.
      await giveBackConninfo(client);
      if (await isFenced(client)) await liftFence(client);
      await dropDeadSynchronousStandbys(client);
      await ensureSchema(client);
      await noteEpoch(client, store, request);
      const after = await readFacts(client, where);
      if (after.inRecovery) throw failure('PromotionFailed', `${where} is still in recovery after its promotion`);
      return {
        site: request.site,
        position: positionAt(lineageOf(after.systemId, after.timeline), after.lsn),
        promotedAt: after.now,
        already: !before.inRecovery && noted === request.epoch,
      };
    },
    { statementMilliseconds: (PROMOTE_SECONDS + 15) * 1_000, signal: ctx.signal },
  ).catch((error: unknown) => {
    const known = findFailure(error);
    if (known?.code !== 'TargetUnreachable') throw error;
    const { standbys } = site;
    throw failure(
      'PromotionFailed',
      `${store} at ${request.site} was not seen to be promoted: ${known.message}` +
        (standbys.length > 0 ? '; it may be a primary by now, and a retry chooses among those that answer' : ''),
      {
        cause: error,
        ...(standbys.length > 0 ? { next: 'Bring it back, or make sure that it stays off, then retry.' } : {}),
      },
    );
  });
}

/**
 * synchronous_standby_names comes along from the old primary. When it names nobody who is connected, every commit would
 * wait for ever; our own session does not.
 */
async function dropDeadSynchronousStandbys(client: Parameters<typeof readEpoch>[0]): Promise<void> {
  await client.query('SET synchronous_commit = local');
  const { rows } = await client.query(`
    SELECT current_setting('synchronous_standby_names') <> ''
           AND NOT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')) AS dead`);
  if (!(rows[0] as { dead: boolean }).dead) return;
  await client.query("ALTER SYSTEM SET synchronous_standby_names = ''");
  await client.query('SELECT pg_reload_conf()');
}

async function writeProbe(name: string, site: PostgresqlSite, marker: string, ctx: CallContext): Promise<WriteProbe> {
  const write = async (client: Client) => {
    try {
      return { site: name, marker, ...(await writeAndRead(client, addressOf(site), marker)) };
    } catch (error) {
      if (sqlState(error) !== '25006') throw error; // read_only_sql_transaction: a standby, or a primary that is fenced
      const why = (error as Error).message;
      throw failure('RoleMismatch', `${addressOf(site)} (site ${name}) refused a write: ${why}`, { cause: error });
    }
  };
  return withClient(site, write, { signal: ctx.signal });
}

/** Writes and reads back one row; keeps the newest hundred. */
async function writeAndRead(client: Client, where: string, marker: string) {
  await ensureSchema(client);
  const started = performance.now();
  await client.query(
    `INSERT INTO ${SCHEMA}.write_probe VALUES ($1, now()) ON CONFLICT (marker) DO UPDATE SET at = excluded.at`,
    [marker],
  );
  const { rows } = await client.query(`SELECT at FROM ${SCHEMA}.write_probe WHERE marker = $1`, [marker]);
  const roundTripMilliseconds = performance.now() - started;
  const at = (rows[0] as { at: Date } | undefined)?.at.toISOString();
  if (!at) throw failure('VerificationFailed', `${where} did not give back the row just written (${marker})`);
  await client.query(
    `DELETE FROM ${SCHEMA}.write_probe WHERE marker NOT IN
       (SELECT marker FROM ${SCHEMA}.write_probe ORDER BY at DESC LIMIT 100)`,
  );
  return { at, roundTripMilliseconds };
}
