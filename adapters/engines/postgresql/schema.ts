import type { Client } from 'pg';

/** Where drctl keeps its own few rows in a cluster; fingerprints leave it out. */
export const SCHEMA = 'drctl';

/** Any number that nobody else is likely to take: two workers must not create the schema at once. */
const CREATION_LOCK = 727_336_701;

/**
 * Creates the schema where it is missing. One row each in `heartbeat` and `epoch`; `write_probe` keeps the newest markers.
 * Repeatable; changes nothing where all is there.
 */
export async function ensureSchema(client: Client): Promise<void> {
  const there = await client.query(`SELECT to_regclass('${SCHEMA}.write_probe') IS NOT NULL AS there`);
  if ((there.rows[0] as { there: boolean }).there) return;
  await client.query('BEGIN');
  try {
    // The archiver starts with this: where it is taken for the only synchronous standby, the commit would wait for itself.
    await client.query('SET LOCAL synchronous_commit = local');
    await client.query(`SELECT pg_advisory_xact_lock(${CREATION_LOCK})`);
    // An account that owns the schema need not be allowed to make one, which IF NOT EXISTS would ask for first.
    const schema = await client.query(`SELECT to_regnamespace('${SCHEMA}') IS NULL AS missing`);
    if ((schema.rows[0] as { missing: boolean }).missing) await client.query(`CREATE SCHEMA ${SCHEMA}`);
    await client.query(`
      CREATE TABLE IF NOT EXISTS ${SCHEMA}.heartbeat (id int PRIMARY KEY CHECK (id = 1), at timestamptz NOT NULL);
      CREATE TABLE IF NOT EXISTS ${SCHEMA}.epoch
        (id int PRIMARY KEY CHECK (id = 1), epoch bigint NOT NULL, site text NOT NULL, at timestamptz NOT NULL);
      CREATE TABLE IF NOT EXISTS ${SCHEMA}.write_probe (marker text PRIMARY KEY, at timestamptz NOT NULL)`);
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK');
    throw error;
  }
}
