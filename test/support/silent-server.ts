import * as net from 'node:net';
import { freeLoopbackHost } from '../../lab/servers/loopback';

/** Accepts every connection, reads what it is sent and never answers, as a hung server or a network that swallows all. */
export async function startSilentServer(port: number): Promise<{ host: string; port: number; stop(): Promise<void> }> {
  const host = await freeLoopbackHost(port);
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket
      .on('error', () => undefined) // the other side gives up, which is what it is here for
      .once('close', () => sockets.delete(socket))
      .resume();
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, host, resolve));
  return {
    host,
    port,
    async stop() {
      sockets.forEach((socket) => socket.destroy());
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
