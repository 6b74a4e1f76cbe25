import type { CallContext } from '../../../core/call';
import { chainOf, type DumpResult, type JsonObject, type Manifest } from '../../../core/catalog';
import type { DumpPlan, DumpRequest } from '../../../core/engine';
import { failure } from '../../../core/errors';
import type { VolumeSink, VolumeSource } from '../../../core/volumes';
import { baseBackup } from './base-backup';
import { addressOf, withClient } from './connection';
import { lineageOf, parseLsn, positionAt } from './lsn';
import { readFacts, RECOVERY_SETTINGS, type ServerFacts } from './server-facts';
import type { PostgresqlSettings, PostgresqlSite } from './settings';

/** Read back by the restore; every field a string or number so that a person can read it in the manifest. */
export interface BackupDetail extends JsonObject {
  readonly majorVersion: number;
  readonly segmentBytes: number;
  /** A role that may log in and read everything, and a database it may connect to, both as they were in the source. */
  readonly user: string;
  readonly database: string;
  readonly recoverySettings: Readonly<Record<string, string>>;
}

/** Chooses full or incremental. An incremental needs PostgreSQL 17, WAL summaries since its parent, and the same cluster. */
export async function planDump(site: PostgresqlSite, request: DumpRequest, ctx: CallContext): Promise<DumpPlan> {
  return withClient(
    site,
    async (client) => {
      const facts = await readFacts(client, addressOf(site));
      const { rows } = await client.query('SELECT sum(pg_database_size(oid))::text AS bytes FROM pg_database');
      const sizeBytes = Number((rows[0] as { bytes: string }).bytes);
      const source = { site: request.site, member: `${site.host}:${site.port}` };
      const full = (typeReason: string | null): DumpPlan => ({
        // The id names the type: one that was made for an incremental must not lie about it.
        backupId: request.backupId.replace('-incr-', '-full-'),
        type: 'full',
        typeReason,
        parent: null,
        source,
        estimatedBytes: sizeBytes,
      });
      if (request.type === 'full') return full(null);
      const parent = request.existing.findLast((each) => chainOf(each, request.existing) !== null);
      if (!parent) return full('incremental asked, full taken: there is no backup to build on');
      const why = cannotBuildOn(parent, facts);
      if (why) return full(`incremental asked, full taken: ${why}`);
      const covered = await client.query(
        `SELECT min(start_lsn)::text AS first FROM pg_available_wal_summaries() WHERE tli = $1`,
        [facts.timeline],
      );
      const first = (covered.rows[0] as { first: string | null }).first;
      if (first === null || !parent.start || parseLsn(first) > parseLsn(parent.start.value)) {
        return full(`incremental asked, full taken: WAL summaries since ${parent.backupId} are no longer complete`);
      }
      return {
        backupId: request.backupId,
        type: 'incr',
        typeReason: null,
        parent: parent.backupId,
        source,
        estimatedBytes: null,
      };
    },
    { signal: ctx.signal },
  );
}

function cannotBuildOn(parent: Manifest, facts: ServerFacts): string | null {
  if (facts.major < 17) return `PostgreSQL ${facts.major} has no incremental backups (17 has)`;
  if (facts.settings['summarize_wal'] !== 'on') return 'summarize_wal is off: ALTER SYSTEM SET summarize_wal = on';
  if (parent.identity !== facts.systemId) return `${parent.backupId} is of another cluster`;
  if (parent.lineage !== lineageOf(facts.systemId, facts.timeline))
    return `the timeline has changed since ${parent.backupId}`;
  if (!parent.early.some((each) => each.name === 'backup_manifest')) return `${parent.backupId} has no backup_manifest`;
  return null;
}

export async function dump(
  site: PostgresqlSite,
  settings: PostgresqlSettings,
  plan: DumpPlan,
  parent: VolumeSource | null,
  sink: VolumeSink,
  ctx: CallContext,
): Promise<DumpResult> {
  const parentManifest = plan.parent === null || !parent ? null : await parent.early(plan.parent, 'backup_manifest');
  if (plan.type === 'incr' && !parentManifest) {
    throw failure(
      'BackupIncomplete',
      `${plan.backupId} is incremental to ${plan.parent}, whose manifest was not handed over`,
    );
  }
  const facts = await withClient(site, (client) => readFacts(client, addressOf(site)), { signal: ctx.signal });
  ctx.progress({
    phase: settings.checkpoint === 'fast' ? 'waiting for a checkpoint' : 'waiting for the next checkpoint',
  });
  const { checkpoint, maxRateKilobytesPerSecond } = settings;
  const backup = await baseBackup(
    site,
    { label: `drctl ${plan.backupId}`, checkpoint, maxRateKilobytesPerSecond, parentManifest },
    sink,
    ctx,
  );
  // Read after the backup's end, so that no commit before this instant is missing from what replay to `stop` gives.
  const after = await withClient(site, (client) => readFacts(client, addressOf(site)), { signal: ctx.signal });
  if (after.systemId !== facts.systemId) {
    throw failure('BackupIncomplete', `${addressOf(site)} became another cluster while it was copied`);
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
    source: plan.source,
    warnings: backup.warnings,
    detail: detailOf(site, facts),
  };
}

function detailOf(site: PostgresqlSite, facts: ServerFacts): BackupDetail {
  const kept = RECOVERY_SETTINGS.map((name) => [name, facts.settings[name] ?? '']);
  return {
    majorVersion: facts.major,
    segmentBytes: Number(facts.segmentBytes),
    user: site.user,
    database: site.database,
    recoverySettings: Object.fromEntries(kept) as Record<string, string>,
  };
}

function driverVersion(): string {
  return (require('pg/package.json') as { version: string }).version;
}
