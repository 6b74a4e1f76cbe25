import { spawn } from 'node:child_process';
import * as path from 'node:path';
import { entrance, exit, type Doors } from './doors';

/**
 * The outer side of a bubble: starts the inner one in a network namespace of its own (network_namespaces(7)), and keeps the
 * doors. Both end together. Root needs no user namespace; somebody else gets the right to make the network by one.
 */
async function main(): Promise<void> {
  const doors = JSON.parse(process.env['BUBBLE_DOORS'] ?? '') as Doors;
  const rights = process.getuid?.() === 0 ? [] : ['--user', '--map-root-user'];
  const inside = path.join(__dirname, 'inside.js');
  // Behind unshare, because the kernel forgets this signal when rights change (prctl(2)).
  const bound = ['setpriv', '--pdeathsig', 'KILL', '--', process.execPath, inside];
  const child = spawn('unshare', [...rights, '--net', '--', ...bound], { stdio: ['ignore', 'inherit', 'inherit'] });
  child.once('error', fail);
  child.once('exit', (code) => process.exit(code ?? 1));
  await Promise.all([...doors.out.map(exit), ...doors.in.map(entrance)]);
}

function fail(error: unknown): never {
  process.stderr.write(`the bubble could not be made: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}

main().catch(fail);
