import { spawnSync } from 'node:child_process';
import * as net from 'node:net';
import type { AddressInfo } from 'node:net';
import { createBubble } from '../../adapters/bubble';
import { createKiller } from '../../adapters/bubble/killer';
import { settings as bubbleSettings } from '../../adapters/bubble/settings';
import { settings as servicesSettings } from '../../adapters/services/settings';
import type { Bubble } from '../../core/drill';
import { isReady } from '../../core/services';
import { Secret } from '../../core/secret';
import { freeLoopbackHost } from '../../lab/servers/loopback';
import { waitUntil } from '../../lab/servers/process';
import { testContext } from '../support/call-context';
import { expectFailure } from '../support/expect-failure';
import { startSupervisedSite, type SupervisedSite } from '../support/supervised-site';

jest.setTimeout(60_000);

/** A service that says what it reaches itself, in its answer to everybody. */
const SERVICE = `
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

const rights = process.getuid?.() === 0 ? [] : ['--user', '--map-root-user'];
const isPossible = spawnSync('unshare', [...rights, '--net', '--', 'ip', 'link', 'set', 'lo', 'up']).status === 0;

let lab: SupervisedSite;
let bubble: Bubble;
let host: string;
const servers: net.Server[] = [];
let copy: AddressInfo;
let production: string;
const ctx = testContext();

const listening = async (): Promise<AddressInfo> => {
  const server = net.createServer(() => undefined);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server.address() as AddressInfo;
};

beforeAll(async () => {
  lab = await startSupervisedSite('dr');
  copy = await listening();
  production = `127.0.0.1:${(await listening()).port}`;
  host = await freeLoopbackHost(8101);
  const folder = `${lab.folder}/b`;
  lab.supervisor.bubbles.define({ site: 'bubble', folder, programs: [] });
  const env = { HOST: '{host}', PORT: '{port}', COPY: '{copy:orders-db}', PRODUCTION: production };
  const argv = [process.execPath, '-e', SERVICE];
  const place = { site: 'bubble', name: 'order', cwd: lab.folder, upstreamsFile: `${folder}/upstreams.json` };
  await lab.supervisor.services.define({ ...place, argv, env, host, firstPort: 8101 }, 0);
  const access = { kind: 'process', url: lab.url, token: new Secret(lab.token) } as const;
  bubble = createBubble(bubbleSettings.parse({ ...access, site: 'bubble' }));
});

afterAll(async () => {
  for (const server of servers) server.close();
  await lab?.stop();
});

const copies = () => ({ 'orders-db': { host: '127.0.0.1', port: copy.port } });
const answer = async () =>
  (await (await fetch(`http://${host}:8101/`)).json()) as { copy: string; production: string; pid: number };

test('closed, nothing starts in it and nothing is there', async () => {
  await expectFailure(bubble.scale('order', 1, ctx), 'RoleMismatch', 'closed');
  expect(await bubble.remains(ctx)).toEqual([]);
  await bubble.close(ctx);
});

// Where the kernel gives nobody a network of its own, a drill says so and starts nothing; CI has to have one.
(isPossible || process.env['CI'] ? describe : describe.skip)('open', () => {
  beforeAll(async () => {
    await bubble.open({ drillId: '1a2b3c4d', copies: copies() }, ctx);
  });

  test('it can be opened again for the same drill, and not for another one', async () => {
    await bubble.open({ drillId: '1a2b3c4d', copies: copies() }, ctx);
    await expectFailure(bubble.open({ drillId: 'ffffffff', copies: {} }, ctx), 'LockHeld', 'open for drill 1a2b3c4d');
  });

  test('from inside the copy is reached, and a real server that everybody else reaches is not', async () => {
    const port = Number(production.split(':')[1]);
    await expect(
      new Promise((resolve) => net.connect(port, '127.0.0.1').once('connect', resolve)),
    ).resolves.toBeUndefined();
    const found = await bubble.connect([`127.0.0.1:${copy.port}`, production, '192.0.2.1:443'], ctx);
    expect(found.map(({ connected }) => connected)).toEqual([true, false, false]);
  });

  test('a service in it is reached from outside, finds the copy, and does not find production; killed, it comes back', async () => {
    await bubble.scale('order', 1, ctx);
    const ready = async () => isReady(await bubble.state('order', ctx), 1);
    await waitUntil('the service being ready', ready);
    const before = await answer();
    expect(before).toMatchObject({ copy: 'connected', production: 'ECONNREFUSED' });
    expect(await bubble.crash('order', ctx)).toEqual([expect.stringContaining('bubble-order-1 (process ')]);
    await waitUntil('the service being ready again', ready);
    expect((await answer()).pid).not.toBe(before.pid);
  });

  test('what is there is named while it is open; closed, nothing of it is left', async () => {
    expect((await bubble.remains(ctx)).join('\n')).toMatch(
      /bubble bubble, open for drill 1a2b3c4d[^]*process bubble-order-1[^]*folder/,
    );
    await bubble.close(ctx);
    expect(await bubble.remains(ctx)).toEqual([]);
    await expect(fetch(`http://${host}:8101/`)).rejects.toThrow(/fetch failed/);
  });
});

test('what runs at a site is killed by the name of its store, and comes back by itself; what does not exist is named', async () => {
  const access = servicesSettings.parse({ kind: 'process', url: lab.url, token: new Secret(lab.token) });
  const killer = createKiller(access);
  const running = () => lab.supervisor.processes().find(({ name }) => name === 'dr-cache');
  const before = running();
  const target = { store: 'cache', service: null, pods: null };
  expect(await killer.kill('dr', target, ctx)).toEqual([`dr-cache (process ${before?.pid})`]);
  await waitUntil(
    'the store running again',
    async () => running()?.state === 'running' && running()?.pid !== before?.pid,
  );
  await expectFailure(killer.kill('dr', { ...target, store: 'nothing' }, ctx), 'NotFound', 'nothing');
});
