import { createBubble } from '../../adapters/bubble';
import { createKiller } from '../../adapters/bubble/killer';
import { settings as bubbleSettings } from '../../adapters/bubble/settings';
import { settings as servicesSettings } from '../../adapters/services/settings';
import type { Bubble } from '../../core/drill';
import { Secret } from '../../core/secret';
import { freeLoopbackHost } from '../../lab/servers/loopback';
import { waitUntil } from '../../lab/servers/process';
import { bubbleContract, SERVICE, startListeners } from '../contract/bubble.contract';
import { testContext } from '../support/call-context';
import { expectFailure } from '../support/expect-failure';
import { startSupervisedSite, type SupervisedSite } from '../support/supervised-site';

jest.setTimeout(60_000);

let lab: SupervisedSite;
let bubble: Bubble;
let host: string;
let listeners: Awaited<ReturnType<typeof startListeners>>;
const ctx = testContext();

beforeAll(async () => {
  lab = await startSupervisedSite('dr');
  listeners = await startListeners();
  host = await freeLoopbackHost(8101);
  const folder = `${lab.folder}/b`;
  lab.supervisor.bubbles.define({ site: 'bubble', folder, programs: [] });
  const env = { HOST: '{host}', PORT: '{port}', COPY: '{copy:orders-db}', PRODUCTION: listeners.production };
  const argv = [process.execPath, '-e', SERVICE];
  const place = { site: 'bubble', name: 'order', cwd: lab.folder, upstreamsFile: `${folder}/upstreams.json` };
  await lab.supervisor.services.define({ ...place, argv, env, host, firstPort: 8101 }, 0);
  const access = { kind: 'process', url: lab.url, token: new Secret(lab.token) } as const;
  bubble = createBubble(bubbleSettings.parse({ ...access, site: 'bubble' }));
});

afterAll(async () => {
  listeners?.stop();
  await lab?.stop();
});

bubbleContract(() => ({ bubble, service: { name: 'order', address: `${host}:8101` }, ...listeners }));

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
