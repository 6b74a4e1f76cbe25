import * as net from 'node:net';
import { pipeline } from 'node:stream';
import type { HostAndPort } from '../../core/drill';
import { failure } from '../../core/errors';

/** Two looks at who lives in the namespace are at least so far apart, whoever knocks. */
const LOOK_MILLISECONDS = 500;

/**
 * Lead from an address of this machine to the copies, which listen on its loopback, where some ask for no password. Only pods
 * of the bubble are let through: everybody else is cut off before a byte has passed.
 */
export class CopyDoors {
  private readonly podAddresses: () => Promise<readonly string[]>;
  private readonly doors = new Map<string, OpenDoor>();
  private known: { readonly at: number; readonly addresses: Promise<readonly string[]> } | null = null;

  constructor(podAddresses: () => Promise<readonly string[]>) {
    this.podAddresses = podAddresses;
  }

  /** Opens one for each copy, at the port that it had where `before` names it, and answers where. Repeatable. */
  async open(
    host: string,
    copies: Readonly<Record<string, HostAndPort>>,
    before: Readonly<Record<string, HostAndPort>> = {},
  ): Promise<Record<string, HostAndPort>> {
    const doors: Record<string, HostAndPort> = {};
    for (const [store, copy] of Object.entries(copies))
      doors[store] = { host, port: await this.door(store, copy, { host, port: before[store]?.port ?? 0 }) };
    return doors;
  }

  async close(): Promise<void> {
    const open = [...this.doors.values()];
    this.doors.clear();
    await Promise.all(open.map(shut));
  }

  private async door(store: string, copy: HostAndPort, at: HostAndPort): Promise<number> {
    const known = this.doors.get(store);
    if (known && known.copy.host === copy.host && known.copy.port === copy.port) return portOf(known.server);
    if (known) await shut(known);
    const peers = new Set<net.Socket>();
    const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }, (peer) => {
      peers.add(peer);
      peer.once('close', () => peers.delete(peer));
      // Whoever goes away while it is looked up is no error here.
      peer.on('error', () => undefined);
      void this.admits(peer).then((admitted) => (admitted ? lead(peer, copy) : peer.destroy()));
    });
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(at.port, at.host, resolve)).catch(
      (cause: unknown) => {
        const why = cause instanceof Error ? cause.message : String(cause);
        throw failure('TargetUnreachable', `no way to the copy of ${store} could be opened at ${at.host}: ${why}`, {
          cause,
        });
      },
    );
    this.doors.set(store, { server, copy, peers });
    return portOf(server);
  }

  private async admits({ remoteAddress = '' }: net.Socket): Promise<boolean> {
    const peer = remoteAddress.replace(/^::ffff:/, '');
    try {
      if ((await this.known?.addresses)?.includes(peer)) return true;
      // A pod that has just come.
      return (await this.lookAgain()).includes(peer);
    } catch {
      return false; // nobody knows who it is
    }
  }

  private lookAgain(): Promise<readonly string[]> {
    if (!this.known || Date.now() - this.known.at >= LOOK_MILLISECONDS)
      this.known = { at: Date.now(), addresses: this.podAddresses() };
    return this.known.addresses;
  }
}

interface OpenDoor {
  readonly server: net.Server;
  readonly copy: HostAndPort;
  readonly peers: ReadonlySet<net.Socket>;
}

/** Also on those who are still talking: what they talk to is being removed. */
async function shut({ server, peers }: OpenDoor): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve));
  for (const peer of peers) peer.destroy();
  await closed;
}

const portOf = (server: net.Server) => (server.address() as net.AddressInfo).port;

function lead(peer: net.Socket, copy: HostAndPort): void {
  const other = net.connect({ ...copy, allowHalfOpen: true });
  // Whoever breaks off breaks the other side off as well, which is no error here.
  pipeline(peer, other, () => undefined);
  pipeline(other, peer, () => undefined);
}
