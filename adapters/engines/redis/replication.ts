import type { CallContext } from '../../../core/call';
import type { Replication } from '../../../core/roles';
import { failure, findFailure } from '../../../core/errors';
import type { ReplicaState } from '../../../core/replication';
import { readAclFence } from './acl-fence';
import { addressOf, lookAtRedis, type RedisEndpoint, withRedis } from './connection';
import { divergenceOf } from './divergence';
import { PROBE_KEY, readEpoch } from './epoch';
import { fenceRedis, unfenceRedis } from './fence';
import { redisFenceOutlook } from './fence-outlook';
import { followRedis, handOverRedis } from './hand-over';
import { infoPosition, readInfo, type RedisInfo } from './info';
import { promoteRedis, redisPromotionObstacles } from './promote';
import { WriteCounter } from './write-counter';

/** Roles of one store. `endpointOf` throws NotFound for a site that the store does not have. */
export function redisReplication(store: string, endpointOf: (site: string) => RedisEndpoint): Replication {
  const counters = new Map<string, WriteCounter>();

  const measure = (site: string, ctx: CallContext): Promise<ReplicaState> =>
    lookAtRedis(endpointOf(site), ctx, async (client) => {
      // Before the question: the age of a sample may be overstated, never understated.
      const at = new Date().toISOString();
      const info = await readInfo(client, 'server', 'replication');
      const answeredAt = new Date().toISOString();
      const position = infoPosition(info);
      if (!position)
        throw failure('TargetUnreachable', `Redis at ${addressOf(endpointOf(site))} does not say its position`);
      const primary = info.get('role') === 'master';
      const counter = counters.get(site) ?? new WriteCounter();
      counters.set(site, counter);
      return {
        site,
        at,
        answeredAt,
        serverAt: serverTime(info),
        position,
        bytes: Number(position.value),
        // A replica counts what it applied itself, which is another counter than its primary's.
        operations: primary ? await counter.read(client, info.get('run_id') ?? '') : null,
        // A primary knows all of its own changes; the stream to a replica carries no times.
        appliedUntil: primary ? serverTime(info) : null,
      };
    });

  /** Null and the reason for a side that does not answer. */
  const attempt = async (
    site: string,
    ctx: CallContext,
  ): Promise<{ state: ReplicaState | null; problem: string | null }> => {
    try {
      return { state: await measure(site, ctx), problem: null };
    } catch (error) {
      const known = findFailure(error);
      if (known?.code !== 'TargetUnreachable' && known?.code !== 'AccessDenied') throw error;
      return { state: null, problem: `${site}: ${known.message}` };
    }
  };

  return {
    electsItself: false,

    async sample(primarySite, standbySite, ctx) {
      const [primary, standby] = await Promise.all([attempt(primarySite, ctx), attempt(standbySite, ctx)]);
      const problems = [primary.problem, standby.problem].filter((each) => each !== null);
      return {
        store,
        takenAt: new Date().toISOString(),
        primary: primary.state,
        standby: standby.state,
        problem: problems.length > 0 ? problems.join('; ') : null,
      };
    },

    state: async (site, ctx) => (await attempt(site, ctx)).state,

    fence: (site, _survivingSite, epoch, ctx) => fenceRedis({ store, site, epoch }, endpointOf(site), ctx),

    unfence: (site, epoch, ctx) => unfenceRedis(epoch, endpointOf(site), ctx),

    obstacles: (site, _lostSite, ctx) => redisPromotionObstacles(endpointOf(site), ctx),
    fenceOutlook: (site, _survivingSite, ctx) => redisFenceOutlook(endpointOf(site), ctx),

    handOver: (request, ctx) => handOverRedis(store, request, endpointOf, ctx),

    follow: (request, ctx) => followRedis(store, request, endpointOf, ctx),

    divergence: (oldSite, newSite, ctx) =>
      divergenceOf(store, { from: endpointOf(oldSite), to: endpointOf(newSite) }, ctx),

    promote: (request, ctx) => promoteRedis(store, request, endpointOf(request.site), ctx),

    async epoch(site, ctx) {
      try {
        return await lookAtRedis(endpointOf(site), ctx, readEpoch);
      } catch (error) {
        if (findFailure(error)?.code !== 'TargetUnreachable') throw error;
        return null;
      }
    },

    writeProbe: (site, marker, ctx) =>
      withRedis(endpointOf(site), ctx, async (client) => {
        const started = performance.now();
        const at = new Date().toISOString();
        await client.set(PROBE_KEY, marker).catch(async (error: Error) => {
          const fenced = /^NOPERM/.test(error.message) && (await readAclFence(client)) !== null;
          throw fenced || /^(READONLY|NOREPLICAS|MISCONF|OOM)/.test(error.message)
            ? refused(site, addressOf(endpointOf(site)), error)
            : error;
        });
        const read = await client.get(PROBE_KEY);
        if (read !== marker) {
          throw failure(
            'VerificationFailed',
            `${store} at ${site}: wrote ${marker} to ${PROBE_KEY} and read ${read ?? 'nothing'}`,
          );
        }
        return { site, at, marker, roundTripMilliseconds: performance.now() - started };
      }),
  };
}

/** `server_time_usec` of INFO (Redis 7, Valkey): microseconds of its own clock. */
function serverTime(info: RedisInfo): string | null {
  const microseconds = Number(info.get('server_time_usec'));
  return microseconds > 0 ? new Date(microseconds / 1_000).toISOString() : null;
}

function refused(site: string, address: string, error: Error): unknown {
  return failure('RoleMismatch', `Redis at ${site} (${address}) refused a write: ${error.message}`, { cause: error });
}
