import Redis from 'ioredis';
import { Secret } from '../../core/secret';
import type { RolesHarness } from '../contract/roles.contract';
import { engineOf } from './engine-harness';
import { startRedis, waitUntil } from './servers';

type Server = Awaited<ReturnType<typeof startRedis>>;

/** The application's own user: it may write `entries` by a selector, and read what it writes. */
const SHOP = ['~nothing', '+@read', '+@write', '+@connection', '(~entries +@read +hset)'];

/**
 * A primary and its replica; each write and read by a connection of its own, as an ordinary client's. The replica asks for
 * a replica of its own before it takes writes, which nobody may wait for after a promotion. `byRights`: our account may not
 * change settings, so that a fence can only take the users' rights; the application has a user of its own then.
 */
export async function startRedisRoles({ byRights = false } = {}): Promise<RolesHarness> {
  const primary = await startRedis();
  const replica = await startRedis({
    password: primary.password,
    replicaOf: primary,
    settings: byRights ? {} : { 'min-replicas-to-write': '1' },
  });
  const as = (username: string) => (byRights ? { username } : {});
  const ask = async <T>(
    { host, port, password }: Server,
    use: (client: Redis) => Promise<T>,
    login = as('shop'),
  ): Promise<T> => {
    const client = new Redis({
      host,
      port,
      password,
      ...login,
      enableReadyCheck: false,
      retryStrategy: () => null,
      maxRetriesPerRequest: 0,
    });
    client.on('error', () => undefined); // the command that runs says so
    try {
      return await use(client);
    } finally {
      client.disconnect();
    }
  };
  for (const server of byRights ? [primary, replica] : []) {
    const password = `>${server.password}`;
    const create = async (client: Redis) => {
      await client.call('ACL', 'SETUSER', 'drctl', 'on', password, '~*', '&*', '+@all', '-config|set');
      await client.call('ACL', 'SETUSER', 'shop', 'on', password, ...SHOP);
      await client.config('REWRITE');
    };
    await ask(server, create, {});
  }
  const linked = async (client: Redis) => (await client.info('replication')).includes('master_link_status:up');
  await waitUntil('the replica following', async () => ask(replica, linked, {}));
  const at = (site: string) => (site === 'dr' ? replica : primary);
  const siteOf = ({ host, port, password }: Server) => ({
    ...{ host, port, password: new Secret(password) },
    ...(byRights ? { user: 'drctl' } : {}),
  });
  return {
    engine: await engineOf('redis', 'cache', { sites: { primary: siteOf(primary), dr: siteOf(replica) } }),
    primarySite: 'primary',
    standbySite: 'dr',
    write: (site, row) => ask(at(site), async (client) => void (await client.hset('entries', row, '1'))),
    rows: (site) => ask(at(site), async (client) => (await client.hkeys('entries')).toSorted()),
    stop: async () => void (await Promise.all([primary.stop(), replica.stop()])),
  };
}
