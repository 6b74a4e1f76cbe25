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
  private readonly crosses: (near: net.Socket) => Promise<boolean>;
  private readonly sockets = new Set<net.Socket>();
  private readonly crossing = new Set<net.Socket>();
  private state: 'open' | 'silent' | 'cut' = 'open';
  private wake: () => void = () => undefined;
  private passable: Promise<void> = Promise.resolve();

  private constructor(server: net.Server, target: Address, crosses: (near: net.Socket) => Promise<boolean>) {
    this.server = server;
    this.target = target;
    this.crosses = crosses;
    const { address: host, port } = server.address() as net.AddressInfo;
    this.address = { host, port };
    server.on('connection', (near) => void this.accept(near));
  }

  /** `crosses`: whether a connection goes from one site to the other. What does not is carried whatever the link's state is. */
  static async to(
    target: Address,
    crosses: (near: net.Socket) => Promise<boolean> = () => Promise.resolve(true),
  ): Promise<Link> {
    const server = net.createServer({ noDelay: true });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Link(server, target, crosses);
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
    for (const socket of this.crossing) socket.resetAndDestroy();
  }

  heal(): void {
    this.open();
    this.state = 'open';
  }

  close(): void {
    this.open();
    for (const socket of this.sockets) socket.resetAndDestroy();
    this.server.close();
  }

  private open(): void {
    this.wake();
    this.passable = Promise.resolve();
  }

  private async accept(near: net.Socket): Promise<void> {
    watch(near, this.sockets);
    const crosses = await this.crosses(near);
    if (crosses) watch(near, this.crossing);
    if (near.destroyed) return;
    if (crosses && this.state === 'cut') return void near.resetAndDestroy();
    const far = net.connect({ ...this.target, noDelay: true, timeout: 0 });
    for (const set of crosses ? [this.sockets, this.crossing] : [this.sockets]) watch(far, set);
    const tooLong = setTimeout(() => far.destroy(), CONNECT_MILLISECONDS);
    far.once('connect', () => clearTimeout(tooLong));
    far.once('close', () => clearTimeout(tooLong));
    void this.carry(near, far, crosses);
    void this.carry(far, near, crosses);
  }

  /** One piece after the other, so that what waits here is bounded by the sockets' own buffers. */
  private async carry(from: net.Socket, to: net.Socket, crosses: boolean): Promise<void> {
    try {
      for await (const piece of from as AsyncIterable<Buffer>) {
        if (crosses && this.delayMs > 0) await delay(this.delayMs);
        if (crosses) await this.passable;
        if (to.destroyed) break;
        if (!to.write(piece)) await once(to, 'drain');
      }
      if (crosses) await this.passable;
      to.end();
    } catch {
      to.resetAndDestroy(); // a connection that breaks here is broken there, too
    }
  }
}

function watch(socket: net.Socket, sockets: Set<net.Socket>): void {
  sockets.add(socket);
  socket.on('error', () => undefined); // the close that follows ends both directions
  socket.once('close', () => sockets.delete(socket));
}
