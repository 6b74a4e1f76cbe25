import type { Client } from 'pg';
import { formatBytes } from '../../../core/clock';
import type { KeptLog } from '../../../core/engine';
import { SCHEMA } from './schema';
import type { ServerFacts } from './server-facts';

/** A slot, and what of it an administrator should know. */
export interface SlotLook {
  readonly keptLog: KeptLog;
  readonly problems: readonly string[];
}

const MEBIBYTE = 1024 * 1024;
/** With less than this share of max_slot_wal_keep_size left there is little time to find out why nothing is archived. */
const SCARCE_SHARE = 0.2;

interface Row {
  readonly active: boolean;
  readonly wal_status: string | null;
  readonly safe: string | null;
  readonly kept: string | null;
  readonly why: string | null;
}

/** The archiver's slot at a primary: `pg_replication_slots`, whose columns grew with the versions. */
export async function lookAtSlot(client: Client, slot: string, facts: ServerFacts): Promise<SlotLook> {
  const { rows } = await client.query(
    `SELECT active, wal_status, safe_wal_size::text AS safe, to_jsonb(s) ->> 'invalidation_reason' AS why,
            pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::text AS kept
     FROM pg_replication_slots s WHERE slot_name = $1`,
    [slot],
  );
  const row = rows[0] as Row | undefined;
  if (!row) {
    const state = (await wasArchived(client)) ? 'absent' : 'unused';
    const keptLog = { holder: slot, state, keptBytes: null, headroomBytes: null } as const;
    return { keptLog, problems: state === 'absent' ? [absent(slot)] : [] };
  }
  const state = stateOf(row);
  const headroomBytes = row.safe === null ? null : Number(row.safe);
  const keptLog = { holder: slot, state, keptBytes: row.kept === null ? null : Number(row.kept), headroomBytes };
  return { keptLog, problems: problemsOf(slot, row, state, headroomBytes, facts) };
}

/**
 * Whether an archiver ever ran at this primary: its heartbeat stays; others make the table, too. A promoted one has the heartbeat of
 * the primary that it followed, whose slots it does not have: until one comes after its promotion, no archiver has made a slot here.
 */
async function wasArchived(client: Client): Promise<boolean> {
  const { rows } = await client.query(
    `SELECT to_regclass('${SCHEMA}.heartbeat') IS NOT NULL AND to_regclass('${SCHEMA}.epoch') IS NOT NULL AS there`,
  );
  if (!(rows[0] as { there: boolean }).there) return false;
  const beats = await client.query(
    `SELECT FROM ${SCHEMA}.heartbeat h WHERE NOT EXISTS (SELECT FROM ${SCHEMA}.epoch e WHERE e.at >= h.at)`,
  );
  return beats.rowCount !== 0;
}

function stateOf({ active, wal_status: status }: Row): KeptLog['state'] {
  // A slot without a position was invalidated too; `unreserved` is over its limit and goes with the next checkpoint.
  if (status === 'lost' || status === null) return 'lost';
  if (status === 'unreserved') return 'endangered';
  return active ? 'reading' : 'waiting';
}

const absent = (slot: string) =>
  `the replication slot ${slot} is gone, so that nothing keeps WAL for the archiver: see that the archiver runs, it makes a new one`;

function problemsOf(
  slot: string,
  row: Row,
  state: KeptLog['state'],
  headroomBytes: number | null,
  { settings }: ServerFacts,
): string[] {
  if (state === 'lost') {
    const why = row.why === null ? '' : ` (${row.why})`;
    return [
      `the replication slot ${slot} is lost${why}: WAL may be gone that was not archived; when it runs, the archiver makes a new slot, and takes a full backup by itself where WAL is gone`,
    ];
  }
  if (state === 'endangered') {
    return [
      `the replication slot ${slot} is over max_slot_wal_keep_size: its WAL goes with the next checkpoint unless the archiver runs at once`,
    ];
  }
  const limitBytes = Number(settings['max_slot_wal_keep_size'] ?? -1) * MEBIBYTE;
  return headroomBytes !== null && limitBytes > 0 && headroomBytes < SCARCE_SHARE * limitBytes
    ? [
        `the replication slot ${slot} is lost after ${formatBytes(Math.max(0, headroomBytes))} more of WAL: see why it is not archived`,
      ]
    : [];
}
