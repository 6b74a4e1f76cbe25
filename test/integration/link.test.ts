import { once } from 'node:events';
import * as net from 'node:net';
import { Link } from '../support/link';
import { waitUntil } from '../support/servers';

/** The network of test/e2e/consistency.test.ts: what it does to TCP. */
let echo: net.Server;
let link: Link;
const open: net.Socket[] = [];

async function connected(): Promise<{ socket: net.Socket; received: () => string }> {
  const socket = net.connect(link.address);
  open.push(socket);
  let text = '';
  socket.on('data', (piece: Buffer) => (text += piece.toString()));
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return { socket, received: () => text };
}

beforeAll(async () => {
  echo = net.createServer((socket) => {
    open.push(socket);
    socket.on('error', () => undefined);
    socket.pipe(socket);
  });
  echo.listen(0, '127.0.0.1');
  await once(echo, 'listening');
  const { address, port } = echo.address() as net.AddressInfo;
  link = await Link.to({ host: address, port });
});

afterAll(() => {
  link?.close();
  for (const socket of open) socket.destroy();
  echo?.close();
});

test('what is sent arrives in order, late by the delay of both directions', async () => {
  const { socket, received } = await connected();
  link.delayMs = 60;
  const sentAt = performance.now();
  socket.write('one ');
  socket.write('two');
  await waitUntil('the echo', () => Promise.resolve(received() === 'one two'), { intervalMs: 5 });
  expect(performance.now() - sentAt).toBeGreaterThanOrEqual(110);
  link.delayMs = 0;
  socket.write('x'.repeat(3_000_000));
  await waitUntil('the long echo', () => Promise.resolve(received().length === 3_000_007));
});

test('a silent link delivers nothing, breaks nothing, and delivers everything when it is healed', async () => {
  const { socket, received } = await connected();
  link.silence();
  socket.write('late');
  const other = await connected(); // the kernel accepts, and then nothing
  other.socket.write('also late');
  await expect(
    waitUntil('an echo', () => Promise.resolve(received() + other.received() !== ''), { deadlineMs: 300 }),
  ).rejects.toThrow('did not come about');
  expect(socket.destroyed).toBe(false);
  link.heal();
  await waitUntil('both echoes', () => Promise.resolve(received() === 'late' && other.received() === 'also late'));
});

test('a cut link breaks every connection and takes none, until it is healed', async () => {
  const { socket, received } = await connected();
  link.silence();
  socket.write('lost');
  link.cut();
  await waitUntil('the end of the connection', () => Promise.resolve(socket.destroyed));
  const refused = net.connect(link.address).on('error', () => undefined);
  await waitUntil('the end of a new connection', () => Promise.resolve(refused.destroyed));
  link.heal();
  const again = await connected();
  again.socket.write('back');
  await waitUntil('the echo', () => Promise.resolve(again.received() === 'back'));
  expect(received()).toBe('');
});
