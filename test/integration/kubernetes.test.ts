import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import { join, resolve } from 'node:path';
import type { AppsV1Api, KubeConfig, KubernetesObject, V1Deployment, V1StatefulSet } from '@kubernetes/client-node';
import { parseAllDocuments } from 'yaml';
import { createKiller } from '../../adapters/bubble/killer';
import { createServices } from '../../adapters/services';
import { settings as servicesSettings } from '../../adapters/services/settings';
import { isReady, type ServiceController, type ServiceState } from '../../core/services';
import type { RunningKubernetes } from '../../lab/kubernetes/server';
import { servicesContract } from '../contract/services.contract';
import { testContext } from '../support/call-context';
import { expectFailure } from '../support/expect-failure';
import {
  type KubernetesClient,
  kubernetesSuite,
  startTestCluster,
  type TestCluster,
} from '../support/kubernetes-suite';
import { waitUntil } from '../support/servers';

const RBAC = resolve(__dirname, '../../deploy/kubernetes/rbac-failover.yaml');
const CAPACITY_RBAC = resolve(__dirname, '../../deploy/kubernetes/rbac-capacity.yaml');
const NAMESPACE = 'ultramarket-dr';
const SITE = 'dr';

let api: TestCluster;
let client: KubernetesClient;
let folder: string;
let cluster: RunningKubernetes;
let admin: KubeConfig;
let apps: AppsV1Api;
const ctx = testContext();

function controllerFor(
  kubeconfig: string,
  more: { context?: string; timeoutSeconds?: number } = {},
): ServiceController {
  const { timeoutSeconds, ...access } = more;
  const sites = { [SITE]: { kubeconfig, namespace: NAMESPACE, ...access } };
  return createServices(servicesSettings.parse({ kind: 'kubernetes', sites, timeoutSeconds: timeoutSeconds ?? 10 }));
}

/** A copy of the operator's kubeconfig with another server or token. */
function kubeconfigWith(change: (text: string) => string): string {
  const file = join(mkdtempSync(join(folder, 'kubeconfig-')), 'config');
  writeFileSync(file, change(readFileSync(cluster.operatorKubeconfig, 'utf8')), { mode: 0o600 });
  return file;
}

function deployment(name: string, more: { replicas?: number; labels?: Record<string, string> } = {}): V1Deployment {
  const labels = { app: name, ...more.labels };
  return {
    metadata: { name, namespace: NAMESPACE },
    spec: {
      replicas: more.replicas ?? 0,
      selector: { matchLabels: { app: name } },
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } },
      template: {
        metadata: { labels },
        spec: { nodeName: 'node-1', containers: [{ name, image: `ultramarket/${name}:2` }] },
      },
    },
  };
}

