import type { CallContext } from '../../../core/call';
import type { DumpPlan, DumpRequest, Engine, StoreProbe } from '../../../core/engine';
import { failure, findFailure } from '../../../core/errors';
import { readAclFence } from './acl-fence';
import { ARCHIVER_SETTINGS, archiverProblems, countedArchiver, replicasIn } from './archiver-checks';
import { changesBehind } from './changes-behind';
import { addressOf, lookAtRedis, type RedisEndpoint, withRedis } from './connection';
import { dumpRedis } from './dump';
import { readFenceLevel } from './fence-level';
import { fingerprintRedis } from './fingerprint';
import { infoPosition, infoVersion, readConfig, readInfo, type RedisInfo } from './info';
import { logEnd } from './log-end';
import { logReach } from './log-reach';
import { planRestore, recoveryWindows } from './plan-restore';
import { naming, redisPositions } from './positions';
import { redisReplication } from './replication';
import { redisRestore } from './restore';
import type { RedisSettings } from './settings';
import { archiveStream } from './stream-archiver';

export interface RedisEngineOptions {
  readonly store: string;
  readonly settings: RedisSettings;
}

/**
 * Redis 7 and newer, and Valkey; one server or primary and replicas, no Cluster. Nothing is asked of the host: backups and the
 * log come over the replication protocol.
 */
export function createRedisEngine({ store, settings }: RedisEngineOptions): Engine<'redis'> {
  const siteOf = (site: string) => {
    const found = settings.sites[site];
    if (found) return found;
    throw failure('NotFound', `${store} has no site "${site}"; it has ${Object.keys(settings.sites).join(', ')}`);
  };
  const password = settings.restorePassword ?? Object.values(settings.sites).find((each) => each.password)?.password;

  return {
    kind: 'redis',
    contentAges: true,
    store,
    artifactKind: (type) => type,
    positions: redisPositions,
    log: {
      naming,
      reach: logReach,
      end: (site, ctx) => logEnd(siteOf(site), site, ctx),
      changesBehind,
      archive: (request, archive, onDurable, ctx) =>
        archiveStream(siteOf(request.site), request, archive, onDurable, ctx),
      // The server forgets an archiver with its connection.
      release: async () => {},
    },
    replication: redisReplication(store, siteOf),
    checks: null,
    restore: redisRestore({ store, toolsDirectory: settings.toolsDirectory, password }),

    probe: (site, ctx) => probe(site, siteOf(site), ctx),

    async planDump(request, ctx) {
      const site = siteOf(request.site);
      const replicas = site.replicas.map((each) => ({ ...site, ...each }));
      return planDump(request, site, replicas, ctx);
    },

    async dump(plan, _parent, sink, ctx) {
      const site = siteOf(plan.source.site);
      const member = [site, ...site.replicas.map((each) => ({ ...site, ...each }))].find(
        (each) => addressOf(each) === plan.source.member,
      );
      if (!member) throw failure('NotFound', `${store} has no member ${plan.source.member} at ${plan.source.site}`);
      return dumpRedis(plan, member, site.aofDirectory, sink, ctx);
    },

    planRestore: (target, catalog, ctx) => planRestore(store, target, catalog, ctx),
    windows: recoveryWindows,

    fingerprint(of, ctx) {
      if ('site' in of) return fingerprintRedis(siteOf(of.site), ctx);
      if (!of.address) throw failure('UsageInvalid', `the restored ${store} in ${of.directory} is not open`);
      return fingerprintRedis({ ...of.address, password }, ctx);
    },
  };
}

