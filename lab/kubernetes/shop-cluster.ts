import * as fs from 'node:fs';
import * as path from 'node:path';
import type { KubeConfig, KubernetesObject, V1Deployment } from '@kubernetes/client-node';
import { projectRoot } from '../runtime/servers';
import { waitUntil } from '../servers/process';
import type { ServiceStatus } from '../supervisor/services';
import { LEFT_TO_NODE } from './pod-runner';

export const SHOP_NAMESPACE = 'ultramarket';

/** What drctl's user may do in the cluster of a site, and no more; as an administrator applies them (docs/deployment.md). */
const ROLES = ['rbac-failover.yaml', 'rbac-capacity.yaml'];
/** A new API server writes its roles and namespaces first. */
const READY_DEADLINE_MS = 90_000;
/** As a small machine has it: readiness counts requests against it. */
const NODE_CAPACITY = { cpu: '8', memory: '16Gi', pods: '110' };
const SERVICE_REQUESTS = { cpu: '100m', memory: '128Mi' };

export interface ShopService {
  readonly name: string;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly port: number;
  /** The Deployment's when it is made; one that is there keeps its own. */
  readonly initialReplicas: number;
}

type Client = typeof import('@kubernetes/client-node', { with: { 'resolution-mode': 'import' } });

/** The cluster of one site of a lab, as its administrator sees it. */
export class ShopCluster {
  private readonly client: Client;
  private readonly admin: KubeConfig;

  private constructor(client: Client, admin: KubeConfig) {
    this.client = client;
    this.admin = admin;
  }

  static async open(kubeconfig: string): Promise<ShopCluster> {
    // Loaded here because it costs a second, and only a lab with Kubernetes should pay; an ES module besides.
    const client = await import('@kubernetes/client-node');
    const admin = new client.KubeConfig();
    admin.loadFromFile(kubeconfig);
    return new ShopCluster(client, admin);
  }

  /** Resolves when the API answers. */
  async ready(): Promise<void> {
    const core = this.admin.makeApiClient(this.client.CoreV1Api);
    await waitUntil('the API server answering', async () => (await core.listNamespace()).items.length > 0, {
      deadlineMs: READY_DEADLINE_MS,
    });
  }

  /** Makes the node, the namespace, drctl's rights in it and the shop's services, where they are not there. */
  async provide(node: string, services: readonly ShopService[]): Promise<void> {
    await this.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: SHOP_NAMESPACE } });
    for (const file of ROLES) {
      const text = fs.readFileSync(path.join(projectRoot(), 'deploy/kubernetes', file), 'utf8');
      for (const each of this.client.loadAllYaml(text) as KubernetesObject[]) {
        if (each.metadata) each.metadata.namespace = SHOP_NAMESPACE;
        await this.create(each);
      }
    }
    await this.makeNode(node);
    for (const service of services) await this.create(deployment(node, service));
  }

  /** The API server takes a new node for one that is not ready; a node controller would correct that. */
  private async makeNode(name: string): Promise<void> {
    await this.create({ apiVersion: 'v1', kind: 'Node', metadata: { name } });
    const core = this.admin.makeApiClient(this.client.CoreV1Api);
    const merge = this.client.setHeaderOptions('Content-Type', this.client.PatchStrategy.MergePatch);
    const conditions = [{ type: 'Ready', status: 'True' }];
    await core.patchNode({ name, body: { spec: { taints: null } } }, merge);
    await core.patchNodeStatus(
      { name, body: { status: { capacity: NODE_CAPACITY, allocatable: NODE_CAPACITY, conditions } } },
      merge,
    );
  }

  /** The services' Deployments as they are now. */
  async services(): Promise<ServiceStatus[]> {
    const apps = this.admin.makeApiClient(this.client.AppsV1Api);
    const { items } = await apps.listNamespacedDeployment({ namespace: SHOP_NAMESPACE });
    return items.map(({ metadata, spec, status }) => ({
      name: metadata?.name ?? '',
      desiredReplicas: spec?.replicas ?? 0,
      readyReplicas: status?.readyReplicas ?? 0,
      generation: metadata?.generation ?? 0,
    }));
  }

  /** What is there stays as it is: a failover has changed it, or a person. */
  private async create(object: KubernetesObject): Promise<void> {
    const objects = this.client.KubernetesObjectApi.makeApiClient(this.admin);
    await objects.create(object).catch((error: unknown) => {
      if ((error as { code?: number }).code !== 409) throw error;
    });
  }
}

/** Its pods listen at their own address, which only their node knows. */
function deployment(node: string, { name, argv, env, port, initialReplicas }: ShopService): V1Deployment {
  const labels = { app: name };
  const set = Object.entries(env).map(([key, value]) => ({ name: key, value }));
  const container = {
    name,
    image: 'ultramarket/service:lab',
    command: [...argv],
    env: [
      ...set,
      { name: 'SHOP_HOST', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
      { name: 'SHOP_PORT', value: `${port}` },
    ],
    ports: [{ containerPort: port }],
    readinessProbe: { httpGet: { path: '/health', port }, periodSeconds: 1, timeoutSeconds: 3 },
    resources: { requests: SERVICE_REQUESTS },
  };
  // Services end what is in flight within 800 ms of SIGTERM.
  const spec = { nodeName: node, terminationGracePeriodSeconds: 2, containers: [container] };
  const template = { metadata: { labels: { ...labels, ...LEFT_TO_NODE } }, spec };
  return {
    ...{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name, namespace: SHOP_NAMESPACE, labels } },
    spec: { replicas: initialReplicas, selector: { matchLabels: labels }, template },
  };
}