kubernetesSuite('services on a real Kubernetes API server', () => {
  beforeAll(async () => {
    api = await startTestCluster();
    ({ client, folder, cluster, admin, apps } = api);
    await api.core.createNamespace({ body: { metadata: { name: NAMESPACE } } });
    for (const name of ['auth-service', 'user-service']) {
      await apps.createNamespacedDeployment({ namespace: NAMESPACE, body: deployment(name) });
    }
  }, 30 * 60_000);

  afterAll(async () => {
    await api?.stop();
  });

  test('without the role every call is refused, and the error says which file grants it', async () => {
    const controller = controllerFor(cluster.operatorKubeconfig);
    for (const call of [
      () => controller.state(SITE, 'auth-service', ctx),
      () => controller.scale(SITE, 'auth-service', 3, ctx),
      () => controller.rehearse(SITE, 'auth-service', 3, ctx),
    ]) {
      const error = await expectFailure(call(), 'AccessDenied', 'dr-operator');
      expect(error.details).toEqual([
        expect.objectContaining({ next: expect.stringContaining('rbac-failover.yaml') as string }),
      ]);
    }
    expect((await apps.readNamespacedDeployment({ name: 'auth-service', namespace: NAMESPACE })).spec?.replicas).toBe(
      0,
    );
  });

  describe('with the role of deploy/kubernetes/rbac-failover.yaml', () => {
    test('room is counted by quotas, and by nodes where the worker may see them', async () => {
      const core = admin.makeApiClient(client.CoreV1Api);
      const services = controllerFor(cluster.operatorKubeconfig);
      const wanted = [{ name: 'roomy', replicas: 3 }];
      const roomy = deployment('roomy');
      const [container] = roomy.spec!.template.spec!.containers;
      container!.resources = { requests: { cpu: '2', memory: '1Gi' } };
      await apps.createNamespacedDeployment({ namespace: NAMESPACE, body: roomy });

      const unseen = await services.capacity!(SITE, wanted, ctx);
      expect(unseen).toMatchObject({
        refused: [],
        homeless: [],
        found: '3 more pods with 6 cores and 3.0 GiB; 0 quotas',
      });
      expect(unseen.unseen.join()).toMatch(/reading the nodes .*forbidden.*rbac-capacity.yaml grants it/i);

      const objects = client.KubernetesObjectApi.makeApiClient(admin);
      const role = client.loadAllYaml(readFileSync(CAPACITY_RBAC, 'utf8')) as KubernetesObject[];
      for (const each of role) await objects.create(each);
      const status = {
        allocatable: { cpu: '4500m', memory: '8Gi', pods: '110' },
        conditions: [{ type: 'Ready', status: 'True' }],
      };
      await core.createNode({ body: { metadata: { name: 'capacity-1' } } });
      // Whoever takes the taint of a new node away is not part of this server.
      const { metadata } = await core.readNode({ name: 'capacity-1' });
      await core.replaceNode({ name: 'capacity-1', body: { metadata: metadata!, spec: { taints: [] } } });
      await core.replaceNodeStatus({ name: 'capacity-1', body: { metadata: { name: 'capacity-1' }, status } });
      const quota = { metadata: { name: 'team' }, spec: { hard: { 'requests.cpu': '5' } } };
      await core.createNamespacedResourceQuota({ namespace: NAMESPACE, body: quota });
      const used = { ...quota, status: { hard: { 'requests.cpu': '5' }, used: { 'requests.cpu': '0' } } };
      await core.replaceNamespacedResourceQuotaStatus({ name: 'team', namespace: NAMESPACE, body: used });
      try {
        await waitUntil('the role', async () => (await services.capacity!(SITE, wanted, ctx)).unseen.length === 0);
        const room = await services.capacity!(SITE, wanted, ctx);
        expect(room.refused).toEqual(['quota team has 5 of requests.cpu left, 6 are wanted']);
        expect(room.homeless).toEqual(['1 pod of roomy, each with 2 cores and 1.0 GiB']);
        expect(room.found).toMatch(/; 1 node with 4.5 cores free; 1 quota$/);
      } finally {
        await core.deleteNamespacedResourceQuota({ name: 'team', namespace: NAMESPACE });
        await core.deleteNode({ name: 'capacity-1' });
        for (const each of role) await objects.delete(each);
      }
      // What follows is about the other role alone.
      await waitUntil('the role gone', async () => (await services.capacity!(SITE, wanted, ctx)).unseen.length > 0);
    });

    let controller: ServiceController;
    beforeAll(async () => {
      await api.apply(RBAC, NAMESPACE);
      controller = controllerFor(cluster.operatorKubeconfig);
      // The authorizer learns of a new role by a watch.
      await waitUntil(
        'the role taking effect',
        async () => (await controller.state(SITE, 'auth-service', ctx)) !== null,
      );
    });

    servicesContract(() => ({
      controller,
      site: SITE,
      service: 'auth-service',
      other: 'user-service',
      at: (host, port) =>
        controllerFor(
          kubeconfigWith((text) => text.replace(cluster.url, `https://${host}:${port}`)),
          { timeoutSeconds: 1 },
        ),
      stranger: controllerFor(kubeconfigWith((text) => text.replace(/("token": )"[^"]+"/, '$1"stranger-token"'))),
      strangerSecret: 'stranger-token',
    }));

    test('and may do nothing else: no secret, no template, no other namespace', async () => {
      const operator = new client.KubeConfig();
      operator.loadFromFile(cluster.operatorKubeconfig);
      const core = operator.makeApiClient(client.CoreV1Api);
      const mine = operator.makeApiClient(client.AppsV1Api);
      const place = { name: 'auth-service', namespace: NAMESPACE };
      const merge = client.setHeaderOptions('Content-Type', client.PatchStrategy.MergePatch);
      const forbidden = [
        () => core.listNamespacedSecret({ namespace: NAMESPACE }),
        () => core.listNamespacedPod({ namespace: NAMESPACE }),
        () => mine.patchNamespacedDeployment({ ...place, body: { spec: { paused: true } } }, merge),
        () => mine.deleteNamespacedDeployment(place),
        () => mine.readNamespacedDeployment({ ...place, namespace: 'default' }),
      ];
      for (const call of forbidden) await expect(call()).rejects.toMatchObject({ code: 403 });
    });

    test('pods that run and are not ready do not count', async () => {
      const name = 'slow-service';
      const labels = { 'test/hold-ready': 'true' };
      await apps.createNamespacedDeployment({ namespace: NAMESPACE, body: deployment(name, { labels }) });
      await controller.scale(SITE, name, 2, ctx);
      await seen(controller, name, (state) => state.settled);
      const state = await controller.state(SITE, name, ctx);
      expect(state).toEqual({ site: SITE, service: name, desiredReplicas: 2, readyReplicas: 0, settled: true });
      expect(isReady(state, 2)).toBe(false);
    });

    test('while a rollout hangs, ready pods of the old version are not the new state', async () => {
      const name = 'rolling-service';
      await apps.createNamespacedDeployment({ namespace: NAMESPACE, body: deployment(name, { replicas: 2 }) });
      await seen(controller, name, (state) => isReady(state, 2));
      await rollOutHeldVersion(name);
      const hanging = await seen(controller, name, (state) => !state.settled);
      expect(hanging).toMatchObject({ desiredReplicas: 2, readyReplicas: 2 });
      await seenRollout(name);
      expect(isReady(await controller.state(SITE, name, ctx), 2)).toBe(false);
    });

    test('scaled to zero it has not settled while a pod is still ending', async () => {
      const name = 'lingering-service';
      const labels = { 'test/hold-deletion': 'true' };
      await apps.createNamespacedDeployment({ namespace: NAMESPACE, body: deployment(name, { replicas: 1, labels }) });
      await seen(controller, name, (state) => isReady(state, 1));
      await controller.scale(SITE, name, 0, ctx);
      const lingering = async () => (await apps.readNamespacedDeployment({ name, namespace: NAMESPACE })).status;
      await waitUntil('a pod that is ending', async () => (await lingering())?.terminatingReplicas === 1);
      expect(await controller.state(SITE, name, ctx)).toMatchObject({ readyReplicas: 0, settled: false });
      const core = admin.makeApiClient(client.CoreV1Api);
      const of = { namespace: NAMESPACE, labelSelector: `app=${name}` };
      await core.deleteCollectionNamespacedPod({ ...of, gracePeriodSeconds: 0 });
      await seen(controller, name, (state) => state.settled && state.readyReplicas === 0);
    });

    test('a paused rollout stays paused, and the version that runs is scaled and counts', async () => {
      const name = 'paused-service';
      await apps.createNamespacedDeployment({ namespace: NAMESPACE, body: deployment(name, { replicas: 1 }) });
      await seen(controller, name, (state) => isReady(state, 1));
      await patch(name, { spec: { paused: true } });
      await rollOutHeldVersion(name);
      await controller.scale(SITE, name, 3, ctx);
      await seen(controller, name, (state) => isReady(state, 3));
      const { spec } = await apps.readNamespacedDeployment({ name, namespace: NAMESPACE });
      expect(spec).toMatchObject({ paused: true, template: { metadata: { labels: { 'test/hold-ready': 'true' } } } });
    });

    test('an API server that hangs or is gone is TargetUnreachable, and it works again afterwards', async () => {
      const impatient = controllerFor(cluster.operatorKubeconfig, { timeoutSeconds: 1 });
      await impatient.state(SITE, 'auth-service', ctx);
      await cluster.server.kill('SIGSTOP');
      try {
        await expectFailure(impatient.state(SITE, 'auth-service', ctx), 'TargetUnreachable', 'within 1 s');
      } finally {
        await cluster.server.kill('SIGCONT');
      }
      await waitUntil(
        'the API server answering again',
        async () => (await impatient.state(SITE, 'auth-service', ctx)) !== null,
      );
    });
  });

  describe('the manifests of the workers', () => {
    const KUBERNETES = resolve(__dirname, '../../deploy/kubernetes');
    // As they are in the file: the client's own reading of them renames fields to those of its classes.
    const documents = (name: string) =>
      parseAllDocuments(readFileSync(join(KUBERNETES, name), 'utf8')).map((each) => each.toJS() as KubernetesObject);

    /** As `kubectl apply --server-side --validate=strict` does it, by default with `--dry-run=server`. */
    async function apply(each: KubernetesObject, dry = true): Promise<{ code: number; message: string }> {
      const { kind, metadata } = each;
      const resource = { NetworkPolicy: 'networkpolicies' }[kind ?? ''] ?? `${kind?.toLowerCase()}s`;
      const group = each.apiVersion === 'v1' ? 'api/v1' : `apis/${each.apiVersion}`;
      const query = `${dry ? 'dryRun=All&' : ''}fieldManager=drctl-test&fieldValidation=Strict`;
      const place = kind?.startsWith('Cluster') ? '' : `namespaces/${NAMESPACE}/`;
      const url = `${cluster.url}/${group}/${place}${resource}/${metadata?.name}?${query}`;
      return call(url, 'PATCH', 'application/apply-patch+yaml', each);
    }

    async function call(url: string, method: string, type: string, body: object) {
      const options: RequestOptions = { method, headers: { 'Content-Type': type } };
      await admin.applyToHTTPSOptions(options);
      const request = httpsRequest(url, options);
      request.end(JSON.stringify(body));
      const [response] = (await once(request, 'response')) as [IncomingMessage];
      const text = Buffer.concat(await response.toArray()).toString('utf8');
      const { message = '' } = JSON.parse(text) as { message?: string };
      return { code: response.statusCode ?? 0, message };
    }

    test.each(readdirSync(KUBERNETES))('%s is accepted as it stands, every field known', async (name) => {
      const all = documents(name);
      expect(all.length).toBeGreaterThan(0);
      for (const each of all) {
        const answer = await apply(each);
        // 200: of the roles, which are there already.
        expect({ kind: each.kind, ...answer, code: [200, 201].includes(answer.code) }).toEqual({
          ...{ kind: each.kind, message: '', code: true },
        });
      }
    });

    test('a misspelt field would be refused', async () => {
      const set = documents('worker.yaml').find(({ kind }) => kind === 'StatefulSet');
      const wrong = JSON.parse(JSON.stringify(set).replace('livenessProbe', 'livenesProbe')) as KubernetesObject;
      const answer = await apply(wrong);
      expect(answer.code).toBeGreaterThanOrEqual(400);
      expect(answer.message).toContain('livenesProbe');
    });

    test('its pods are let into a namespace of the restricted Pod Security Standard', async () => {
      const namespace = 'drctl-restricted';
      const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' };
      const core = admin.makeApiClient(client.CoreV1Api);
      await core.createNamespace({ body: { metadata: { name: namespace, labels } } });
      const [set] = documents('worker.yaml').filter(({ kind }) => kind === 'StatefulSet') as unknown as V1StatefulSet[];
      const spec = set?.spec?.template.spec;
      if (!spec) throw new Error('worker.yaml has no StatefulSet');
      const spool = { name: 'spool', emptyDir: {} };
      const pod = (more: object) => ({
        metadata: { name: 'worker', namespace },
        spec: Object.assign({}, spec, { volumes: [...(spec.volumes ?? []), spool] }, more),
      });
      const create = (body: object) => core.createNamespacedPod({ namespace, body, dryRun: 'All' });
      await expect(create(pod({ securityContext: {} }))).rejects.toThrow(/violates PodSecurity/);
      await expect(create(pod({}))).resolves.toMatchObject({ kind: 'Pod' });
    });

    test('its service account may scale and look, and may read no secret', async () => {
      for (const name of ['rbac-drill.yaml', 'rbac-failover.yaml', 'rbac-fence.yaml', 'rbac-worker.yaml'])
        for (const each of documents(name)) expect((await apply(each, false)).message).toBe('');
      const reviews = admin.makeApiClient(client.AuthorizationV1Api);
      const may = async (verb: string, resource: string, name = '') => {
        const [kind = '', subresource = ''] = resource.split('/');
        const group = ['deployments', 'statefulsets'].includes(kind) ? 'apps' : '';
        const resourceAttributes = { namespace: NAMESPACE, verb, group, resource: kind, subresource, name };
        const user = 'system:serviceaccount:drctl:drctl-worker';
        const { status } = await reviews.createSubjectAccessReview({ body: { spec: { user, resourceAttributes } } });
        return status?.allowed ?? false;
      };
      await waitUntil('the bindings taking effect', () => may('patch', 'statefulsets/scale'));
      await waitUntil('the bindings taking effect', () => may('patch', 'deployments/scale'));
      const rights = [
        await may('list', 'deployments'),
        await may('patch', 'configmaps', 'drctl-fence'),
        await may('patch', 'configmaps', 'drctl-config'),
        await may('patch', 'deployments'),
        await may('get', 'secrets'),
        await may('create', 'pods'),
      ];
      expect(rights).toEqual([true, true, false, false, false, false]);
    });

    test('the pods of a drill target are killed, and no others; a target without pods is named', async () => {
      const core = admin.makeApiClient(client.CoreV1Api);
      const names = ['killed-service', 'spared-service'];
      for (const name of names)
        await apps.createNamespacedDeployment({ namespace: NAMESPACE, body: deployment(name, { replicas: 2 }) });
      const controller = controllerFor(cluster.operatorKubeconfig);
      const ready = () => Promise.all(names.map((name) => seen(controller, name, (state) => isReady(state, 2))));
      const pods = async (name: string) => {
        const { items } = await core.listNamespacedPod({ namespace: NAMESPACE, labelSelector: `app=${name}` });
        return items.map(({ metadata }) => `pod ${metadata?.name} (${metadata?.uid})`).toSorted();
      };
      await ready();
      const [killed, spared] = [await pods('killed-service'), await pods('spared-service')];
      const sites = { [SITE]: { kubeconfig: cluster.operatorKubeconfig, namespace: NAMESPACE } };
      const killer = createKiller(servicesSettings.parse({ kind: 'kubernetes', sites }));
      const target = { store: null, service: 'killed-service', pods: null };
      // The binding of the role takes effect a moment after it was made.
      const found: string[] = [];
      await waitUntil('the right to kill', async () => found.push(...(await killer.kill(SITE, target, ctx))) > 0);
      expect(found.toSorted()).toEqual(killed);
      await ready();
      const again = await pods('killed-service');
      expect(again.filter((pod) => killed.includes(pod))).toEqual([]);
      expect(await pods('spared-service')).toEqual(spared);
      // A store's pods are named by their labels.
      const store = { store: 'orders-db', service: null, pods: 'app=killed-service' };
      expect((await killer.kill(SITE, store, ctx)).toSorted()).toEqual(again);
      await expectFailure(killer.kill(SITE, { ...store, pods: 'app=nobody' }, ctx), 'NotFound', 'no pod of app=nobody');
    });
  });

  test('a kubeconfig that is missing, broken or without the context is ConfigInvalid and names the file', async () => {
    const missing = join(folder, 'no-such-kubeconfig');
    await expectFailure(controllerFor(missing).state(SITE, 'auth-service', ctx), 'ConfigInvalid', missing);
    const broken = kubeconfigWith(() => '{not yaml: [');
    await expectFailure(controllerFor(broken).state(SITE, 'auth-service', ctx), 'ConfigInvalid', broken);
    const other = controllerFor(cluster.operatorKubeconfig, { context: 'elsewhere' });
    await expectFailure(
      other.state(SITE, 'auth-service', ctx),
      'ConfigInvalid',
      'no context "elsewhere" (it has: lab)',
    );
  });

  test('outside a pod the service account cannot be used, and the error says so', async () => {
    const sites = { [SITE]: { inCluster: true, namespace: NAMESPACE } };
    const controller = createServices(servicesSettings.parse({ kind: 'kubernetes', sites }));
    await expectFailure(controller.state(SITE, 'auth-service', ctx), 'ConfigInvalid', 'does not run in a pod');
  });
});

async function patch(name: string, body: object): Promise<void> {
  const merge = client.setHeaderOptions('Content-Type', client.PatchStrategy.MergePatch);
  await apps.patchNamespacedDeployment({ name, namespace: NAMESPACE, body }, merge);
}

/** A new version whose pods never get ready. */
async function rollOutHeldVersion(name: string): Promise<void> {
  await patch(name, { spec: { template: { metadata: { labels: { app: name, 'test/hold-ready': 'true' } } } } });
}

async function seen(
  controller: ServiceController,
  service: string,
  condition: (state: ServiceState) => boolean,
): Promise<ServiceState> {
  let state: ServiceState | undefined;
  await waitUntil(`${service} as wanted`, async () => condition((state = await controller.state(SITE, service, ctx))));
  return state as ServiceState;
}

/** Waits until the deployment controller has made a pod of the new version beside the old ones. */
async function seenRollout(name: string): Promise<void> {
  await waitUntil('a pod of the new version', async () => {
    const { status } = await apps.readNamespacedDeployment({ name, namespace: NAMESPACE });
    return status?.updatedReplicas === 1 && status.replicas === 3;
  });
}
