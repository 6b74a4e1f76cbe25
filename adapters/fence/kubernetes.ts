import { setTimeout as sleep } from 'node:timers/promises';
import type { V1Scale } from '@kubernetes/client-node';
import type { CallContext } from '../../core/call';
import { failure } from '../../core/errors';
import type { SiteFence } from '../../core/fencing';
import { type Cluster, connectCluster } from '../services/kubernetes-cluster';
import { type FenceMarker, readMarker, writeMarker } from './kubernetes-marker';
import type { KubernetesFenceSettings } from './settings';

const POLL_MILLISECONDS = 250;

/** What no proof means. */
const NOT_KNOWN = 'Whether the site is fenced is not known; nothing was promoted.';

/** One site's databases in its cluster. */
interface Place {
  readonly cluster: Cluster;
  /** Every StatefulSet of the stores. */
  readonly sets: readonly string[];
  readonly stores: readonly string[];
}

/**
 * Fences databases that run in Kubernetes: their StatefulSets are scaled to zero, and no pod is left of them. A pod goes
 * from the API only when its node's kubelet has said that its containers have ended (unless somebody deletes it by force), so
 * one on a node that is cut off keeps the fence unproven, however long it takes. The counts before and the epoch are in a
 * ConfigMap beside them: a site that comes back stays at zero, and an older role change can neither fence nor lift.
 * Needs only what deploy/kubernetes/rbac-fence.yaml grants.
 */
export function createKubernetesFence(settings: KubernetesFenceSettings, stores: readonly string[]): SiteFence {
  async function placeOf(site: string, wanted: readonly string[] = stores): Promise<Place> {
    const found = settings.sites[site];
    if (!found) throw failure('NotFound', `the fence of site ${site}: the config names no Kubernetes cluster for it`);
    const cluster = await connectCluster(site, found.cluster, settings.timeoutSeconds, 'rbac-fence.yaml');
    const covered = Object.keys(found.stores).filter((store) => stores.includes(store) && wanted.includes(store));
    return { cluster, sets: [...new Set(covered.flatMap((store) => found.stores[store] ?? []))], stores: covered };
  }

  return {
    kind: 'kubernetes',

    async check(site, ctx) {
      const { cluster, sets } = await placeOf(site);
      // The API server goes through the whole request, the right to scale included, and stores nothing.
      for (const set of sets) await scaleTo(cluster, set, 0, ctx, { dryRun: 'All' });
      const marker = await readMarker(cluster, settings.marker, ctx);
      return { fencedByEpoch: marker && !marker.lifted ? marker.epoch : null };
    },

    async fence(site, epoch, ctx, scope) {
      const { cluster, sets, stores: covered } = await placeOf(site, scope?.stores);
      const by = `Kubernetes API at ${cluster.server}`;
      if (covered.length === 0) {
        const how = `the config names no StatefulSet at ${site}`;
        return { strength: 'none', site, stores: [], epoch, at: new Date().toISOString(), how, by };
      }
      // Every one is read before any is changed: a name that is wrong is found out while nothing has happened.
      const scales = new Map<string, V1Scale>();
      for (const set of sets) scales.set(set, await readScale(cluster, set, ctx));
      const current = await readMarker(cluster, settings.marker, ctx);
      refuseOlder(current, epoch, `fencing site ${site}`);
      const marker = raised(current, epoch, scales);
      await writeMarker(cluster, settings.marker, marker, current, ctx);
      for (const set of sets) await scaleTo(cluster, set, 0, ctx);
      await seeThemGone(cluster, sets, settings.goneWithinSeconds, ctx);
      const names = sets.map((set) => `${set} (${marker.replicas[set]})`).join(', ');
      const how = `scaled the StatefulSets ${names} to zero and saw no pod left of them; ConfigMap ${settings.marker} keeps the fence`;
      return { strength: 'proven', site, stores: covered, epoch, at: marker.at, how, by };
    },

    async unfence(site, epoch, ctx) {
      const { cluster } = await placeOf(site);
      const current = await readMarker(cluster, settings.marker, ctx);
      refuseOlder(current, epoch, `lifting the fence of site ${site}`);
      if (!current || current.lifted) return { started: [], notes: [] };
      const started = Object.entries(current.replicas).filter(([, replicas]) => replicas > 0);
      for (const [set, replicas] of started) {
        // Somebody who has given it another number since knows better.
        if (desired(await readScale(cluster, set, ctx)) === 0) await scaleTo(cluster, set, replicas, ctx);
      }
      await writeMarker(cluster, settings.marker, { ...current, epoch, lifted: true }, current, ctx);
      return { started: started.map(([set]) => set), notes: [] };
    },
  };
}

