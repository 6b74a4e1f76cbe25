import { resolve } from 'node:path';
import type { AppsV1Api, CoreV1Api, V1StatefulSet } from '@kubernetes/client-node';
import { createSiteFence } from '../../adapters/fence';
import { settings as fenceSettings } from '../../adapters/fence/settings';
import { type SiteFence, unfencedStores } from '../../core/fencing';
import type { RunningKubernetes } from '../../lab/kubernetes/server';
import { testContext } from '../support/call-context';
import { expectFailure } from '../support/expect-failure';
import {
  type KubernetesClient,
  kubernetesSuite,
  startTestCluster,
  type TestCluster,
} from '../support/kubernetes-suite';
import { waitUntil } from '../support/servers';

const RBAC = resolve(__dirname, '../../deploy/kubernetes/rbac-fence.yaml');
const NAMESPACE = 'ultramarket-databases';
const STORES = ['orders-db', 'catalog', 'sessions'];
const HOLD = 'test/hold-deletion';

let api: TestCluster;
let client: KubernetesClient;
let cluster: RunningKubernetes;
let apps: AppsV1Api;
let core: CoreV1Api;
const ctx = testContext();

/** `orders-db` is one StatefulSet, `catalog` two; `sessions` does not run in Kubernetes. */
function fenceAt(more: { timeoutSeconds?: number; goneWithinSeconds?: number; sets?: string[] } = {}): SiteFence {
  const { sets = ['orders-db'], ...settings } = more;
  const stores = { 'orders-db': sets, catalog: ['catalog-a', 'catalog-b'] };
  const access = { kubeconfig: cluster.operatorKubeconfig, namespace: NAMESPACE };
  const sites = { primary: { cluster: access, stores } };
  return createSiteFence(fenceSettings.parse({ kind: 'kubernetes', sites, ...settings }), STORES);
}

function statefulSet(name: string, replicas: number): V1StatefulSet {
  const labels = { app: name };
  return {
    metadata: { name, namespace: NAMESPACE },
    spec: {
      replicas,
      serviceName: name,
      podManagementPolicy: 'Parallel',
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: { nodeName: 'node-1', containers: [{ name, image: `${name}:1` }] },
      },
    },
  };
}

const SETS: Readonly<Record<string, number>> = { 'orders-db': 2, 'catalog-a': 1, 'catalog-b': 1, bystander: 1 };
const merge = () => client.setHeaderOptions('Content-Type', client.PatchStrategy.MergePatch);

async function pods(): Promise<string[]> {
  const { items } = await core.listNamespacedPod({ namespace: NAMESPACE });
  return items.map(({ metadata }) => metadata?.name ?? '').toSorted();
}

async function replicasOf(name: string): Promise<number | undefined> {
  return (await apps.readNamespacedStatefulSet({ name, namespace: NAMESPACE })).spec?.replicas;
}

/** Everything at its number, with its pods, and no fence. */
async function fresh(): Promise<void> {
  await core.deleteNamespacedConfigMap({ name: 'drctl-fence', namespace: NAMESPACE }).catch(() => undefined); // none yet
  for (const [name, replicas] of Object.entries(SETS)) {
    const body = { spec: { replicas } };
    await apps.patchNamespacedStatefulSetScale({ name, namespace: NAMESPACE, body }, merge());
  }
  await waitUntil('every pod running', async () => {
    const { items } = await core.listNamespacedPod({ namespace: NAMESPACE });
    const alive = items.filter(({ status, metadata }) => status?.phase === 'Running' && !metadata?.deletionTimestamp);
    return alive.length === 5 && items.length === 5;
  });
}

async function labelPod(name: string, value: 'true' | null): Promise<void> {
  const body = { metadata: { labels: { [HOLD]: value } } };
  await core.patchNamespacedPod({ name, namespace: NAMESPACE, body }, merge());
}

