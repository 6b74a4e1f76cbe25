import { spawnSync } from 'node:child_process';
import * as net from 'node:net';
import type { AddressInfo } from 'node:net';
import type { Bubble, HostAndPort } from '../../core/drill';
import { isReady } from '../../core/services';
import { waitUntil } from '../../lab/servers/process';
import { testContext } from '../support/call-context';
import { expectFailure } from '../support/expect-failure';

/** A service that says what it reaches itself, in its answer to everybody: at HOST and PORT, of COPY and PRODUCTION. */
export const SERVICE = `
const net = require('node:net');
const reach = (address) => new Promise((resolve) => {
  const [host, port] = address.split(':');
  const socket = net.connect({ host, port: Number(port) });
  socket.once('connect', () => { socket.destroy(); resolve('connected'); });
  socket.once('error', (error) => resolve(error.code));
});
require('node:http').createServer(async (_, response) => {
  const [copy, production] = await Promise.all([reach(process.env.COPY), reach(process.env.PRODUCTION)]);
  response.end(JSON.stringify({ copy, production, pid: process.pid }));
}).listen(Number(process.env.PORT), process.env.HOST);`;

export interface BubbleHarness {
  readonly bubble: Bubble;
  /** Listens at `host:port`, and has COPY set to the copy of `orders-db` and PRODUCTION to what it is given. */
  readonly service: { readonly name: string; readonly address: string };
  /** Something that listens, which everybody outside reaches. */
  readonly copy: HostAndPort;
  readonly production: string;
}

const rights = process.getuid?.() === 0 ? [] : ['--user', '--map-root-user'];
const isPossible = spawnSync('unshare', [...rights, '--net', '--', 'ip', 'link', 'set', 'lo', 'up']).status === 0;

/** Servers that accept and say nothing, for copies and for production. */
export async function startListeners(): Promise<{ copy: HostAndPort; production: string; stop(): void }> {
  const servers = [net.createServer(() => undefined), net.createServer(() => undefined)];
  const [copy, production] = await Promise.all(
    servers.map(async (server) => {
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      return (server.address() as AddressInfo).port;
    }),
  );
  return {
    copy: { host: '127.0.0.1', port: copy as number },
    production: `127.0.0.1:${production}`,
    stop: () => servers.forEach((server) => server.close()),
  };
}

/** Every kind of bubble keeps these promises of core/drill.ts, with real processes and a real network. */
export function bubbleContract(harness: () => BubbleHarness): void {
  const ctx = testContext();
  const { drillId, other } = { drillId: '1a2b3c4d', other: 'ffffffff' };
  const copies = () => ({ 'orders-db': harness().copy });
  const open = () => harness().bubble.open({ drillId, copies: copies() }, ctx);
  const answer = async () =>
    (await (await fetch(`http://${harness().service.address}/`)).json()) as {
      copy: string;
      production: string;
      pid: number;
    };

  test('closed, nothing starts in it and nothing is there', async () => {
    const { bubble, service } = harness();
    await expectFailure(bubble.scale(service.name, 1, ctx), 'RoleMismatch', 'closed');
    expect(await bubble.remains(ctx)).toEqual([]);
    await bubble.close(ctx);
  });

  // Where the kernel gives nobody a network of its own, a drill says so and starts nothing; CI has to have one.
  (isPossible || process.env['CI'] ? describe : describe.skip)('open', () => {
    beforeAll(open);

    test('it can be opened again for the same drill, and not for another one', async () => {
      await open();
      const another = harness().bubble.open({ drillId: other, copies: {} }, ctx);
      await expectFailure(another, 'LockHeld', `open for drill ${drillId}`);
    });

    test('from inside the copy is reached, and a real server that everybody else reaches is not', async () => {
      const { bubble, copy, production } = harness();
      const port = Number(production.split(':')[1]);
      const outside = new Promise((resolve) => net.connect(port, '127.0.0.1').once('connect', resolve));
      await expect(outside).resolves.toBeUndefined();
      const found = await bubble.connect([`${copy.host}:${copy.port}`, production, '192.0.2.1:443'], ctx);
      expect(found.map(({ connected }) => connected)).toEqual([true, false, false]);
    });

    test('a service in it is reached from outside, finds the copy, and does not find production; killed, it comes back', async () => {
      const { bubble, service } = harness();
      const ready = async () => isReady(await bubble.state(service.name, ctx), 1);
      await bubble.scale(service.name, 1, ctx);
      await waitUntil('the service being ready', ready);
      const before = await answer();
      expect(before).toMatchObject({ copy: 'connected', production: 'ECONNREFUSED' });
      expect(await bubble.crash(service.name, ctx)).toEqual([expect.stringContaining(service.name)]);
      await waitUntil('another one answering', async () =>
        answer().then(
          ({ pid }) => pid !== before.pid,
          () => false,
        ),
      );
      await waitUntil('the service being ready again', ready);
    });

    test('what is there is named while it is open; closed, nothing of it is left', async () => {
      const { bubble, service } = harness();
      const there = (await bubble.remains(ctx)).join('\n');
      expect(there).toMatch(/^bubble .*open for drill 1a2b3c4d/);
      expect(there.split('\n').slice(1).join()).toContain(service.name);
      await bubble.close(ctx);
      expect(await bubble.remains(ctx)).toEqual([]);
      await waitUntil('nobody answering any more', async () =>
        answer().then(
          () => false,
          () => true,
        ),
      );
      await bubble.close(ctx);
    });
  });
}
