import { randomInt } from 'node:crypto';
import * as net from 'node:net';

/** A loopback address nobody uses: with an address of its own, a server keeps its well-known port. */
export async function freeLoopbackHost(port: number): Promise<string> {
  for (;;) {
    // 127.20 to 127.63 are the labs' networks.
    const host = `127.${randomInt(64, 255)}.${randomInt(0, 256)}.${randomInt(1, 255)}`;
    if (await canBind(host, port)) return host;
  }
}

/** A port nobody uses at the address, for the server that must have that address. */
export async function freeLoopbackPort(host: string): Promise<number> {
  for (;;) {
    // Below the ports that the system hands out itself, and apart from the labs' own.
    const port = randomInt(20_000, 32_000);
    if (await canBind(host, port)) return port;
  }
}

/** True when a TCP server can be bound to the address. */
export async function canBind(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = net.createServer();
    probe.once('error', () => resolve(false));
    probe.listen(port, host, () => probe.close(() => resolve(true)));
  });
}

/** True when something accepts TCP connections there. */
export async function accepts(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({ host, port });
    socket.setTimeout(1000, () => socket.destroy(new Error('timeout')));
    socket.once('connect', () => (socket.destroy(), resolve(true)));
    socket.once('error', () => resolve(false));
  });
}
