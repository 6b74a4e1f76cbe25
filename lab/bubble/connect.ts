import * as net from 'node:net';
import { parse } from './doors';

/** On one machine a connection is there at once; what does not answer by then is not reached. */
const CONNECT_MILLISECONDS = 2_000;

/** Tries to connect to each address of BUBBLE_TARGETS, from where it is started, and prints what became of it. */
async function main(): Promise<void> {
  const targets = JSON.parse(process.env['BUBBLE_TARGETS'] ?? '[]') as string[];
  process.stdout.write(JSON.stringify(await Promise.all(targets.map(attempt))));
}

function attempt(target: string): Promise<{ target: string; connected: boolean; how: string }> {
  const socket = net.connect({ ...parse(target), timeout: CONNECT_MILLISECONDS });
  return new Promise((resolve) => {
    const ended = (connected: boolean, how: string) => {
      socket.destroy();
      resolve({ target, connected, how });
    };
    socket.once('error', (error: NodeJS.ErrnoException) => ended(false, error.code ?? error.message));
    socket.once('timeout', () => ended(false, `no answer within ${CONNECT_MILLISECONDS / 1_000} s`));
    socket.once('connect', () => {
      // The door itself accepts, and breaks off when there is nobody behind it: a server says nothing and stays.
      socket.setTimeout(0);
      socket.once('close', () => ended(false, 'closed at once'));
      setTimeout(() => ended(true, 'connected'), 200);
      socket.resume();
    });
  });
}

void main();
