import type {
  ConfigurationOptions,
  CoreV1Api,
  V1Deployment,
  V1Node,
  V1Pod,
  V1PodSpec,
  V1ResourceQuota,
} from '@kubernetes/client-node';
import type { CallContext } from '../../core/call';
import { type Capacity, type NodeRoom, type PodDemand, quantity, withoutRoom } from '../../core/capacity';
import { countOf, formatBytes } from '../../core/clock';
import { hasCode, reasonOf } from '../../core/errors';
import type { Cluster } from './kubernetes-cluster';

/** Pods of all namespaces come in pages, lest a large cluster's answer be one of hundreds of megabytes. */
const PAGE = 500;

/** What would have to be there for the replicas that are wanted, and does not run yet. */
export function demandOf(deployment: V1Deployment, replicas: number): PodDemand {
  const pods = Math.max(0, replicas - (deployment.spec?.replicas ?? 0));
  const spec = deployment.spec?.template.spec;
  return {
    service: deployment.metadata?.name ?? '',
    pods,
    ...(spec ? requestsOf(spec) : { cpuCores: 0, memoryBytes: 0 }),
  };
}

/** As the scheduler counts a pod: its containers together, or the largest that runs before them, and its overhead. */
export function requestsOf(spec: V1PodSpec): { readonly cpuCores: number; readonly memoryBytes: number } {
  const of = (name: 'cpu' | 'memory') => {
    const amount = (container: { resources?: { requests?: Record<string, string> } }) =>
      quantity(container.resources?.requests?.[name] ?? '0') ?? 0;
    const together = spec.containers.reduce((sum, each) => sum + amount(each), 0);
    const first = Math.max(0, ...(spec.initContainers ?? []).map(amount));
    return Math.max(together, first) + (quantity(spec.overhead?.[name] ?? '0') ?? 0);
  };
  return { cpuCores: of('cpu'), memoryBytes: of('memory') };
}

/** What a pod has taken of its node. */
export interface Taken {
  readonly node: string;
  readonly cpuCores: number;
  readonly memoryBytes: number;
}

/** Of a pod that has ended, or has no node yet, nothing. */
export function takenBy({ spec, status }: V1Pod): Taken[] {
  if (!spec?.nodeName || status?.phase === 'Succeeded' || status?.phase === 'Failed') return [];
  return [{ node: spec.nodeName, ...requestsOf(spec) }];
}

/** Needs `list` on resourcequotas of the namespace, and for the nodes what deploy/kubernetes/rbac-capacity.yaml grants. */
export async function capacityOf(cluster: Cluster, demands: readonly PodDemand[], ctx: CallContext): Promise<Capacity> {
  const { namespace } = cluster;
  const unseen: string[] = [];
  const seen = async <T>(what: string, roleFile: string, ask: Ask<T>): Promise<T | null> => {
    try {
      return await cluster.call(what, ctx, (_apps, options, core) => ask(core, options));
    } catch (error) {
      if (!hasCode(error, 'AccessDenied')) throw error;
      unseen.push(`${reasonOf(error)} (deploy/kubernetes/${roleFile} grants it)`);
      return null;
    }
  };
  const quotas = await seen('reading the quotas', 'rbac-failover.yaml', (core, options) =>
    core.listNamespacedResourceQuota({ namespace }, options),
  );
  const nodes = await seen('reading the nodes', 'rbac-capacity.yaml', (core, options) => core.listNode({}, options));
  const taken = nodes && (await seen('reading the pods of all namespaces', 'rbac-capacity.yaml', takenByAll));
  const refused = (quotas?.items ?? []).flatMap((quota) => overQuota(quota, demands));
  const rooms = nodes && taken ? roomsOf(nodes.items, taken) : null;
  const homeless = rooms
    ? withoutRoom(demands, rooms).map(
        ({ service, pods: count, cpuCores, memoryBytes }) =>
          `${countOf(count, 'pod')} of ${service}, each with ${cpuCores} cores and ${formatBytes(memoryBytes)}`,
      )
    : [];
  return { found: inWords(demands, quotas?.items.length ?? null, rooms), refused, homeless, unseen };
}

