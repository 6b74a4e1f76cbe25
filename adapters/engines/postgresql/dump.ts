import type { CallContext } from '../../../core/call';
import type { DumpResult, JsonObject } from '../../../core/catalog';
import type { DumpPlan, DumpRequest, ParentBackup } from '../../../core/engine';
import { failure } from '../../../core/errors';
import type { VolumeSink } from '../../../core/volumes';
import { baseBackup } from './base-backup';
import { chooseParent } from './chain-policy';
import { addressOf, withClient } from './connection';
import { chooseSource, endpointOf, prepareStandby } from './dump-source';
import { lineageOf, positionAt } from './lsn';
import { readFacts, RECOVERY_SETTINGS, type ServerFacts } from './server-facts';
import type { PostgresqlSettings, PostgresqlSite } from './settings';

/** Read back by the restore; every field a string or number so that a person can read it in the manifest. */
export interface BackupDetail extends JsonObject {
  readonly majorVersion: number;
  readonly segmentBytes: number;
  /** `on` or `off`: an incremental must be of the same mode as its parent. */
  readonly dataChecksums: string;
  /** A role that may log in and read everything, and a database it may connect to, both as they were in the source. */
  readonly user: string;
  readonly database: string;
  readonly recoverySettings: Readonly<Record<string, string>>;
}

/** A cluster as the config has it: its servers by site, and how it is backed up. */
export interface DumpedCluster {
  readonly sites: Readonly<Record<string, PostgresqlSite>>;
  readonly settings: PostgresqlSettings;
}

/** Chooses the server to read, and full or incremental; says why where either is not what was asked for. */
export async function planDump(
  { sites, settings }: DumpedCluster,
  primary: PostgresqlSite,
  request: DumpRequest,
  ctx: CallContext,
): Promise<DumpPlan> {
  const { facts, sizeBytes } = await withClient(
    primary,
    async (client) => {
      const found = await readFacts(client, addressOf(primary));
      const { rows } = await client.query('SELECT sum(pg_database_size(oid))::text AS bytes FROM pg_database');
      return { facts: found, sizeBytes: Number((rows[0] as { bytes: string }).bytes) };
    },
    { signal: ctx.signal },
  );
  const { source, endpoint, fallback } = await chooseSource(
    sites,
    { site: request.site, endpoint: primary, facts },
    settings,
    ctx,
  );
  const choice =
    request.type === 'full'
      ? null
      : await withClient(
          endpoint,
          // Summaries are each server's own: those of the server that is read count.
          async (client) =>
            chooseParent(client, await readFacts(client, addressOf(endpoint)), request.existing, settings),
          { signal: ctx.signal },
        );
  const parent = choice !== null && 'parent' in choice ? choice.parent : null;
  const why = choice !== null && 'why' in choice ? `incremental asked, full taken: ${choice.why}` : null;
  const reasons = [why, fallback].filter((each) => each !== null);
  return {
    // The id names the type: one that was made for an incremental must not lie about it.
    backupId: parent === null ? request.backupId.replace('-incr-', '-full-') : request.backupId,
    type: parent === null ? 'full' : 'incr',
    typeReason: reasons.length > 0 ? reasons.join('; ') : null,
    parent: parent?.backupId ?? null,
    source,
    estimatedBytes: parent === null ? sizeBytes : null,
  };
}

