import { inPostgres } from '../servers/postgresql-client';
import { postgresUrl } from '../sites/postgresql';
import type { LabAccess } from './access';

/** `DELETE` without `WHERE`, as it happens to people. Answers how many orders are gone and when the statement was sent. */
export async function deleteAllOrders(access: LabAccess): Promise<{ readonly deleted: number; readonly sentAt: Date }> {
  return inPostgres(postgresUrl(access, 'primary'), async (client) => {
    const sentAt = new Date();
    await client.query('BEGIN');
    await client.query('DELETE FROM order_items');
    const { rowCount } = await client.query('DELETE FROM orders');
    await client.query('COMMIT');
    return { deleted: rowCount ?? 0, sentAt };
  });
}
