import type { Client } from 'pg';
import type { PromoteRequest } from '../../../core/roles';
import { failure } from '../../../core/errors';
import { SCHEMA } from './schema';

/** The epoch noted in the cluster; null when none is. */
export async function readEpoch(client: Client): Promise<number | null> {
  const there = await client.query(`SELECT to_regclass('${SCHEMA}.epoch') IS NOT NULL AS there`);
  if (!(there.rows[0] as { there: boolean }).there) return null;
  const { rows } = await client.query(`SELECT epoch::text FROM ${SCHEMA}.epoch`);
  const epoch = (rows[0] as { epoch: string } | undefined)?.epoch;
  return epoch === undefined ? null : Number(epoch);
}

/** Raises the epoch in one statement that never lowers it, with when this site was noted for it first. Throws StaleEpoch where a newer one is noted. Repeatable. */
export async function noteEpoch(
  client: Client,
  store: string,
  { site, epoch }: Pick<PromoteRequest, 'site' | 'epoch'>,
): Promise<void> {
  const { rowCount } = await client.query(
    `INSERT INTO ${SCHEMA}.epoch AS e VALUES (1, $1, $2, now())
     ON CONFLICT (id) DO UPDATE SET epoch = excluded.epoch, site = excluded.site,
       at = CASE WHEN e.epoch = excluded.epoch AND e.site = excluded.site THEN e.at ELSE excluded.at END
     WHERE e.epoch <= excluded.epoch`,
    [epoch, site],
  );
  if (rowCount === 1) return;
  throw failure('StaleEpoch', `${store} at ${site} holds a newer epoch than ${epoch}`);
}
