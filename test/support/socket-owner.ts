import * as fs from 'node:fs';
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** A partition makes dozens of connections a second, and a look takes some ten milliseconds of this process: one serves many. */
const GATHER_MILLISECONDS = 30;

/**
 * Which processes of this machine made the connections that were accepted here. By proc(5): a socket of /proc/net/tcp has an
 * inode, and whoever has it open names that in /proc/<pid>/fd.
 */
export class SocketOwners {
  private coming: Promise<ReadonlyMap<string, number>> | null = null;

  /** Null where it is none of these: `pids` are asked for at each look. */
  async ownerOf(accepted: Socket, pids: () => readonly number[]): Promise<number | null> {
    const { remoteAddress, remotePort, localAddress, localPort } = accepted;
    if (!remoteAddress || !remotePort || !localAddress || !localPort) return null;
    const connection = `${inHex(remoteAddress, remotePort)} ${inHex(localAddress, localPort)}`;
    return (await this.look(pids)).get(connection) ?? null;
  }

  private look(pids: () => readonly number[]): Promise<ReadonlyMap<string, number>> {
    this.coming ??= delay(GATHER_MILLISECONDS).then(() => {
      this.coming = null; // what is accepted from here on is not in it
      return ownersNow(pids());
    });
    return this.coming;
  }
}

/** By connection as its maker sees it: its own address, then the one that accepted. */
function ownersNow(pids: readonly number[]): Map<string, number> {
  const connections = new Map<string, string>();
  for (const line of fs.readFileSync('/proc/net/tcp', 'utf8').split('\n')) {
    const [, local, remote, , , , , , , inode] = line.trim().split(/\s+/);
    if (inode !== undefined) connections.set(`socket:[${inode}]`, `${local} ${remote}`);
  }
  const owners = new Map<string, number>();
  for (const pid of pids) {
    for (const open of openOf(pid)) {
      const connection = connections.get(open);
      if (connection !== undefined) owners.set(connection, pid);
    }
  }
  return owners;
}

/** As the kernel prints it: the address as one number in the machine's byte order, which is little-endian here. */
function inHex(address: string, port: number): string {
  const bytes = address.split('.').map(Number).toReversed();
  return `${Buffer.from(bytes).toString('hex')}:${port.toString(16).padStart(4, '0')}`.toUpperCase();
}

function openOf(pid: number): string[] {
  const folder = `/proc/${pid}/fd`;
  try {
    return fs.readdirSync(folder).flatMap((name) => linkOf(`${folder}/${name}`) ?? []);
  } catch {
    return []; // it has ended
  }
}

function linkOf(file: string): string | null {
  try {
    return fs.readlinkSync(file);
  } catch {
    return null; // closed meanwhile
  }
}
