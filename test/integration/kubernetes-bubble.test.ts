import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import * as net from 'node:net';
import { join, resolve } from 'node:path';
import type { AppsV1Api, CoreV1Api, KubeConfig, V1Deployment } from '@kubernetes/client-node';
import { createBubble } from '../../adapters/bubble';
import { openedBy, POLICY } from '../../adapters/bubble/kubernetes-policy';
import { settings } from '../../adapters/bubble/settings';
import type { Bubble } from '../../core/drill';
import { isolationProblem } from '../../core/drill-judgements';
import { isReady } from '../../core/services';
import { PodRunner } from '../../lab/kubernetes/pod-runner';
import type { RunningKubernetes } from '../../lab/kubernetes/server';
import { freeLoopbackHost } from '../../lab/servers/loopback';
import { waitUntil } from '../../lab/servers/process';
import { bubbleContract, SERVICE, startListeners } from '../contract/bubble.contract';
import type { BubbleWork } from '../support/bubble-worker';
import { testContext } from '../support/call-context';
import { expectFailure } from '../support/expect-failure';
import {
  type KubernetesClient,
  kubernetesSuite,
  startTestCluster,
  type TestCluster,
} from '../support/kubernetes-suite';

jest.setTimeout(60_000);

const KUBERNETES = resolve(__dirname, '../../deploy/kubernetes');
const SITE = 'ultramarket-dr';
const DRILLS = 'ultramarket-drill';
const LABELS = { app: 'order' };
const ctx = testContext();

let api: TestCluster;
let client: KubernetesClient;
let folder: string;
let cluster: RunningKubernetes;
let admin: KubeConfig;
let apps: AppsV1Api;
let core: CoreV1Api;
let pods: PodRunner;
let bubble: Bubble;
let listeners: Awaited<ReturnType<typeof startListeners>>;
let address: string;

/** As the site has it: its pods know production, and the copy's address is left to the drill. */
function service(name: string, more: object = {}): V1Deployment {
  const [host, port] = address.split(':') as [string, string];
  const env = Object.entries({ HOST: host, PORT: port, COPY: listeners.production, PRODUCTION: listeners.production });
  const container = {
    ...{ name, image: 'ultramarket/order:2', command: ['node', '-e', SERVICE] },
    env: env.map(([key, value]) => ({ name: key, value })),
    readinessProbe: { httpGet: { host, port: Number(port), path: '/' }, periodSeconds: 1 },
  };
  const spec = { serviceAccountName: 'order', containers: [container], ...more };
  return {
    metadata: { name, namespace: SITE },
    spec: { replicas: 0, selector: { matchLabels: LABELS }, template: { metadata: { labels: LABELS }, spec } },
  };
}

function settingsAt(workerAddress: string): object {
  return {
    ...{ kind: 'kubernetes', services: SITE, image: 'drctl:test', env: { COPY: '{copy:orders-db}' } },
    cluster: { kubeconfig: cluster.operatorKubeconfig, namespace: DRILLS },
    workerAddress,
  };
}

/** What comes back from the other end of a way. */
async function echoed(way: net.NetConnectOpts): Promise<string> {
  const socket = net.connect(way);
  try {
    await once(socket, 'connect');
    socket.write('anybody?');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    return answer.toString();
  } finally {
    socket.destroy();
  }
}

