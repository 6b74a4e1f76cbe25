import { once } from 'node:events';
import * as net from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** How long the far end may take to accept: it is on this machine, and a stopped process's kernel accepts for it. */
const CONNECT_MILLISECONDS = 2_000;

/**
 * A network between two sites, for one server: who connects to `address` reaches the server, for as long as the link lets
 * bytes through. TCP is carried as a network that loses packets looks to it: late, not at all, or broken off.
 */
export class Link {
  readonly address: Address;
  /** How long each piece is under way, in both directions. */
  delayMs = 0;
  private readonly server: net.Server;
  private readonly target: Address;
  private readonly sockets = new Set<net.Socket>();
  private state: 'open' | 'silent' | 'cut' = 'open';
  private wake: () => void = () => undefined;
  private passable: Promise<void> = Promise.resolve();

  private constructor(server: net.Server, target: Address) {
    this.server = server;
    this.target = target;
    const { address: host, port } = server.address() as net.AddressInfo;
    this.address = { host, port };
    server.on('connection', (near) => this.accept(near));
  }

  static async to(target: Address): Promise<Link> {
    const server = net.createServer({ noDelay: true });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Link(server, target);
  }

  /** Nothing arrives any more, and nobody is told: what is sent waits, as TCP sends again and again. */
  silence(): void {
    if (this.state === 'silent') return;
    this.state = 'silent';
    this.passable = new Promise((resolve) => (this.wake = resolve));
  }

  /** Every connection breaks, with what is under way, and no new one comes about. */
  cut(): void {
    this.open();
    this.state = 'cut';
    for (const socket of this.sockets) socket.resetAndDestroy();
  }

  heal(): void {
    this.open();
    this.state = 'open';
  }

  close(): void {
    this.cut();
    this.server.close();
  }

  private open(): void {
    this.wake();
    this.passable = Promise.resolve();
  }

  private accept(near: net.Socket): void {
    this.watch(near);
    if (this.state === 'cut') return void near.resetAndDestroy();
    const far = net.connect({ ...this.target, noDelay: true, timeout: 0 });
    this.watch(far);
    const tooLong = setTimeout(() => far.destroy(), CONNECT_MILLISECONDS);
    far.once('connect', () => clearTimeout(tooLong));
    far.once('close', () => clearTimeout(tooLong));
    void this.carry(near, far);
    void this.carry(far, near);
  }

  private watch(socket: net.Socket): void {
    this.sockets.add(socket);
    socket.on('error', () => undefined); // the close that follows ends both directions
    socket.once('close', () => this.sockets.delete(socket));
  }

  /** One piece after the other, so that what waits here is bounded by the sockets' own buffers. */
  private async carry(from: net.Socket, to: net.Socket): Promise<void> {
    try {
      for await (const piece of from as AsyncIterable<Buffer>) {
        if (this.delayMs > 0) await delay(this.delayMs);
        await this.passable;
        if (to.destroyed) break;
        if (!to.write(piece)) await once(to, 'drain');
      }
      await this.passable;
      to.end();
    } catch {
      to.resetAndDestroy(); // a connection that breaks here is broken there, too
    }
  }
}
