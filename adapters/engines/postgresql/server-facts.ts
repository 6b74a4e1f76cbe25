import type { Client } from 'pg';
import { failure } from '../../../core/errors';
import { segmentName } from './lsn';

/**
 * Settings that a server in recovery must have at least as large as the one it copies, or it stops replaying ("Hot
 * Standby", administrator's overview), and libraries whose WAL only they can replay.
 */
export const RECOVERY_SETTINGS = [
  'max_connections',
  'max_worker_processes',
  'max_wal_senders',
  'max_prepared_transactions',
  'max_locks_per_transaction',
  'shared_preload_libraries',
] as const;

/** Typed messages inside the stream of BASE_BACKUP begin with 15. */
const OLDEST_MAJOR = 15;

export interface ServerFacts {
  readonly systemId: string;
  readonly version: string;
  readonly major: number;
  readonly inRecovery: boolean;
  /** A standby's is that of the newest log it has. */
  readonly timeline: number;
  /** Flushed at a primary, received at a standby. */
  readonly lsn: bigint;
  readonly segmentBytes: bigint;
  readonly settings: Readonly<Record<string, string>>;
  readonly now: string;
}

const FACTS = `
  SELECT (SELECT system_identifier::text FROM pg_control_system()) AS system_id,
         current_setting('server_version') AS version,
         current_setting('server_version_num')::int / 10000 AS major,
         pg_is_in_recovery() AS in_recovery,
         CASE WHEN pg_is_in_recovery()
              THEN coalesce((SELECT received_tli FROM pg_stat_wal_receiver), (SELECT timeline_id FROM pg_control_checkpoint()))
              -- The checkpoint's timeline lags behind a promotion; the name of the current segment does not.
              ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END AS timeline,
         EXISTS (SELECT FROM pg_stat_wal_receiver WHERE received_tli IS NOT NULL) AS receives,
         (CASE WHEN pg_is_in_recovery() THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
              ELSE pg_current_wal_flush_lsn() END - '0/0'::pg_lsn)::text AS lsn,
         (SELECT setting FROM pg_settings WHERE name = 'wal_segment_size') AS segment_bytes,
         (SELECT json_object_agg(name, setting) FROM pg_settings WHERE name = ANY ($1)) AS settings,
         clock_timestamp() AS now`;

const WATCHED = [
  ...RECOVERY_SETTINGS,
  'summarize_wal',
  'wal_summary_keep_time',
  'wal_level',
  'full_page_writes',
  'max_slot_wal_keep_size',
  'idle_replication_slot_timeout',
  'data_checksums',
  'synchronous_standby_names',
];

/** Everything that a decision needs, in one round trip. Throws ConfigInvalid for versions that are too old. */
export async function readFacts(client: Client, where: string): Promise<ServerFacts> {
  const { rows } = await client.query(FACTS, [WATCHED]);
  const row = rows[0] as Record<string, unknown>;
  const major = row['major'] as number;
  if (major < OLDEST_MAJOR) {
    throw failure(
      'ConfigInvalid',
      `${where} is version ${String(row['version'])}; ${OLDEST_MAJOR} or newer is needed`,
      {
        next: 'Upgrade the server, or leave this store out.',
      },
    );
  }
  const facts = {
    systemId: row['system_id'] as string,
    version: row['version'] as string,
    major,
    inRecovery: row['in_recovery'] as boolean,
    timeline: row['timeline'] as number,
    lsn: BigInt(row['lsn'] as string),
    segmentBytes: BigInt(row['segment_bytes'] as string),
    settings: (row['settings'] ?? {}) as Record<string, string>,
    now: (row['now'] as Date).toISOString(),
  };
  return facts.inRecovery && !row['receives'] ? { ...facts, timeline: await timelineOfLog(client, facts) } : facts;
}

/**
 * A standby that receives nothing shows the timeline of its newest restart point, which may be the one before: its primary
 * died soon after a promotion. The files of its log are named after theirs, and those that are kept for later have higher numbers.
 */
async function timelineOfLog(client: Client, { lsn, segmentBytes, timeline }: ServerFacts): Promise<number> {
  if (lsn === 0n) return timeline;
  const mayLook = await client.query(`SELECT has_function_privilege('pg_ls_waldir()', 'execute') AS allowed`);
  if (!(mayLook.rows[0] as { allowed: boolean }).allowed) return timeline;
  // Its last byte: a log that ends with a segment has begun no other.
  const newest = segmentName(0, lsn - 1n, segmentBytes).slice(8);
  const { rows } = await client.query(
    `SELECT max(('x' || substr(name, 1, 8))::bit(32)::int) AS timeline FROM pg_ls_waldir()
     WHERE name ~ '^[0-9A-F]{24}$' AND substr(name, 9) = $1`,
    [newest],
  );
  return Math.max(timeline, (rows[0] as { timeline: number | null }).timeline ?? 0);
}
