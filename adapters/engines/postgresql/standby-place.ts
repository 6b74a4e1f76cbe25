import type { Client } from 'pg';
import type { StandbyPlace } from './archived-way';
import { readFacts } from './server-facts';

/** Where a server is. */
export async function readStandbyPlace(
  client: Client,
  where: string,
): Promise<StandbyPlace & { readonly inRecovery: boolean; readonly version: string }> {
  const { systemId, inRecovery, timeline, lsn: received, segmentBytes, version } = await readFacts(client, where);
  const place = { systemId, inRecovery, timeline, received, segmentBytes, version };
  if (!inRecovery) return { ...place, replayed: received };
  const { rows } = await client.query(`SELECT (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::text AS replayed`);
  return { ...place, replayed: BigInt((rows[0] as { replayed: string }).replayed) };
}
