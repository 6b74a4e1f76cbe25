import { chmodSync, mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import * as http from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSiteFence } from '../../adapters/fence';
import { settings as fenceSettings } from '../../adapters/fence/settings';
import type { FailureCode } from '../../core/failure-classes';
import type { SiteFence } from '../../core/fencing';
import { unfencedStores } from '../../core/fencing';
import { Secret } from '../../core/secret';
import { identify } from '../../lab/servers/process-tree';
import { testContext } from '../support/call-context';
import { expectFailure } from '../support/expect-failure';
import { waitUntil } from '../support/servers';
import { startSupervisedSite, type SupervisedSite } from '../support/supervised-site';

const STORES = ['orders-db', 'cache'];
const ctx = testContext();

function agentFence(url: string, token: string, timeoutSeconds = 30): SiteFence {
  return createSiteFence(fenceSettings.parse({ kind: 'agent', url, token: new Secret(token), timeoutSeconds }), STORES);
}

describe('the fence of a host agent, on the real supervisor', () => {
  let lab: SupervisedSite;
  let fence: SiteFence;
  beforeEach(async () => {
    lab = await startSupervisedSite('primary');
    fence = agentFence(lab.url, lab.token);
    await lab.supervisor.services.scale('primary', 'auth', 2);
    await waitUntil('everything running', async () => runningPids().length === 4);
  });
  afterEach(async () => lab?.stop());

  const runningPids = () =>
    lab.supervisor.processes().flatMap(({ pid, state }) => (pid !== null && state === 'running' ? [pid] : []));

  test('kills every process, proves it, and keeps the site down until the fence is lifted', async () => {
    const pids = runningPids();
    await expect(fence.check('primary', ctx)).resolves.toEqual({ fencedByEpoch: null });
    expect(runningPids()).toEqual(pids);
    const evidence = await fence.fence('primary', 5, ctx);
    await expect(fence.check('primary', ctx)).resolves.toEqual({ fencedByEpoch: 5 });
    expect(evidence).toMatchObject({ strength: 'proven', site: 'primary', epoch: 5, stores: STORES });
    expect(evidence.how).toMatch(/killed and saw gone 4 processes \(.*primary-orders-db.*\)/);
    expect(unfencedStores(STORES, [evidence])).toEqual([]);
    expect(pids.map(identify)).toEqual([null, null, null, null]);
    expect(() => lab.supervisor.start('primary-orders-db')).toThrow(/fenced by epoch 5/);
    expect(lab.supervisor.startSite('primary').filter(({ state }) => state !== 'fenced')).toEqual([]);
    expect(lab.supervisor.fenceOf('primary')).toMatchObject({ epoch: 5 });

    await fence.unfence('primary', 5, ctx);
    expect(lab.supervisor.fenceOf('primary')).toBeNull();
  });

  test('says how full the disks of the stores are, and nothing of a site that it does not have', async () => {
    const disks = await fence.disks!('primary', ctx);
    expect(disks.map(({ store }) => store).toSorted()).toEqual([...STORES].toSorted());
    const { bavail, blocks, bsize } = statfsSync(lab.folder);
    for (const { freeBytes, totalBytes } of disks) {
      expect(totalBytes).toBe(blocks * bsize);
      // Others write to it meanwhile.
      expect(Math.abs(freeBytes - bavail * bsize)).toBeLessThan(totalBytes / 20);
    }
    await expect(fence.disks!('nowhere', ctx)).resolves.toEqual([]);
  });

  test('a process that hangs (SIGSTOP) does not answer and is killed all the same', async () => {
    const stopped = lab.supervisor.processes().find(({ name }) => name === 'primary-orders-db');
    lab.supervisor.signal('primary-orders-db', 'SIGSTOP');
    const evidence = await fence.fence('primary', 5, ctx);
    expect(evidence).toMatchObject({ strength: 'proven', stores: STORES });
    expect(identify(stopped?.pid ?? 0)).toBeNull();
  });

  test('of some stores only, it leaves the others running', async () => {
    const evidence = await fence.fence('primary', 5, ctx, { stores: ['orders-db'], endWithinSeconds: 5 });
    expect(evidence).toMatchObject({ strength: 'proven', epoch: 5, stores: ['orders-db'] });
    expect(unfencedStores(STORES, [evidence])).toEqual(['cache']);
    const states = Object.fromEntries(lab.supervisor.processes().map(({ name, state }) => [name, state]));
    expect(states).toMatchObject({ 'primary-orders-db': 'fenced', 'primary-cache': 'running' });
    // Its process takes a signal and ends, but is no server that could say where.
    expect(evidence.ended).toBeUndefined();
    const orders = { site: 'primary', store: 'orders-db' };
    await expect(fence.startStandby?.(orders, 5, ctx)).resolves.toBe(false);
    await expectFailure(fence.startStandby?.(orders, 4, ctx) ?? Promise.resolve(), 'StaleEpoch', 'epoch 5 holds');
    await expect(fence.startStandby?.({ ...orders, store: 'files' }, 5, ctx)).resolves.toBe(false);
    expect(lab.supervisor.fenceOf('primary')).toMatchObject({ stores: ['orders-db'] });
  });

  test('lifting it starts again what ran before it, with its replicas, and nothing that was down or is stopped', async () => {
    await lab.supervisor.stop('primary-cache');
    await lab.supervisor.kill('primary-auth-2');
    await waitUntil('two running', async () => runningPids().length === 2);
    await fence.fence('primary', 5, ctx);
    await fence.fence('primary', 5, ctx);
    expect(runningPids()).toEqual([]);
    const { started, notes } = await fence.unfence('primary', 5, ctx);
    expect([started.toSorted(), notes]).toEqual([['primary-auth-1', 'primary-orders-db'], []]);
    await waitUntil('what ran before running', async () => runningPids().length === 2);
    const states = Object.fromEntries(lab.supervisor.processes().map(({ name, state }) => [name, state]));
    expect(states).toEqual({
      'primary-orders-db': 'running',
      'primary-cache': 'stopped',
      'primary-auth-1': 'running',
      'primary-auth-2': 'killed',
    });
    await waitUntil('auth being ready', async () => {
      const [auth] = await lab.supervisor.services.of('primary');
      return auth?.desiredReplicas === 2 && auth.readyReplicas === 1;
    });
    await expect(fence.unfence('primary', 5, ctx)).resolves.toEqual({ started: [], notes: [] });
  });

  test('what a person does while it holds is honoured when it is lifted', async () => {
    await fence.fence('primary', 5, ctx);
    await lab.supervisor.stop('primary-cache');
    await fence.fence('primary', 6, ctx); // a newer role change fences what is fenced
    const { started } = await fence.unfence('primary', 6, ctx);
    expect(started.toSorted()).toEqual(['primary-auth-1', 'primary-auth-2', 'primary-orders-db']);
    await lab.supervisor.fence('primary', 7, null);
    await lab.supervisor.killSite('primary'); // its power goes as well
    await expect(fence.unfence('primary', 7, ctx)).resolves.toEqual({ started: [], notes: [] });
    expect(runningPids()).toEqual([]);
  });

  test('again with the same epoch is proven again, and lifting twice is no error', async () => {
    const first = await fence.fence('primary', 5, ctx);
    const second = await fence.fence('primary', 5, ctx);
    expect(second).toMatchObject({ strength: 'proven', epoch: 5, at: first.at });
    await fence.unfence('primary', 6, ctx);
    await fence.unfence('primary', 6, ctx);
    expect(lab.supervisor.fenceOf('primary')).toBeNull();
  });

  test('an older epoch neither fences nor lifts', async () => {
    await fence.fence('primary', 5, ctx);
    await expectFailure(fence.fence('primary', 4, ctx), 'StaleEpoch', 'epoch 4 is older than epoch 5');
    await expectFailure(fence.unfence('primary', 4, ctx), 'StaleEpoch', 'epoch 4');
    expect(lab.supervisor.fenceOf('primary')).toMatchObject({ epoch: 5 });
  });

  test('an unknown site, a wrong token and no agent are told apart, and none is a proof', async () => {
    await expectFailure(fence.fence('atlantis', 5, ctx), 'NotFound', 'atlantis');
    const stranger = agentFence(lab.url, 'stranger-token');
    const denied = await expectFailure(stranger.fence('primary', 5, ctx), 'AccessDenied', 'primary');
    expect(JSON.stringify([denied, denied.message])).not.toContain('stranger-token');
    const url = lab.url;
    await lab.stop();
    const unreachable = await expectFailure(
      agentFence(url, 'x').fence('primary', 5, ctx),
      'TargetUnreachable',
      'ECONNREFUSED',
    );
    expect(unreachable.nonRetryable).toBe(false);
    expect(unreachable.details).toEqual([
      expect.objectContaining({ data: expect.stringContaining('not known') as string }),
    ]);
  });
});

