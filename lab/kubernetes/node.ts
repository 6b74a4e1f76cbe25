import type { V1Pod } from '@kubernetes/client-node';
import { writeUpstreams } from '../supervisor/services';
import { PodRunner } from './pod-runner';

/**
 * The node of a site's cluster, started by `lab up --kubernetes`: runs the shop's pods and tells the gateway which of them
 * are ready. NODE_NAME, NODE_KUBECONFIG, NODE_NAMESPACE, NODE_ADDRESSES (comma-separated), NODE_FOLDER, NODE_UPSTREAMS_FILE.
 */
async function main(): Promise<void> {
  const client = await import('@kubernetes/client-node');
  const admin = new client.KubeConfig();
  admin.loadFromFile(setting('NODE_KUBECONFIG'));
  const upstreams = setting('NODE_UPSTREAMS_FILE');
  const runner = new PodRunner({
    ...{ client, admin, namespace: setting('NODE_NAMESPACE'), folder: setting('NODE_FOLDER') },
    node: { name: setting('NODE_NAME'), addresses: setting('NODE_ADDRESSES').split(',') },
    onLook: (ready) => writeUpstreams(upstreams, addressesOf(ready)),
  });
  const stop = () => void runner.stop().then(() => process.exit(0));
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
}

/** What a Service's EndpointSlices would say. */
function addressesOf(ready: readonly V1Pod[]): Record<string, string[]> {
  const found: Record<string, string[]> = {};
  for (const { metadata, spec, status } of ready) {
    const port = spec?.containers[0]?.ports?.[0]?.containerPort;
    (found[metadata?.labels?.['app'] ?? ''] ??= []).push(`${status?.podIP}:${port}`);
  }
  return found;
}

function setting(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: a node is started by drctl lab up --kubernetes`);
  return value;
}

main().catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
