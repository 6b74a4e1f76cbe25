import type { V1Deployment } from '@kubernetes/client-node';
import type { CallContext } from '../../core/call';
import { failure } from '../../core/errors';
import type { ServiceController, ServiceState } from '../../core/services';
import type { Capacity } from '../../core/capacity';
import { capacityOf, demandOf } from './kubernetes-capacity';
import { type Cluster, connectCluster } from './kubernetes-cluster';
import type { KubernetesServicesSettings } from './settings';

/**
 * Services that are Deployments of the same name. Needs only what deploy/kubernetes/rbac-failover.yaml grants. Only the
 * number of replicas is ever written, so the template, an open rollout and a paused one stay as they are.
 */
export function createKubernetesServices(settings: KubernetesServicesSettings): ServiceController {
  const clusters = new Map<string, Promise<Cluster>>();

  function clusterOf(site: string): Promise<Cluster> {
    const access = settings.sites[site];
    if (!access) throw failure('NotFound', `services of site ${site}: the config names no Kubernetes cluster for it`);
    const known = clusters.get(site);
    if (known) return known;
    const cluster = connectCluster(site, access, settings.timeoutSeconds);
    clusters.set(site, cluster);
    // A kubeconfig that could not be read is read again next time: someone may have mended it.
    cluster.catch(() => clusters.delete(site));
    return cluster;
  }

  async function state(site: string, service: string, ctx: CallContext): Promise<ServiceState> {
    const cluster = await clusterOf(site);
    const place = { name: service, namespace: cluster.namespace };
    const deployment = await cluster.call(`reading deployment ${service}`, ctx, (apps, options) =>
      apps.readNamespacedDeployment(place, options),
    );
    return stateOf(site, service, deployment);
  }

  async function scale(site: string, service: string, replicas: number, ctx: CallContext): Promise<ServiceState> {
    const cluster = await clusterOf(site);
    const place = { name: service, namespace: cluster.namespace };
    const current = await cluster.call(`reading the scale of deployment ${service}`, ctx, (apps, options) =>
      apps.readNamespacedDeploymentScale(place, options),
    );
    if ((current.spec?.replicas ?? 0) !== replicas) {
      await cluster.call(`scaling deployment ${service} to ${replicas}`, ctx, (apps, options) =>
        apps.patchNamespacedDeploymentScale({ ...place, body: { spec: { replicas } } }, options),
      );
    }
    return state(site, service, ctx);
  }

  /** The API server goes through the whole request, rights and admission included, and stores nothing. */
  async function rehearse(site: string, service: string, replicas: number, ctx: CallContext): Promise<ServiceState> {
    const cluster = await clusterOf(site);
    const request = { name: service, namespace: cluster.namespace, body: { spec: { replicas } }, dryRun: 'All' };
    await cluster.call(`rehearsing to scale deployment ${service} to ${replicas}`, ctx, (apps, options) =>
      apps.patchNamespacedDeploymentScale(request, options),
    );
    return state(site, service, ctx);
  }

  async function capacity(
    site: string,
    wanted: readonly { readonly name: string; readonly replicas: number }[],
    ctx: CallContext,
  ): Promise<Capacity> {
    const cluster = await clusterOf(site);
    const demands = await Promise.all(
      wanted.map(async ({ name, replicas }) => {
        const place = { name, namespace: cluster.namespace };
        const deployment = await cluster.call(`reading deployment ${name}`, ctx, (apps, options) =>
          apps.readNamespacedDeployment(place, options),
        );
        return demandOf(deployment, replicas);
      }),
    );
    return capacityOf(cluster, demands, ctx);
  }

  return { kind: 'kubernetes', state, scale, rehearse, capacity };
}

/** What a Deployment's counts mean. */
export function stateOf(site: string, service: string, { metadata, spec, status }: V1Deployment): ServiceState {
  // The API leaves counts of zero out of its replies.
  const desiredReplicas = spec?.replicas ?? 0;
  const [replicas, updated] = [status?.replicas ?? 0, status?.updatedReplicas ?? 0];
  const observed = (status?.observedGeneration ?? 0) >= (metadata?.generation ?? 0);
  // Whoever paused a rollout wants the versions that run now to serve; otherwise pods of an old version do not count.
  const rolledOut =
    spec?.paused === true ? replicas === desiredReplicas : updated === desiredReplicas && replicas === updated;
  // Pods that end within their grace are no replicas any more, and may still write. Counted since Kubernetes 1.35 (KEP-3973);
  // an older one says nothing of them, and a hand-over relies on the fences of the stores.
  const ending = desiredReplicas === 0 && (status?.terminatingReplicas ?? 0) > 0;
  return {
    site,
    service,
    desiredReplicas,
    readyReplicas: status?.readyReplicas ?? 0,
    settled: observed && rolledOut && !ending,
  };
}
