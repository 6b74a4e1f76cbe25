import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import * as net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CopyDoors } from '../../adapters/bubble/copy-doors';
import { copiedDeployment } from '../../adapters/bubble/kubernetes-copy';
import { PROBE } from '../../adapters/bubble/kubernetes-probe';
import { openedBy, policyFor } from '../../adapters/bubble/kubernetes-policy';
import { settings } from '../../adapters/bubble/settings';
import { expectFailure } from '../support/expect-failure';

/** A server that says what it is, and what it heard. */
async function startCopy(name: string) {
  const server = net.createServer((peer) => {
    peer.on('error', () => undefined);
    peer.on('data', (heard) => peer.write(`${name} heard ${heard.toString()}`));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { server, at: { host: '127.0.0.1', port: (server.address() as net.AddressInfo).port } };
}

/** What comes back, or `cut off`. */
async function ask(at: { host: string; port: number }, words: string): Promise<string> {
  const socket = net.connect(at);
  try {
    socket.write(words);
    const answer = once(socket, 'data').then(([heard]) => String(heard));
    const closed = once(socket, 'close').then(() => 'cut off');
    return await Promise.race([answer, closed]).catch(() => 'cut off');
  } finally {
    socket.destroy();
  }
}

describe('the doors to copies', () => {
  test('let pods through and cut everybody else off, also when they cannot be told apart; closed, nobody passes', async () => {
    const copy = await startCopy('copy');
    let pods: () => Promise<string[]> = async () => [];
    const doors = new CopyDoors(() => pods());
    const { orders } = await doors.open('127.0.0.1', { orders: copy.at });
    expect(orders!.port).not.toBe(copy.at.port);
    expect(await ask(orders!, 'hello')).toBe('cut off');
    await doors.close();
    pods = async () => Promise.reject(new Error('the API is away'));
    const second = await doors.open('127.0.0.1', { orders: copy.at });
    expect(await ask(second['orders']!, 'hello')).toBe('cut off');
    await doors.close();
    pods = async () => ['127.0.0.1'];
    const third = await doors.open('127.0.0.1', { orders: copy.at });
    const knock = async () => {
      for (;;) {
        const answer = await ask(third['orders']!, 'hello');
        // What was seen half a second ago still counts.
        if (answer !== 'cut off') return answer;
      }
    };
    expect(await knock()).toBe('copy heard hello');
    await doors.close();
    expect(await ask(third['orders']!, 'hello')).toBe('cut off');
    copy.server.close();
  });

  test('are opened once, and by another worker at the port that the pods know', async () => {
    const copy = await startCopy('copy');
    const pods = async () => ['127.0.0.1'];
    const [before, after] = [new CopyDoors(pods), new CopyDoors(pods)];
    const known = await before.open('127.0.0.1', { orders: copy.at });
    expect(await before.open('127.0.0.1', { orders: copy.at })).toEqual(known);
    await expectFailure(
      after.open('127.0.0.1', { orders: copy.at }, known),
      'TargetUnreachable',
      'no way to the copy of orders',
    );
    await before.close();
    expect(await after.open('127.0.0.1', { orders: copy.at }, known)).toEqual(known);
    expect(await ask(known['orders']!, 'hello')).toBe('copy heard hello');
    await after.close();
    copy.server.close();
  });
});

test('the probe tells what stays open, what is closed at once, and what is not there', async () => {
  const open = await startCopy('copy');
  const shut = net.createServer((peer) => peer.destroy());
  await new Promise<void>((resolve) => shut.listen(0, '127.0.0.1', resolve));
  const gone = await startCopy('gone');
  await new Promise((resolve) => gone.server.close(resolve));
  const folder = mkdtempSync(join(tmpdir(), 'drctl-probe-'));
  const ports = [open.at.port, (shut.address() as net.AddressInfo).port, gone.at.port];
  const env = { TARGETS: JSON.stringify(ports.map((port) => `127.0.0.1:${port}`)), ANSWER: join(folder, 'answer') };
  const child = spawn(process.execPath, ['-e', PROBE], { env, stdio: ['ignore', 'ignore', 'inherit'] });
  expect(await once(child, 'exit')).toEqual([0, null]);
  const answers = JSON.parse(readFileSync(env.ANSWER, 'utf8')) as string[];
  expect(answers).toEqual(['connected', 'connected, and closed at once', 'ECONNREFUSED']);
  rmSync(folder, { recursive: true });
  for (const server of [open.server, shut]) server.close();
}, 30_000);

const bubble = (more: object = {}) => {
  const access = { cluster: { inCluster: true, namespace: 'shop-drill' }, services: 'shop-dr', image: 'drctl:1' };
  const parsed = settings.parse({ kind: 'kubernetes', ...access, workerAddress: '10.1.0.7', ...more });
  if (parsed.kind !== 'kubernetes') throw new Error('another kind');
  return parsed;
};
const at = (host: string, port: number) => ({ host, port });
const open = {
  drillId: '1a2b3c4d',
  copies: { orders: at('127.0.0.1', 5432) },
  doors: { orders: at('10.1.0.7', 40_001) },
};

describe('the network policy', () => {
  test('is of every pod, and names the ways to the copies, the namespace itself and name servers, and nothing else', () => {
    const policy = policyFor(open, bubble());
    expect(policy.spec).toMatchObject({ podSelector: {}, policyTypes: ['Egress'] });
    expect(policy.spec?.egress?.map(({ to, ports }) => [to, ports?.map(({ port }) => port)])).toEqual([
      [[{ podSelector: {} }], undefined],
      [[expect.objectContaining({ podSelector: { matchLabels: { 'k8s-app': 'kube-dns' } } })], [53, 53]],
      [[{ ipBlock: { cidr: '10.1.0.7/32' } }], [40_001]],
    ]);
    expect(openedBy(policy)).toEqual(open);
    const six = policyFor({ ...open, doors: { orders: at('fd00::7', 1) } }, bubble());
    expect(six.spec?.egress?.[2]?.to).toEqual([{ ipBlock: { cidr: 'fd00::7/128' } }]);
  });

  test('knows the workers by their labels as well where it is told them, and no names', () => {
    const labels = { 'app.kubernetes.io/name': 'drctl' };
    const policy = policyFor(open, bubble({ workers: { namespace: 'drctl', labels } }));
    expect(policy.spec?.egress?.[2]?.to).toHaveLength(2);
    expect(() => policyFor({ ...open, doors: { orders: at('worker-0', 1) } }, bubble())).toThrow(
      /knows addresses only/,
    );
  });
});

test('a Deployment is copied with the addresses of the copies in every container; what is not restored is named', () => {
  const container = (name: string) => ({
    name,
    env: [
      { name: 'DB', value: 'production' },
      { name: 'OWN', value: 'kept' },
    ],
  });
  const spec = { serviceAccountName: 'order', initContainers: [container('first')], containers: [container('main')] };
  const original = { metadata: { name: 'order', uid: 'x' }, spec: { replicas: 3, selector: {}, template: { spec } } };
  const env = { DB: 'pg://{copy:orders}', HOST: '{host:orders}', PORT: '{port:orders}' };
  const copied = copiedDeployment(original, { ...open, replicas: 1, env });
  const wanted = [
    { name: 'OWN', value: 'kept' },
    { name: 'DB', value: 'pg://10.1.0.7:40001' },
    { name: 'HOST', value: '10.1.0.7' },
    { name: 'PORT', value: '40001' },
  ];
  const { spec: pods, metadata } = copied.spec!.template;
  expect([pods?.initContainers?.[0]?.env, pods?.containers[0]?.env]).toEqual([wanted, wanted]);
  expect(pods).toMatchObject({ automountServiceAccountToken: false });
  expect(pods).not.toHaveProperty('serviceAccountName');
  expect([copied.metadata, metadata?.labels]).toEqual([
    { name: 'order', labels: { 'drctl.io/drill': '1a2b3c4d' } },
    { 'drctl.io/drill': '1a2b3c4d' },
  ]);
  const unknown = () => copiedDeployment(original, { ...open, replicas: 1, env: { CACHE: '{copy:sessions}' } });
  expect(unknown).toThrow(/a copy of "sessions", which this drill has not made/);
  const onNode = { ...original, spec: { ...original.spec, template: { spec: { ...spec, hostNetwork: true } } } };
  expect(() => copiedDeployment(onNode, { ...open, replicas: 1, env })).toThrow(/the network of their node/);
});
