import type { CallContext } from '../../../core/call';
import type { Engine, LogShipping } from '../../../core/engine';
import type { RestoredStore } from '../../../core/recovery';
import { archiveWal, slotName } from './archive';
import { dropSlot } from './archive-start';
import { createChecks } from './checks';
import { addressOf, translate, withClient } from './connection';
import { dump, planDump } from './dump';
import { fingerprint, FINGERPRINT_STATEMENT_MILLISECONDS, type WithDatabase } from './fingerprint';
import { logReach } from './log-reach';
import { positions, walNaming } from './lsn';
import { planRestore } from './plan-restore';
import { probe } from './probe';
import { windows } from './recovery-candidates';
import { createReplication } from './replication';
import { ReplicationConnection } from './replication-connection';
import { createRestore } from './restore';
import { restoredHeartbeat } from './restored-heartbeat';
import { restoredMarker, withRestored } from './restored-server';
import { pathsOf } from './restore-place';
import { serversOf, SiteServers, withOthers } from './site-servers';
import type { PostgresqlSettings, PostgresqlSite } from './settings';

export interface PostgresqlEngineOptions {
  readonly store: string;
  readonly sites: Readonly<Record<string, PostgresqlSite>>;
  readonly settings: PostgresqlSettings;
  /** Folder of the server's own programs for restores; found where it is left out. */
  readonly toolsDirectory?: string | undefined;
}

/** PostgreSQL 15 and newer: base backups, WAL, restores and roles of one cluster. */
export function createPostgresqlEngine(options: PostgresqlEngineOptions): Engine<'postgresql'> {
  const { store, settings, toolsDirectory } = options;
  const servers = new SiteServers(store, options.sites);
  return {
    kind: 'postgresql',
    store,
    artifactKind: (type) => type,
    positions,
    log: createLogShipping(store, servers),
    replication: createReplication(store, servers, settings),
    async probe(site, ctx) {
      const candidate = await servers.candidateAt(site, ctx);
      return withOthers(await probe(site, candidate.site, slotName(store), ctx), candidate);
    },
    async planDump(request, ctx) {
      const sites = await servers.led(request.site, ctx);
      return planDump({ sites, settings }, sites[request.site] as PostgresqlSite, request, ctx);
    },
    async dump(plan, parent, sink, ctx) {
      const { source } = plan;
      return dump({ sites: await servers.led(source.follows ?? source.site, ctx), settings }, plan, parent, sink, ctx);
    },
    planRestore: (target, catalog, ctx) => planRestore(store, target, catalog, ctx),
    windows,
    restore: createRestore(toolsDirectory),
    heartbeat: restoredHeartbeat,
    checks: createChecks(settings.checks ?? []),
    async fingerprint(of, ctx) {
      const databases =
        'site' in of ? liveDatabases((await servers.candidateAt(of.site, ctx)).site, ctx) : restoredDatabases(of, ctx);
      return fingerprint(databases, ctx);
    },
  };
}

function createLogShipping(store: string, servers: SiteServers): LogShipping {
  return {
    naming: walNaming,
    reach: logReach,
    archive: async (request, archive, onDurable, ctx) =>
      archiveWal(await servers.primaryAt(request.site, ctx), store, request, archive, onDurable, ctx),
    async release(site, ctx) {
      // Any of them may have led when an archiver was there.
      for (const server of serversOf(servers.named(site))) {
        const connection = await ReplicationConnection.open(server, ctx);
        try {
          await dropSlot(connection, slotName(store), ctx);
        } finally {
          await connection.close();
        }
      }
    },
  };
}

function liveDatabases(site: PostgresqlSite, ctx: CallContext): WithDatabase {
  const common = { signal: ctx.signal, statementMilliseconds: FINGERPRINT_STATEMENT_MILLISECONDS };
  return (database, use) => withClient(site, use, database === null ? common : { ...common, database });
}

function restoredDatabases(restored: RestoredStore, ctx: CallContext): WithDatabase {
  const paths = pathsOf(restored.directory);
  return async (database, use) => {
    const marker = await restoredMarker(paths);
    try {
      return await withRestored(paths, database === null ? marker : { ...marker, database }, use, {
        signal: ctx.signal,
        statementMilliseconds: FINGERPRINT_STATEMENT_MILLISECONDS,
      });
    } catch (error) {
      ctx.signal.throwIfAborted();
      throw translate(error, addressOf(marker));
    }
  };
}
