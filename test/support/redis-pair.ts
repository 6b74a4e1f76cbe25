import { freeLoopbackHost } from '../../lab/servers/loopback';
import { connect, fieldOf, offsetOf } from './redis-store';
import { startRedis, waitUntil } from './servers';

type Client = ReturnType<typeof connect>;
type Server = Awaited<ReturnType<typeof startRedis>>;

/** A primary and a replica that follows it, each of which can take the other's part. */
export async function startPair(settings: Readonly<Record<string, string>> = {}) {
  const start = async (more: { password?: string } = {}) => {
    const host = await freeLoopbackHost(6379);
    // A replica connects from whichever address; FAILOVER asks for it by the one that it listens at.
    return startRedis({ ...more, host, settings: { 'replica-announce-ip': host, ...settings } });
  };
  const primary = await start();
  const dr = await start({ password: primary.password });
  const clients = { primary: connect(primary), dr: connect(dr) };
  await follow(clients.dr, primary, clients.primary);
  const stop = async () => {
    clients.primary.disconnect();
    clients.dr.disconnect();
    await Promise.all([primary.stop(), dr.stop()]);
  };
  return { primary, dr, clients, stop };
}

/** Resolves when the replica has what the primary has now. */
export async function follow(replica: Client, primary: Server, ofPrimary: Client): Promise<void> {
  await replica.call('REPLICAOF', primary.host, primary.port);
  await caughtUp(replica, ofPrimary);
}

export async function caughtUp(replica: Client, primary: Client): Promise<void> {
  const offset = await offsetOf(primary);
  await waitUntil('the replica having what the primary has', async () => {
    const info = await replica.info('replication');
    return fieldOf(info, 'master_link_status') === 'up' && Number(fieldOf(info, 'slave_repl_offset')) >= offset;
  });
}

/** Redis' own change of roles; resolves when both have the new ones. */
export async function failOver(from: Client, to: Server, ofNew: Client): Promise<void> {
  await from.call('FAILOVER', 'TO', to.host, to.port);
  const role = async (client: Client) => fieldOf(await client.info('replication'), 'role');
  await waitUntil('the roles changed', async () => (await role(ofNew)) === 'master' && (await role(from)) === 'slave');
}