describe('an agent whose answer leaves a doubt', () => {
  let answer: unknown;
  let server: http.Server;
  let fence: SiteFence;
  beforeAll(async () => {
    server = http.createServer((_, response) => response.end(JSON.stringify(answer)));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    fence = agentFence(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, 'token');
  });
  afterAll(async () => {
    server.closeAllConnections();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  });

  const gone = { name: 'primary-orders-db', pid: 41, gone: true };
  const whole = { site: 'primary', epoch: 5, at: '2026-11-22T13:00:00.000Z', stores: null, processes: [gone] };

  test.each([
    [
      'a process that is still there',
      { ...whole, processes: [gone, { name: 'primary-cache', pid: 42, gone: false }] },
      'primary-cache (pid 42)',
    ],
    ['no process at all', { ...whole, processes: [] }, 'can prove nothing'],
    ['another site', { ...whole, site: 'dr' }, 'site dr'],
    ['another epoch', { ...whole, epoch: 4 }, 'epoch 4'],
  ])('%s: FencingUnconfirmed', async (_, given, says) => {
    answer = given;
    const error = await expectFailure(fence.fence('primary', 5, ctx), 'FencingUnconfirmed', says);
    expect(error.nonRetryable).toBe(true);
  });

  test('a fence of some stores covers only these', async () => {
    answer = { ...whole, stores: ['orders-db'] };
    const evidence = await fence.fence('primary', 5, ctx);
    expect(unfencedStores(STORES, [evidence])).toEqual(['cache']);
  });

  test('an answer of another kind is no proof', async () => {
    answer = { ok: true };
    await expectFailure(fence.fence('primary', 5, ctx), 'TargetUnreachable', 'did not answer as a supervisor does');
  });

  test('a fence that is still shown after it was lifted is an error', async () => {
    answer = { epoch: 5 };
    await expectFailure(fence.unfence('primary', 5, ctx), 'FencingUnconfirmed', 'still shows a fence of epoch 5');
  });

  test('a process that belongs to somebody else is named with its owner when the fence is lifted', async () => {
    const processes = [
      { name: 'orders-db', started: false, owner: 'systemd (postgresql.service)' },
      { name: 'cache', started: true },
    ];
    answer = { epoch: null, processes };
    await expect(fence.unfence('primary', 5, ctx)).resolves.toEqual({
      started: ['cache'],
      notes: ['orders-db at primary belongs to systemd (postgresql.service), which has to start it'],
    });
  });
});

