import { setTimeout as sleep } from 'node:timers/promises';
import type { V1Pod } from '@kubernetes/client-node';
import type { CallContext } from '../../core/call';
import type { ComponentKiller } from '../../core/drill';
import { failure, hasCode } from '../../core/errors';
import { type Cluster, connectCluster } from '../services/kubernetes-cluster';
import type { KubernetesServicesSettings } from '../services/settings';

const ROLE_FILE = 'rbac-drill.yaml';
const POLL_MILLISECONDS = 100;
/**
 * The shortest with which the node's kubelet still ends the containers and confirms it. Zero takes a pod out of the API at
 * once, and a StatefulSet may then start its successor beside it (kubernetes.io, "Force Delete StatefulSet Pods").
 */
const GRACE_SECONDS = 1;

/**
 * Deletes pods: those that a target's label selector names, or of a service those of its Deployment. Its controller makes new
 * ones. Needs only what deploy/kubernetes/rbac-drill.yaml grants.
 */
export function createKubernetesKiller(settings: KubernetesServicesSettings): ComponentKiller {
  return {
    kind: 'kubernetes',
    async kill(site, { store, service, pods }, ctx) {
      const access = settings.sites[site];
      if (!access) throw failure('NotFound', `the config names no Kubernetes cluster for site ${site}`);
      const cluster = await connectCluster(site, access, settings.timeoutSeconds, ROLE_FILE);
      const selector = pods ?? (await selectorOf(cluster, service ?? store ?? '', ctx));
      return killPods(cluster, selector, ctx);
    },
  };
}

/** Answers what was killed, once it is gone; throws NotFound where there is no such pod. */
export async function killPods(cluster: Cluster, selector: string, ctx: CallContext): Promise<string[]> {
  const place = { namespace: cluster.namespace, labelSelector: selector };
  const { items } = await cluster.call(`listing pods of ${selector}`, ctx, (_apps, options, core) =>
    core.listNamespacedPod(place, options),
  );
  if (items.length === 0) throw failure('NotFound', `no pod of ${selector} runs in namespace ${cluster.namespace}`);
  return Promise.all(items.map((pod) => end(cluster, pod, ctx)));
}

/** How a Deployment knows its pods. */
export async function selectorOf(cluster: Cluster, name: string, ctx: CallContext): Promise<string> {
  const place = { name, namespace: cluster.namespace };
  const { spec } = await cluster.call(`reading deployment ${name}`, ctx, (apps, options) =>
    apps.readNamespacedDeployment(place, options),
  );
  const labels = Object.entries(spec?.selector.matchLabels ?? {});
  // Without one every pod of the namespace would be meant.
  if (labels.length === 0)
    throw failure('ConfigInvalid', `deployment ${name} does not say by labels which pods are its own`, {
      next: 'Name them with `pods` in the target.',
    });
  return labels.map(([key, value]) => `${key}=${value}`).join(',');
}

/** Resolves when this very pod is gone: one of the same name that comes after it is another. */
async function end(cluster: Cluster, { metadata }: V1Pod, ctx: CallContext): Promise<string> {
  const [name, uid] = [metadata?.name ?? '', metadata?.uid ?? ''];
  const place = { name, namespace: cluster.namespace };
  const body = { gracePeriodSeconds: GRACE_SECONDS, preconditions: { uid } };
  await cluster.call(`deleting pod ${name}`, ctx, (_apps, _options, core, creating) =>
    core.deleteNamespacedPod({ ...place, body }, creating),
  );
  for (;;) {
    const now = await cluster
      .call(`reading pod ${name}`, ctx, (_apps, options, core) => core.readNamespacedPod(place, options))
      .catch((error: unknown) => {
        if (hasCode(error, 'NotFound')) return null;
        throw error;
      });
    if (now?.metadata?.uid !== uid) return `pod ${name} (${uid})`;
    ctx.progress({ phase: `waiting until pod ${name} is gone` });
    await sleep(POLL_MILLISECONDS, undefined, { signal: ctx.signal });
  }
}