kubernetesSuite('the fence of databases in Kubernetes, on a real API server', () => {
  beforeAll(async () => {
    api = await startTestCluster();
    ({ client, cluster, apps, core } = api);
    await core.createNamespace({ body: { metadata: { name: NAMESPACE } } });
    for (const [name, replicas] of Object.entries(SETS)) {
      await apps.createNamespacedStatefulSet({ namespace: NAMESPACE, body: statefulSet(name, replicas) });
    }
    await fresh();
  }, 30 * 60_000);

  afterAll(async () => {
    await api?.stop();
  });

  test('without the role nothing is proven or touched, and the error says which file grants it', async () => {
    const error = await expectFailure(fenceAt().fence('primary', 5, ctx), 'AccessDenied', 'dr-operator');
    expect(error.details).toEqual([
      expect.objectContaining({ next: expect.stringContaining('rbac-fence.yaml') as string }),
    ]);
    expect(await pods()).toHaveLength(5);
  });

  describe('with the role of deploy/kubernetes/rbac-fence.yaml', () => {
    beforeAll(async () => {
      await api.apply(RBAC, NAMESPACE);
      // The authorizer learns of a new role by a watch.
      await waitUntil('the role taking effect', () =>
        fenceAt()
          .unfence('primary', 1, ctx)
          .then(
            () => true,
            () => false,
          ),
      );
    });
    beforeEach(fresh, 60_000);

    test('scales to zero, is proven when no pod is left, holds, and is lifted to what ran before', async () => {
      const fence = fenceAt();
      const evidence = await fence.fence('primary', 5, ctx);
      expect(evidence).toMatchObject({ strength: 'proven', site: 'primary', epoch: 5 });
      expect(evidence.how).toContain('orders-db (2), catalog-a (1), catalog-b (1)');
      expect(unfencedStores(STORES, [evidence])).toEqual(['sessions']);
      expect(await pods()).toEqual(['bystander-0']);

      // Somebody starts a database by hand: the next fence ends it again and still knows what ran before the first one.
      const body = { spec: { replicas: 1 } };
      await apps.patchNamespacedStatefulSetScale({ name: 'orders-db', namespace: NAMESPACE, body }, merge());
      await waitUntil('the pod of a site that comes back', async () => (await pods()).includes('orders-db-0'));
      await expect(fence.fence('primary', 6, ctx)).resolves.toMatchObject({ strength: 'proven', epoch: 6 });
      expect(await pods()).toEqual(['bystander-0']);

      await expectFailure(fence.fence('primary', 5, ctx), 'StaleEpoch', 'epoch 6 holds the fence');
      await expectFailure(fence.unfence('primary', 5, ctx), 'StaleEpoch', 'epoch 6 holds the fence');
      expect(await replicasOf('orders-db')).toBe(0);

      const lifted = await fence.unfence('primary', 7, ctx);
      expect(lifted).toEqual({ started: ['orders-db', 'catalog-a', 'catalog-b'], notes: [] });
      await waitUntil('what ran before running', async () => (await pods()).length === 5);
      await expect(fence.unfence('primary', 7, ctx)).resolves.toEqual({ started: [], notes: [] });
      expect(await replicasOf('orders-db')).toBe(2);
      // The epoch outlives the fence: a step of an older role change that comes late stops nothing.
      await expectFailure(fence.fence('primary', 6, ctx), 'StaleEpoch', 'epoch 7');
      expect(await pods()).toHaveLength(5);
    }, 60_000);

    test('of some stores only, it leaves the others running', async () => {
      const fence = fenceAt();
      const evidence = await fence.fence('primary', 5, ctx, { stores: ['orders-db', 'sessions'], endWithinSeconds: 5 });
      expect(evidence).toMatchObject({ strength: 'proven', stores: ['orders-db'] });
      expect(await pods()).toEqual(['bystander-0', 'catalog-a-0', 'catalog-b-0']);
      await expect(fence.unfence('primary', 5, ctx)).resolves.toEqual({ started: ['orders-db'], notes: [] });
    }, 60_000);

    test('a pod on a node that is cut off is no proof, however long it takes; when it has ended, it is', async () => {
      await labelPod('catalog-a-0', 'true');
      const fence = fenceAt({ goneWithinSeconds: 1 });
      const error = await expectFailure(
        fence.fence('primary', 5, ctx),
        'FencingUnconfirmed',
        'pod catalog-a-0 on node node-1 is being ended',
      );
      expect(error.message).not.toMatch(/orders-db-\d|bystander/);
      expect(JSON.stringify(error.details)).toContain('Never delete the pod by force');
      expect(await replicasOf('catalog-a')).toBe(0);
      await labelPod('catalog-a-0', null);
      const evidence = await fence.fence('primary', 5, ctx);
      expect(evidence.strength).toBe('proven');
      expect(evidence.how).toContain('catalog-a (1)');
      expect(await pods()).toEqual(['bystander-0']);
    }, 60_000);

    test('a name that is wrong is found out before anything is scaled', async () => {
      const fence = fenceAt({ sets: ['orders-db', 'no-such'] });
      await expectFailure(fence.fence('primary', 5, ctx), 'NotFound', 'no-such');
      await expectFailure(fence.fence('atlantis', 5, ctx), 'NotFound', 'atlantis');
      expect(await pods()).toHaveLength(5);
    });

    test('a ConfigMap of another kind under the name of the fence is not overwritten', async () => {
      const body = { metadata: { name: 'drctl-fence' }, data: { colour: 'green' } };
      await core.createNamespacedConfigMap({ namespace: NAMESPACE, body });
      await expectFailure(fenceAt().fence('primary', 5, ctx), 'FencingUnconfirmed', 'is not one of a fence');
      expect(await pods()).toHaveLength(5);
    });

    test('the role grants nothing else: no template, no deletion, no other ConfigMap, no Secret', async () => {
      const operator = new client.KubeConfig();
      operator.loadFromFile(cluster.operatorKubeconfig);
      const mine = { core: operator.makeApiClient(client.CoreV1Api), apps: operator.makeApiClient(client.AppsV1Api) };
      const set = { name: 'orders-db', namespace: NAMESPACE };
      const forbidden = [
        () => mine.apps.patchNamespacedStatefulSet({ ...set, body: { spec: { template: {} } } }, merge()),
        () => mine.apps.deleteNamespacedStatefulSet(set),
        () => mine.core.deleteNamespacedPod({ name: 'orders-db-0', namespace: NAMESPACE }),
        () => mine.core.readNamespacedConfigMap({ name: 'kube-root-ca.crt', namespace: NAMESPACE }),
        () => mine.core.listNamespacedSecret({ namespace: NAMESPACE }),
        () => mine.core.listNamespacedPod({ namespace: 'default' }),
      ];
      for (const call of forbidden) await expect(call()).rejects.toMatchObject({ code: 403 });
    });

    test('an API server that does not answer proves nothing and is worth another try', async () => {
      const impatient = fenceAt({ timeoutSeconds: 1 });
      await cluster.server.kill('SIGSTOP');
      try {
        const error = await expectFailure(impatient.fence('primary', 5, ctx), 'TargetUnreachable', 'within 1 s');
        expect(error.nonRetryable).toBe(false);
      } finally {
        await cluster.server.kill('SIGCONT');
      }
      await waitUntil('the API server answering again', async () => (await pods()).length === 5);
    });
  });
});