type Ask<T> = (core: CoreV1Api, options: ConfigurationOptions) => Promise<T>;

/** Of each pod no more is kept than what it takes. */
async function takenByAll(core: CoreV1Api, options: ConfigurationOptions): Promise<Taken[]> {
  const found: Taken[] = [];
  for (let next: string | undefined; ;) {
    const page = await core.listPodForAllNamespaces({ limit: PAGE, ...(next ? { _continue: next } : {}) }, options);
    found.push(...page.items.flatMap(takenBy));
    // oxlint-disable-next-line no-underscore-dangle -- the client's own name for it
    next = page.metadata?._continue;
    if (!next) return found;
  }
}

/** What is free on nodes that are ready and take pods; those with taints are left to whoever tolerates them. */
export function roomsOf(nodes: readonly V1Node[], taken: readonly Taken[]): NodeRoom[] {
  const byNode = Map.groupBy(taken, ({ node }) => node);
  return nodes.filter(takesPods).map(({ metadata, status }) => {
    const name = metadata?.name ?? '';
    const own = byNode.get(name) ?? [];
    const total = (resource: string) => quantity(status?.allocatable?.[resource] ?? '0') ?? 0;
    return {
      name,
      cpuCores: total('cpu') - own.reduce((sum, each) => sum + each.cpuCores, 0),
      memoryBytes: total('memory') - own.reduce((sum, each) => sum + each.memoryBytes, 0),
      pods: total('pods') - own.length,
    };
  });
}

function takesPods({ spec, status }: V1Node): boolean {
  const ready = status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ?? false;
  const refuses = spec?.taints?.some(({ effect }) => effect !== 'PreferNoSchedule') ?? false;
  return ready && !refuses && spec?.unschedulable !== true;
}

/** Names of a quota's resources that pods of Deployments use up, and what of a pod each counts. */
const COUNTED: Readonly<Record<string, (demand: PodDemand) => number>> = {
  cpu: ({ cpuCores }) => cpuCores,
  'requests.cpu': ({ cpuCores }) => cpuCores,
  memory: ({ memoryBytes }) => memoryBytes,
  'requests.memory': ({ memoryBytes }) => memoryBytes,
  pods: () => 1,
  'count/pods': () => 1,
};

export function overQuota({ metadata, status, spec }: V1ResourceQuota, demands: readonly PodDemand[]): string[] {
  // A quota for some pods only says itself which; whether these are among them only the API server decides.
  if (spec?.scopes?.length || spec?.scopeSelector) return [];
  return Object.entries(status?.hard ?? {}).flatMap(([resource, limit]) => {
    const counts = COUNTED[resource];
    const [hard, used] = [quantity(limit), quantity(status?.used?.[resource] ?? '0')];
    if (!counts || hard === null || used === null) return [];
    const wanted = demands.reduce((sum, demand) => sum + demand.pods * counts(demand), 0);
    if (used + wanted <= hard) return [];
    const say = (amount: number) =>
      resource.includes('memory') ? formatBytes(amount) : String(Math.round(amount * 1e3) / 1e3);
    return [
      `quota ${metadata?.name} has ${say(Math.max(0, hard - used))} of ${resource} left, ${say(wanted)} are wanted`,
    ];
  });
}

function inWords(demands: readonly PodDemand[], quotas: number | null, rooms: readonly NodeRoom[] | null): string {
  const sum = (of: (demand: PodDemand) => number) => demands.reduce((total, each) => total + each.pods * of(each), 0);
  const wanted = `${countOf(
    sum(() => 1),
    'more pod',
  )} with ${Math.round(sum(({ cpuCores }) => cpuCores) * 1e3) / 1e3} cores and ${formatBytes(
    sum(({ memoryBytes }) => memoryBytes),
  )}`;
  const free = rooms
    ? `; ${countOf(rooms.length, 'node')} with ${Math.round(rooms.reduce((total, each) => total + each.cpuCores, 0) * 1e3) / 1e3} cores free`
    : '';
  return `${wanted}${free}${quotas === null ? '' : `; ${countOf(quotas, 'quota')}`}`;
}
