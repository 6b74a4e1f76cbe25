import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AppsV1Api, CoreV1Api, KubeConfig, KubernetesObject } from '@kubernetes/client-node';
import { whyNoApiServer } from '../../lab/kubernetes/build';
import { type RunningKubernetes, startKubernetes } from '../../lab/kubernetes/server';

/** It is ESM alone: a test imports it when it runs. */
export type KubernetesClient = typeof import('@kubernetes/client-node', { with: { 'resolution-mode': 'import' } });

/** False on a person's machine without Go. In CI a missing server fails the build. */
export const hasKubernetes = whyNoApiServer() === null || process.env['CI'] === 'true';

/** `describe`; where there is no API server its tests are listed as skipped. */
export const kubernetesSuite = hasKubernetes ? describe : describe.skip;

/** A real API server for one test file, and its administrator. */
export interface TestCluster {
  readonly client: KubernetesClient;
  /** Removed with the server. */
  readonly folder: string;
  readonly cluster: RunningKubernetes;
  readonly admin: KubeConfig;
  readonly apps: AppsV1Api;
  readonly core: CoreV1Api;
  /** Creates everything of a manifest in that namespace. */
  readonly apply: (file: string, namespace: string) => Promise<void>;
  readonly stop: () => Promise<void>;
}

export async function startTestCluster(): Promise<TestCluster> {
  const client = await import('@kubernetes/client-node');
  const folder = mkdtempSync(join(tmpdir(), 'drctl-kubernetes-'));
  const cluster = await startKubernetes({ folder });
  const admin = new client.KubeConfig();
  admin.loadFromFile(cluster.adminKubeconfig);
  return {
    ...{ client, folder, cluster, admin },
    apps: admin.makeApiClient(client.AppsV1Api),
    core: admin.makeApiClient(client.CoreV1Api),
    async apply(file, namespace) {
      const objects = client.KubernetesObjectApi.makeApiClient(admin);
      for (const each of client.loadAllYaml(readFileSync(file, 'utf8')) as KubernetesObject[]) {
        if (each.metadata) each.metadata.namespace = namespace;
        await objects.create(each);
      }
    },
    async stop() {
      await cluster.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
