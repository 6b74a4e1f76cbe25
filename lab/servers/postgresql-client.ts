import { Client, type ClientConfig } from 'pg';
import { endQuietly } from '../../adapters/engines/postgresql/connection';

/**
 * A connected client of a server that may end under it, which here is often the very point. The loss rejects the query that
 * runs, or the next one; without a listener that of an idle connection would end the whole process. The caller ends it.
 */
export async function openPostgres(server: string | ClientConfig): Promise<Client> {
  const client = new Client({
    connectionTimeoutMillis: 10_000,
    ...(typeof server === 'string' ? { connectionString: server } : server),
  });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return client;
  } catch (error) {
    // pg leaves the connection open where it refuses by itself (no password): the server would wait a minute for its user.
    await endQuietly(client);
    throw error;
  }
}

/** Runs `work` in a session of its own. */
export async function inPostgres<T>(server: string | ClientConfig, work: (client: Client) => Promise<T>): Promise<T> {
  const client = await openPostgres(server);
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