function refuseOlder(current: FenceMarker | null, epoch: number, what: string): void {
  if (!current || current.epoch <= epoch) return;
  throw failure('StaleEpoch', `${what} for epoch ${epoch}: epoch ${current.epoch} holds the fence`, {
    context: { epoch },
  });
}

/** A fence that is raised again remembers what ran before the first time, not the zeros that it made itself. */
function raised(current: FenceMarker | null, epoch: number, scales: ReadonlyMap<string, V1Scale>): FenceMarker {
  const holding = current && !current.lifted ? current : null;
  const replicas = Object.fromEntries(
    [...scales].map(([set, scale]) => [set, holding?.replicas[set] ?? desired(scale)]),
  );
  const at = holding?.epoch === epoch ? holding.at : new Date().toISOString();
  return { epoch, at, replicas: { ...holding?.replicas, ...replicas }, lifted: false };
}

/** The API leaves counts of zero out of its replies. */
const desired = (scale: V1Scale) => scale.spec?.replicas ?? 0;

async function readScale(cluster: Cluster, set: string, ctx: CallContext): Promise<V1Scale> {
  const place = { name: set, namespace: cluster.namespace };
  return cluster.call(`reading the scale of StatefulSet ${set}`, ctx, (apps, options) =>
    apps.readNamespacedStatefulSetScale(place, options),
  );
}

async function scaleTo(
  cluster: Cluster,
  set: string,
  replicas: number,
  ctx: CallContext,
  more: { readonly dryRun?: 'All' } = {},
): Promise<void> {
  const place = { name: set, namespace: cluster.namespace };
  await cluster.call(`scaling StatefulSet ${set} to ${replicas}`, ctx, (apps, options) =>
    apps.patchNamespacedStatefulSetScale({ ...place, ...more, body: { spec: { replicas } } }, options),
  );
}

/** Resolves when every set wants no pod and none of any set is left, not even one that is being deleted. */
async function seeThemGone(
  cluster: Cluster,
  sets: readonly string[],
  withinSeconds: number,
  ctx: CallContext,
): Promise<void> {
  const deadline = Date.now() + withinSeconds * 1_000;
  for (;;) {
    const left = (await Promise.all(sets.map((set) => whatIsLeft(cluster, set, ctx)))).flat();
    if (left.length === 0) return;
    if (Date.now() > deadline) {
      throw failure('FencingUnconfirmed', `${withinSeconds} s after scaling to zero: ${left.join('; ')}`, {
        data: NOT_KNOWN,
        next: 'A pod that does not end is on a node that is cut off, or in a long shutdown: stop the node, then retry. Never delete the pod by force: its processes may go on.',
      });
    }
    ctx.progress({ phase: 'waiting for pods to be gone', note: left.join('; ') });
    await sleep(POLL_MILLISECONDS, undefined, { signal: ctx.signal });
  }
}

async function whatIsLeft(cluster: Cluster, set: string, ctx: CallContext): Promise<string[]> {
  const scale = await readScale(cluster, set, ctx);
  if (desired(scale) !== 0) {
    const why = `something has scaled StatefulSet ${set} to ${desired(scale)} again (an operator, an autoscaler, GitOps)`;
    throw failure('FencingUnconfirmed', `${why}: suspend it and retry`, { data: NOT_KNOWN });
  }
  const labelSelector = scale.status?.selector;
  // Without one the API would list every pod of the namespace, and an empty list would prove nothing.
  if (!labelSelector) throw failure('FencingUnconfirmed', `StatefulSet ${set} names no selector`, { data: NOT_KNOWN });
  const pods = await cluster.call(`listing the pods of StatefulSet ${set}`, ctx, (_, options, core) =>
    core.listNamespacedPod({ namespace: cluster.namespace, labelSelector }, options),
  );
  return pods.items.map(({ metadata, spec }) => {
    const ending = metadata?.deletionTimestamp ? 'is being ended' : 'runs';
    return `pod ${metadata?.name} on node ${spec?.nodeName ?? 'none'} ${ending}`;
  });
}