export async function dump(
  { sites, settings }: DumpedCluster,
  plan: DumpPlan,
  parent: ParentBackup | null,
  sink: VolumeSink,
  ctx: CallContext,
): Promise<DumpResult> {
  const parentManifest =
    plan.parent === null || !parent ? null : await parent.source.early(plan.parent, 'backup_manifest');
  if (plan.type === 'incr' && !parentManifest) {
    throw failure(
      'BackupIncomplete',
      `${plan.backupId} is incremental to ${plan.parent}, whose manifest was not handed over`,
    );
  }
  const { source } = plan;
  const endpoint = endpointOf(sites, source);
  // Commits carry the primary's clock, and its settings are what a server that replays its WAL needs.
  const primary = source.follows === undefined ? endpoint : (sites[source.follows] ?? endpoint);
  const look = () => withClient(primary, (client) => readFacts(client, addressOf(primary)), { signal: ctx.signal });
  const facts = await look();
  if (primary !== endpoint) await prepareStandby(source, endpoint, primary, settings.checkpoint, ctx);
  ctx.progress({
    phase: settings.checkpoint === 'fast' ? 'waiting for a checkpoint' : 'waiting for the next checkpoint',
  });
  const { checkpoint, maxRateKilobytesPerSecond } = settings;
  const backup = await baseBackup(
    endpoint,
    { label: `drctl ${plan.backupId}`, checkpoint, maxRateKilobytesPerSecond, parentManifest },
    sink,
    ctx,
  ).catch((error: unknown) => {
    throw explained(error, plan);
  });
  // Read after the backup's end: nothing that it holds was committed later than this instant.
  const after = await look();
  if (after.systemId !== facts.systemId) {
    throw failure('BackupIncomplete', `${addressOf(primary)} became another cluster while it was copied`);
  }
  const lineage = lineageOf(facts.systemId, backup.timeline);
  return {
    start: positionAt(lineage, backup.startLsn),
    stop: positionAt(lineage, backup.stopLsn),
    startedAt: facts.now,
    consistentAt: after.now,
    identity: facts.systemId,
    lineage,
    serverVersion: facts.version,
    toolVersions: { 'BASE_BACKUP protocol': String(facts.major), pg: driverVersion() },
    source,
    warnings: [...backup.warnings, ...warningsOf(facts)],
    detail: detailOf(primary, facts),
  };
}

function warningsOf({ settings }: ServerFacts): string[] {
  return settings['data_checksums'] === 'off'
    ? ['data_checksums is off at the server: a page that was damaged there is in this backup too, unnoticed']
    : [];
}

/** What a base backup says when the server itself gave it up, in words that tell what to do. */
function explained(error: unknown, { backupId, type, source }: DumpPlan): unknown {
  const text = error instanceof Error ? error.message : String(error);
  const where = `${source.member} (site ${source.site})`;
  if (/standby was promoted during online backup/.test(text)) {
    return failure('BackupIncomplete', `${where} was promoted while ${backupId} was read from it: ${text}`, {
      next: 'Start the backup again once the role change is over: it looks for primary and standby anew.',
      cause: error,
    });
  }
  if (/full_page_writes=off was replayed/.test(text)) {
    return failure('ConfigInvalid', `${where} cannot be read as a standby: ${text}`, {
      next: 'ALTER SYSTEM SET full_page_writes = on at the primary, or back up from the primary.',
      cause: error,
    });
  }
  if (type === 'incr' && CHAIN_ENDS.test(text)) {
    return failure('IncrementalRefused', `${where} cannot continue the chain with ${backupId}: ${text}`, {
      cause: error,
    });
  }
  return error;
}

/** What the server says for good of a manifest it was handed (basebackup_incremental.c, basebackup.c, parse_manifest.c). */
const CHAIN_ENDS =
  /WAL summar|manifest requires|found in manifest|required WAL ranges|backup manifest|incremental backups/i;

function detailOf(site: PostgresqlSite, facts: ServerFacts): BackupDetail {
  const kept = RECOVERY_SETTINGS.map((name) => [name, facts.settings[name] ?? '']);
  return {
    majorVersion: facts.major,
    segmentBytes: Number(facts.segmentBytes),
    dataChecksums: facts.settings['data_checksums'] ?? 'unknown',
    user: site.user,
    database: site.database,
    recoverySettings: Object.fromEntries(kept) as Record<string, string>,
  };
}

function driverVersion(): string {
  return (require('pg/package.json') as { version: string }).version;
}
