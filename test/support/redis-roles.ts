import Redis from 'ioredis';
import { Secret } from '../../core/secret';
import type { RolesHarness } from '../contract/roles.contract';
import { engineOf } from './engine-harness';
import { startRedis, waitUntil } from './servers';

type Server = Awaited<ReturnType<typeof startRedis>>;

/**
 * A primary and its replica; each write and read by a connection of its own, as an ordinary client's. The replica asks for
 * a replica of its own before it takes writes, which nobody may wait for after a promotion.
 */
export async function startRedisRoles(): Promise<RolesHarness> {
  const primary = await startRedis();
  const replica = await startRedis({
    password: primary.password,
    replicaOf: primary,
    settings: { 'min-replicas-to-write': '1' },
  });
  const ask = async <T>({ host, port, password }: Server, use: (client: Redis) => Promise<T>): Promise<T> => {
    const client = new Redis({ host, port, password, retryStrategy: () => null, maxRetriesPerRequest: 0 });
    client.on('error', () => undefined); // the command that runs says so
    try {
      return await use(client);
    } finally {
      client.disconnect();
    }
  };
  await waitUntil('the replica following', async () =>
    ask(replica, async (client) => (await client.info('replication')).includes('master_link_status:up')),
  );
  const at = (site: string) => (site === 'dr' ? replica : primary);
  const siteOf = ({ host, port, password }: Server) => ({ host, port, password: new Secret(password) });
  return {
    engine: await engineOf('redis', 'cache', { sites: { primary: siteOf(primary), dr: siteOf(replica) } }),
    primarySite: 'primary',
    standbySite: 'dr',
    write: (site, row) => ask(at(site), async (client) => void (await client.hset('entries', row, '1'))),
    rows: (site) => ask(at(site), async (client) => (await client.hkeys('entries')).toSorted()),
    stop: async () => void (await Promise.all([primary.stop(), replica.stop()])),
  };
}