async function probe(site: string, endpoint: RedisEndpoint, ctx: CallContext): Promise<StoreProbe> {
  const nothing = {
    site,
    at: new Date().toISOString(),
    writable: null,
    identity: null,
    serverVersion: null,
    position: null,
  };
  try {
    return await lookAtRedis(endpoint, ctx, async (client) => {
      const info = await readInfo(client, 'server', 'replication', 'persistence', 'cluster');
      const names = ['min-replicas-to-write', 'min-replicas-max-lag', ...ARCHIVER_SETTINGS];
      const settings = await readConfig(client, ...names).catch(() => new Map<string, string>());
      return {
        ...nothing,
        reachable: true,
        role: roleOf(info),
        writable: (await readAclFence(client)) === null ? writable(info, settings) : false,
        identity: info.get('master_replid') ?? null,
        serverVersion: infoVersion(info),
        position: infoPosition(info),
        problems: [...problemsOf(info), ...archiverProblems(info, settings), ...countedProblem(info, settings)],
      };
    });
  } catch (error) {
    const known = findFailure(error);
    if (!known) throw error;
    return { ...nothing, reachable: false, role: 'unknown', problems: [known.message] };
  }
}

function roleOf(info: RedisInfo): StoreProbe['role'] {
  if (info.get('role') === 'slave') return 'replica';
  return replicasIn(info).replicas.length > 0 ? 'primary' : 'standalone';
}

function countedProblem(info: RedisInfo, settings: ReadonlyMap<string, string>): string[] {
  const wanted = Number(settings.get('min-replicas-to-write') ?? 0);
  if (readFenceLevel(wanted)) return [];
  const problem = countedArchiver(info, wanted, Number(settings.get('min-replicas-max-lag') ?? 0));
  return problem === null ? [] : [problem];
}

/** By the same rule as the server's own (server.c `checkGoodReplicasStatus`). */
function writable(info: RedisInfo, settings: ReadonlyMap<string, string>): boolean | null {
  if (info.get('role') === 'slave') return info.get('slave_read_only') === '0';
  if (info.get('loading') === '1') return false;
  const [wanted, maxLag] = [settings.get('min-replicas-to-write'), settings.get('min-replicas-max-lag')];
  if (wanted === undefined || maxLag === undefined) return null;
  return Number(wanted) === 0 || maxLag === '0' || Number(info.get('min_slaves_good_slaves') ?? 0) >= Number(wanted);
}

function problemsOf(info: RedisInfo): string[] {
  const problems: string[] = [];
  if (info.get('cluster_enabled') === '1') problems.push(CLUSTER);
  if (info.get('loading') === '1') problems.push('it is loading its data and accepts no commands yet');
  if (info.get('role') === 'slave' && info.get('master_link_status') !== 'up') {
    problems.push(`the link to its primary ${info.get('master_host')}:${info.get('master_port')} is down`);
  }
  if (info.get('aof_last_write_status') === 'err') problems.push('the last write to its append-only file failed');
  return problems;
}

const CLUSTER =
  'it is a node of a Redis Cluster, which is not supported: a backup of one node is not one of the cluster';

/** A replica that follows, if there is one: a full synchronisation makes the server fork. */
async function planDump(
  { backupId, site }: DumpRequest,
  primary: RedisEndpoint,
  replicas: readonly RedisEndpoint[],
  ctx: CallContext,
): Promise<DumpPlan> {
  for (const member of [...replicas, primary]) {
    const info = await look(member, ctx).catch((error: unknown) => {
      // A replica that is down is no reason to skip the backup: the next member is asked, and the primary must answer.
      if (member === primary || findFailure(error)?.code !== 'TargetUnreachable') throw error;
      ctx.log.warn({ member: addressOf(member) }, 'replica not reachable, the backup reads from another member');
      return null;
    });
    if (!info || (member !== primary && info.get('master_link_status') !== 'up')) continue;
    if (info.get('cluster_enabled') === '1')
      throw failure('ConfigInvalid', `Redis at ${addressOf(member)}: ${CLUSTER}`);
    return {
      backupId,
      type: 'full',
      typeReason: null,
      parent: null,
      source: { site, member: addressOf(member) },
      estimatedBytes: Number(info.get('used_memory_dataset')) || null,
    };
  }
  throw failure('TargetUnreachable', `Redis at ${addressOf(primary)} does not answer`);
}

const look = (member: RedisEndpoint, ctx: CallContext) =>
  withRedis(member, ctx, (client) => readInfo(client, 'replication', 'memory', 'cluster'));
