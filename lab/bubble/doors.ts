import * as fs from 'node:fs';
import * as net from 'node:net';
import { pipeline } from 'node:stream';

/**
 * A door leads one address through the wall of a bubble, in one direction. Network namespaces do not part sockets of the file
 * system, so that such a socket is what both sides share. All addresses are of the loopback and the same on both sides.
 */
export interface Door {
  /** `host:port`. */
  readonly address: string;
  readonly socket: string;
}

export interface Doors {
  /** Services inside, reached from outside. */
  readonly in: readonly Door[];
  /** Copies outside, reached from inside. */
  readonly out: readonly Door[];
}

/** The side where the address is asked for: whoever connects there comes out at the socket. */
export async function entrance({ address, socket }: Door): Promise<void> {
  const { host, port } = parse(address);
  await listen((peer) => net.connect(socket).once('error', () => peer.destroy()), { host, port });
}

/** The side where the address is real. */
export async function exit({ address, socket }: Door): Promise<void> {
  const { host, port } = parse(address);
  fs.rmSync(socket, { force: true });
  await listen((peer) => net.connect({ host, port }).once('error', () => peer.destroy()), { path: socket });
}

export function parse(address: string): { host: string; port: number } {
  const colon = address.lastIndexOf(':');
  return { host: address.slice(0, colon).replace(/^\[(.*)\]$/, '$1'), port: Number(address.slice(colon + 1)) };
}

async function listen(behind: (peer: net.Socket) => net.Socket, at: net.ListenOptions): Promise<void> {
  const server = net.createServer({ allowHalfOpen: true }, (peer) => {
    const other = behind(peer);
    other.allowHalfOpen = true;
    // A side that breaks off breaks the other one off as well; who closes first is no error.
    pipeline(peer, other, () => undefined);
    pipeline(other, peer, () => undefined);
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(at, resolve));
}
