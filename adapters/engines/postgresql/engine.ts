import type { CallContext } from '../../../core/call';
import type { Engine, LogShipping } from '../../../core/engine';
import { failure } from '../../../core/errors';
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
import { restoredMarker, withRestored } from './restored-server';
import { pathsOf } from './restore-place';
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
  const siteOf = (name: string): PostgresqlSite => {
    const site = options.sites[name];
    if (site) return site;
    const known = Object.keys(options.sites).join(', ');
    throw failure('NotFound', `${store} has no endpoint at the site "${name}"; there is one at ${known}`);
  };
  return {
    kind: 'postgresql',
    store,
    artifactKind: (type) => type,
    positions,
    log: createLogShipping(store, siteOf),
    replication: createReplication(store, siteOf, settings),
    probe: (site, ctx) => probe(site, siteOf(site), slotName(store), ctx),
    planDump: (request, ctx) => planDump({ sites: options.sites, settings }, siteOf(request.site), request, ctx),
    dump: (plan, parent, sink, ctx) => dump({ sites: options.sites, settings }, plan, parent, sink, ctx),
    planRestore: (target, catalog, ctx) => planRestore(store, target, catalog, ctx),
    windows,
    restore: createRestore(toolsDirectory),
    checks: createChecks(settings.checks ?? []),
    fingerprint: (of, ctx) =>
      fingerprint('site' in of ? liveDatabases(siteOf(of.site), ctx) : restoredDatabases(of, ctx), ctx),
  };
}

function createLogShipping(store: string, siteOf: (site: string) => PostgresqlSite): LogShipping {
  return {
    naming: walNaming,
    reach: logReach,
    archive: (request, archive, onDurable, ctx) =>
      archiveWal(siteOf(request.site), store, request, archive, onDurable, ctx),
    async release(site, ctx) {
      const connection = await ReplicationConnection.open(siteOf(site), ctx);
      try {
        await dropSlot(connection, slotName(store), ctx);
      } finally {
        await connection.close();
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