kubernetesSuite('a bubble on a real Kubernetes API server, by the rights of deploy/kubernetes', () => {
  beforeAll(async () => {
    api = await startTestCluster();
    ({ client, folder, cluster, admin, apps, core } = api);
    listeners = await startListeners();
    address = `${await freeLoopbackHost(8101)}:8101`;
    for (const name of [SITE, DRILLS]) await core.createNamespace({ body: { metadata: { name } } });
    await apps.createNamespacedDeployment({ namespace: SITE, body: service('order') });
    await api.apply(join(KUBERNETES, 'rbac-failover.yaml'), SITE);
    await api.apply(join(KUBERNETES, 'rbac-drill-namespace.yaml'), DRILLS);
    const own = mkdtempSync(join(folder, 'pods-'));
    pods = new PodRunner({ client, admin, namespace: DRILLS, folder: own, inward: [address] });
    bubble = createBubble(settings.parse(settingsAt('127.0.0.1')));
    // The authorizer learns of a new role by a watch.
    await waitUntil('the roles taking effect', async () =>
      bubble.remains(ctx).then(
        () => true,
        () => false,
      ),
    );
  }, 30 * 60_000);

  afterAll(async () => {
    await pods?.stop();
    listeners?.stop();
    await api?.stop();
  });

  bubbleContract(() => ({ bubble, service: { name: 'order', address }, ...listeners }));

  const drill = { drillId: '9f9f9f9f', copies: () => ({ 'orders-db': listeners.copy }) };

  test('where no network plugin heeds the policy, production is reached and the isolation is not proven', async () => {
    pods.network.enforces = false;
    await bubble.open({ drillId: drill.drillId, copies: drill.copies() }, ctx);
    const { host, port } = listeners.copy;
    const [copy, production] = await bubble.connect([`${host}:${port}`, listeners.production], ctx);
    expect(production).toEqual({ target: listeners.production, connected: true, how: 'connected' });
    const problem = isolationProblem({ at: '', copies: [copy!], production: [production!] });
    expect(problem).toBe(`production can be reached from the bubble: ${listeners.production}`);
    await bubble.close(ctx);
    expect(await bubble.remains(ctx)).toEqual([]);
    pods.network.enforces = true;
  });

  test('a copy of a Deployment has its pods, the address of the copy, the mark of the drill, and no account', async () => {
    await bubble.open({ drillId: drill.drillId, copies: drill.copies() }, ctx);
    await bubble.scale('order', 1, ctx);
    const { spec } = await apps.readNamespacedDeployment({ name: 'order', namespace: DRILLS });
    const env = spec?.template.spec?.containers[0]?.env ?? [];
    expect(env.filter(({ name }) => name === 'COPY')).toEqual([
      // Not the copy's own port: the way to it, which only pods of the drill may take.
      { name: 'COPY', value: expect.stringMatching(/^127\.0\.0\.1:\d+$/) as string },
    ]);
    expect(env).not.toContainEqual({ name: 'COPY', value: `127.0.0.1:${listeners.copy.port}` });
    expect(spec).toMatchObject({
      replicas: 1,
      selector: { matchLabels: LABELS },
      template: {
        metadata: { labels: { ...LABELS, 'drctl.io/drill': drill.drillId } },
        spec: { automountServiceAccountToken: false, containers: [{ image: 'ultramarket/order:2' }] },
      },
    });
    expect(spec?.template.spec?.serviceAccountName).toBeUndefined();
    const original = await apps.readNamespacedDeployment({ name: 'order', namespace: SITE });
    expect(original.spec?.replicas).toBe(0);
    await bubble.close(ctx);
  });

  test('killed, a worker opens the ways to the copies again where the services know them; elsewhere it says that nobody finds them', async () => {
    const copy = net.createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1');
    await once(copy, 'listening');
    const copies = { 'orders-db': { host: '127.0.0.1', port: (copy.address() as net.AddressInfo).port } };
    const bubbleAt = settingsAt('127.0.0.1');
    const work: BubbleWork = { bubble: bubbleAt, request: { drillId: drill.drillId, copies }, service: 'order' };
    const support = resolve(__dirname, '../support');
    const argv = ['-r', join(support, 'typescript-hook.cjs'), join(support, 'bubble-worker.ts'), JSON.stringify(work)];
    const worker = spawn(process.execPath, argv, { stdio: 'inherit' });
    try {
      await waitUntil('the service being ready', async () => isReady(await bubble.state('order', ctx), 1));
      const networking = admin.makeApiClient(client.NetworkingV1Api);
      const place = { name: POLICY, namespace: DRILLS };
      const way = openedBy(await networking.readNamespacedNetworkPolicy(place)).doors['orders-db']!;
      expect(await echoed(way)).toBe('anybody?');

      worker.kill('SIGKILL');
      await once(worker, 'exit');
      await expect(echoed(way)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
      const elsewhere = createBubble(settings.parse(settingsAt('127.0.0.2')));
      await expectFailure(elsewhere.reopenWays(ctx), 'RoleMismatch', 'look for the copies at 127.0.0.1');
      await bubble.reopenWays(ctx);
      expect(await echoed(way)).toBe('anybody?');
      await bubble.reopenWays(ctx);
      expect(await echoed(way)).toBe('anybody?');
    } finally {
      worker.kill('SIGKILL');
      await bubble.close(ctx);
      copy.close();
    }
    await expectFailure(bubble.reopenWays(ctx), 'RoleMismatch', 'closed');
  });

  test('pods on the network of their node are refused, and what an administrator has there stays', async () => {
    await apps.createNamespacedDeployment({ namespace: SITE, body: service('host', { hostNetwork: true }) });
    const gateway = Object.assign(service('gateway'), { metadata: { name: 'gateway', namespace: DRILLS } });
    await apps.createNamespacedDeployment({ namespace: DRILLS, body: gateway });
    await bubble.open({ drillId: drill.drillId, copies: drill.copies() }, ctx);
    await expectFailure(bubble.scale('host', 1, ctx), 'ConfigInvalid', 'the network of their node');
    await expectFailure(bubble.scale('nobody', 1, ctx), 'NotFound', 'nobody');
    await bubble.close(ctx);
    expect(await bubble.remains(ctx)).toEqual([]);
    await apps.readNamespacedDeployment({ name: 'gateway', namespace: DRILLS });
  });

  test('the rights end at the namespace of drills, and at what is in Secrets', async () => {
    const operator = new client.KubeConfig();
    operator.loadFromFile(cluster.operatorKubeconfig);
    const [mine, my] = [operator.makeApiClient(client.AppsV1Api), operator.makeApiClient(client.CoreV1Api)];
    const networking = operator.makeApiClient(client.NetworkingV1Api);
    const forbidden = [
      () => my.listNamespacedSecret({ namespace: DRILLS }),
      () => my.deleteNamespace({ name: DRILLS }),
      () => mine.createNamespacedDeployment({ namespace: SITE, body: service('stranger') }),
      () => mine.deleteCollectionNamespacedDeployment({ namespace: SITE }),
      () => my.deleteCollectionNamespacedPod({ namespace: SITE }),
      () => networking.deleteNamespacedNetworkPolicy({ name: 'default-deny', namespace: DRILLS }),
    ];
    for (const call of forbidden) await expect(call()).rejects.toMatchObject({ code: 403 });
  });
});