describe('the fence of a command', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'drctl-fence-'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  function commandFence(script: string, more: { timeoutSeconds?: number; environment?: string[] } = {}): SiteFence {
    const file = join(folder, `fence-${Math.random().toString(36).slice(2)}.cjs`);
    const read = `const input = JSON.parse(require('node:fs').readFileSync(0, 'utf8'));`;
    const say = `const say = (answer) => console.log(JSON.stringify(answer));`;
    writeFileSync(file, `${read}\n${say}\n${script}`);
    chmodSync(file, 0o755);
    return createSiteFence(fenceSettings.parse({ kind: 'command', argv: [process.execPath, file], ...more }), STORES);
  }

  test('is given site, epoch and stores as JSON, and its word "proven" is the evidence', async () => {
    const fence = commandFence(`say({ proven: true, how: JSON.stringify(input) });`);
    const evidence = await fence.fence('primary; rm -rf /', 5, ctx);
    expect(evidence).toMatchObject({ strength: 'proven', epoch: 5, stores: STORES, by: process.execPath });
    expect(JSON.parse(evidence.how)).toEqual({ action: 'fence', site: 'primary; rm -rf /', epoch: 5, stores: STORES });
    const some = await fence.fence('primary', 5, ctx, { stores: ['cache'], endWithinSeconds: 5 });
    const asked = { stores: ['cache'], endWithinSeconds: 5 };
    expect([some.stores, JSON.parse(some.how)]).toEqual([['cache'], expect.objectContaining(asked)]);
    const ended = [{ store: 'orders-db', lineage: '7000000000000000001/1', value: '0/3000028' }];
    const clean = commandFence(`say({ proven: true, how: 'stopped', ended: ${JSON.stringify(ended)} });`);
    await expect(clean.fence('primary', 5, ctx)).resolves.toMatchObject({ ended });
  });

  test('its word that nothing is fenced any more is wanted when the fence is lifted', async () => {
    const fence = commandFence(`say({ fenced: input.action !== 'unfence' || input.epoch !== 5 });`);
    await expect(fence.unfence('primary', 5, ctx)).resolves.toEqual({
      started: [],
      notes: [expect.stringMatching(/does not say what it started/)],
    });
    const telling = commandFence(`say({ fenced: false, started: ['orders-db'], notes: ['cache is in Kubernetes'] });`);
    await expect(telling.unfence('primary', 5, ctx)).resolves.toEqual({
      started: ['orders-db'],
      notes: ['cache is in Kubernetes'],
    });
    await expectFailure(fence.unfence('primary', 6, ctx), 'FencingUnconfirmed', 'fenced');
  });

  test.each<[what: string, script: string, code: FailureCode, says: string]>([
    [
      '"not proven" is no fence',
      `say({ proven: false, how: 'stop was asked for' });`,
      'FencingUnconfirmed',
      'stop was asked for',
    ],
    ['an answer without "proven"', `say({ how: 'done' });`, 'FencingUnconfirmed', 'proven'],
    ['words instead of JSON', `console.log('fenced!');`, 'FencingUnconfirmed', 'not JSON'],
    ['exit 1', `console.error('no such instance'); process.exit(1);`, 'FencingUnconfirmed', 'exit 1: no such instance'],
    ['exit 75, try again', `console.error('throttled'); process.exit(75);`, 'TargetUnreachable', 'throttled'],
    ['exit 79, a newer epoch', `process.exit(79);`, 'StaleEpoch', 'exit 79'],
    ['killed by a signal', `process.kill(process.pid, 'SIGKILL');`, 'FencingUnconfirmed', 'ended by a signal'],
  ])('%s', async (_, script, code, says) => {
    await expectFailure(commandFence(script).fence('primary', 5, ctx), code, says);
  });

  test('a program that is not there is ToolMissing', async () => {
    const settings = fenceSettings.parse({ kind: 'command', argv: ['/no/such/program'] });
    await expectFailure(createSiteFence(settings, STORES).fence('primary', 5, ctx), 'ToolMissing', '/no/such/program');
  });

  test('at the deadline the command dies with what it started, and it proves nothing', async () => {
    const pidFile = join(folder, 'child.pid');
    const fence = commandFence(
      `const child = require('node:child_process').spawn('sleep', ['60']);
       require('node:fs').writeFileSync(${JSON.stringify(pidFile)}, String(child.pid)); setInterval(() => {}, 1000);`,
      { timeoutSeconds: 1 },
    );
    await expectFailure(fence.fence('primary', 5, ctx), 'TargetUnreachable', 'not finished within 1 s, killed');
    const pid = Number(readFileSync(pidFile, 'utf8'));
    expect(pid).toBeGreaterThan(1);
    await waitUntil('its child being gone', async () => identify(pid) === null);
  });

  test('sees the variables it was promised and no other of the worker', async () => {
    process.env['DRCTL_TEST_PROFILE'] = 'disaster';
    process.env['DRCTL_TEST_SECRET'] = 'not-for-you';
    const script = `say({ proven: true, how: Object.keys(process.env).filter((each) => each.startsWith('DRCTL')).join() });`;
    try {
      const evidence = await commandFence(script, { environment: ['DRCTL_TEST_PROFILE'] }).fence('primary', 5, ctx);
      expect(evidence.how).toBe('DRCTL_TEST_PROFILE');
    } finally {
      delete process.env['DRCTL_TEST_PROFILE'];
      delete process.env['DRCTL_TEST_SECRET'];
    }
  });

  test('a cancelled step ends the command', async () => {
    const controller = new AbortController();
    const call = commandFence(`setInterval(() => {}, 1000);`).fence('primary', 5, testContext(controller.signal));
    const reason = new Error('cancelled');
    setTimeout(() => controller.abort(reason), 200);
    await expect(call).rejects.toBe(reason);
  });
});
