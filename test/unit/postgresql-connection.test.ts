import * as fs from 'node:fs/promises';
import * as net from 'node:net';
import { ReplicationConnection } from '../../adapters/engines/postgresql/replication-connection';
import { testContext } from '../support/call-context';
import { waitUntil } from '../support/servers';

/** Of /proc/net/tcp (Linux's Documentation/networking/proc_net_tcp): the timer that runs, and in how many 1/100 s it ends. */
async function timerOf(localPort: number): Promise<{ kind: number; seconds: number } | null> {
  const port = `:${localPort.toString(16).toUpperCase().padStart(4, '0')}`;
  const lines = (await fs.readFile('/proc/net/tcp', 'utf8')).split('\n').map((line) => line.trim().split(/\s+/));
  const [kind, when] = lines.find((columns) => columns[1]?.endsWith(port))?.[5]?.split(':') ?? [];
  return kind && when ? { kind: Number.parseInt(kind, 16), seconds: Number.parseInt(when, 16) / 100 } : null;
}

test('a host that falls silent is asked within seconds whether it lives, not within two hours', async () => {
  const sockets: net.Socket[] = [];
  const server = net.createServer((socket) => sockets.push(socket.resume().on('error', () => undefined)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as net.AddressInfo;
  const cut = new AbortController();
  const site = { host: '127.0.0.1', port, user: 'drctl', database: 'postgres' };
  const opened = ReplicationConnection.open(site as never, testContext(cut.signal)).catch((error: unknown) => error);
  try {
    await waitUntil('the connection', async () => sockets.length > 0, { deadlineMs: 5_000 });
    const ask = 2; // the timer of keep-alive
    let timer: Awaited<ReturnType<typeof timerOf>> = null;
    await waitUntil(
      'a question soon',
      async () => {
        timer = await timerOf(sockets[0]?.remotePort ?? 0);
        return timer?.kind === ask && timer.seconds <= 10;
      },
      { deadlineMs: 4_000 },
    );
    expect(timer).toMatchObject({ kind: ask });
  } finally {
    cut.abort();
    await opened;
    sockets.forEach((socket) => socket.destroy());
    await new Promise((resolve) => server.close(resolve));
  }
});
