import { Client } from 'pg';
import { mongoSetUrl } from '../sites/mongodb';
import { postgresUrl } from '../sites/postgresql';
import type { LabAccess } from './access';

/** `DELETE` without `WHERE`, as it happens to people. Answers how many orders are gone and when the statement was sent. */
export async function deleteAllOrders(access: LabAccess): Promise<{ readonly deleted: number; readonly sentAt: Date }> {
  const client = new Client({ connectionString: postgresUrl(access, 'primary') });
  await client.connect();
  try {
    const sentAt = new Date();
    await client.query('BEGIN');
    await client.query('DELETE FROM order_items');
    const { rowCount } = await client.query('DELETE FROM orders');
    await client.query('COMMIT');
    return { deleted: rowCount ?? 0, sentAt };
  } finally {
    await client.end();
  }
}

/** The URL of one site's PostgreSQL as the shop uses it, at another address where one is given (a restored server). */
export function ordersUrl(access: LabAccess, site: 'primary' | 'dr', at?: { host: string; port: number }): string {
  const url = new URL(postgresUrl(access, site));
  if (at) Object.assign(url, { hostname: at.host, port: String(at.port) });
  return url.toString();
}

/** The URL of the shop's replica set, or of one restored server. */
export function catalogUrl(access: LabAccess, at?: { host: string; port: number }): string {
  if (!at) return mongoSetUrl(access, 'application');
  const url = new URL(mongoSetUrl(access, 'application').replace(/\/\/([^@]*@)?[^/]*/, `//$1${at.host}:${at.port}`));
  url.searchParams.delete('replicaSet');
  url.searchParams.set('directConnection', 'true');
  return url.toString();
}
