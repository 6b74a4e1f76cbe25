import * as fs from 'node:fs';
import type { Socket } from 'node:net';

/**
 * Which of these processes of this machine made a connection that was accepted; null: none of them. By proc(5): a socket of
 * /proc/net/tcp has an inode, and whoever has it open names that in /proc/<pid>/fd.
 */
export function ownerOf(accepted: Socket, pids: readonly number[]): number | null {
  const { remoteAddress, remotePort, localAddress, localPort } = accepted;
  if (!remoteAddress || !remotePort || !localAddress || !localPort) return null;
  const [theirs, ours] = [inHex(remoteAddress, remotePort), inHex(localAddress, localPort)];
  const rows = fs.readFileSync('/proc/net/tcp', 'utf8').split('\n');
  const row = rows
    .map((line) => line.trim().split(/\s+/))
    .find(([, local, remote]) => local === theirs && remote === ours);
  const inode = row?.[9];
  return inode === undefined ? null : (pids.find((pid) => hasOpen(pid, `socket:[${inode}]`)) ?? null);
}

/** As the kernel prints it: the address as one number in the machine's byte order, which is little-endian here. */
function inHex(address: string, port: number): string {
  const bytes = address.split('.').map(Number).toReversed();
  return `${Buffer.from(bytes).toString('hex')}:${port.toString(16).padStart(4, '0')}`.toUpperCase();
}

function hasOpen(pid: number, what: string): boolean {
  const folder = `/proc/${pid}/fd`;
  try {
    return fs.readdirSync(folder).some((name) => linkOf(`${folder}/${name}`) === what);
  } catch {
    return false; // it has ended
  }
}

function linkOf(file: string): string | null {
  try {
    return fs.readlinkSync(file);
  } catch {
    return null; // closed meanwhile
  }
}
