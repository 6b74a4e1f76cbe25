import { setTimeout as sleep } from 'node:timers/promises';
import type { V1Deployment, V1NetworkPolicy } from '@kubernetes/client-node';
import type { CallContext } from '../../core/call';
import type { Bubble } from '../../core/drill';
import { failure, hasCode } from '../../core/errors';
import type { ServiceState } from '../../core/services';
import { stateOf } from '../services/kubernetes';
import { type Cluster, connectCluster } from '../services/kubernetes-cluster';
import { CopyDoors } from './copy-doors';
import { copiedDeployment, MARK } from './kubernetes-copy';
import { killPods, selectorOf } from './kubernetes-killer';
import { type OpenBubble, openedBy, POLICY, policyFor } from './kubernetes-policy';
import { tryFromPod } from './kubernetes-probe';
import type { KubernetesBubbleSettings } from './settings';

const ROLE_FILE = 'rbac-drill-namespace.yaml';
const POLL_MILLISECONDS = 200;

/**
 * A bubble in a namespace of its own, which an administrator has made for drills and which is empty between them: a network
 * policy lets its pods reach the copies, each other and name servers, and the services are copies of a site's Deployments.
 * The policy is there before anything runs, and goes after everything. Needs what deploy/kubernetes/rbac-drill-namespace.yaml
 * grants, and to read the Deployments of the site (rbac-failover.yaml).
 */
export function createKubernetesBubble(settings: KubernetesBubbleSettings): Bubble {
  const { cluster: access, services: siteNamespace, timeoutSeconds } = settings;
  const { namespace } = access;
  const connect = () => connectCluster('of drills', access, timeoutSeconds, ROLE_FILE);
  const doors = new CopyDoors(async () => podAddresses(await connect(), timeoutSeconds));
  const workerAddress = () =>
    typeof settings.workerAddress === 'string' ? settings.workerAddress : settings.workerAddress.reveal();

  /** With its doors, which a worker that has restarted opens again. */
  async function openOne(cluster: Cluster, ctx: CallContext): Promise<OpenBubble> {
    const open = await bubbleIn(cluster, ctx);
    if (!open) throw failure('RoleMismatch', `the bubble in namespace ${namespace} is closed: nothing starts in it`);
    const address = workerAddress();
    const moved = Object.values(open.doors).find(({ host }) => host !== address);
    if (moved)
      throw failure(
        'RoleMismatch',
        `the worker is at ${address} now, and the services in namespace ${namespace} look for the copies at ${moved.host}`,
        { next: 'Start the drill again: this one ends and removes what it has made.' },
      );
    await doors.open(address, open.copies, open.doors);
    return open;
  }

  async function state(service: string, ctx: CallContext): Promise<ServiceState> {
    const deployment = await deploymentIn(await connect(), service, ctx);
    if (deployment) return stateOf(namespace, service, deployment);
    return { site: namespace, service, desiredReplicas: 0, readyReplicas: 0, settled: true };
  }

  return {
    kind: 'kubernetes',

    async open({ drillId, copies }, ctx) {
      const cluster = await connect();
      const open = await bubbleIn(cluster, ctx);
      if (open?.drillId === drillId && JSON.stringify(open.copies) === JSON.stringify(copies)) return;
      if (open) throw failure('LockHeld', `the bubble in namespace ${namespace} is open for drill ${open.drillId}`);
      const left = await inside(cluster, ctx);
      // It would run on behind a policy that is not its own.
      if (left.length > 0) throw failure('LockHeld', `an earlier drill has left ${left.join(', ')}`);
      const policy = policyFor({ drillId, copies, doors: await doors.open(workerAddress(), copies) }, settings);
      await cluster.call(`creating network policy ${POLICY}`, ctx, (_apps, _options, _core, creating, networking) =>
        networking.createNamespacedNetworkPolicy({ namespace, body: policy }, creating),
      );
    },

    async reopenWays(ctx) {
      await openOne(await connect(), ctx);
    },

    async connect(targets, ctx) {
      const cluster = await connect();
      const open = await openOne(cluster, ctx);
      const request = { drillId: open.drillId, image: settings.image };
      const tried = await tryFromPod(
        cluster,
        { ...request, targets: targets.map((target) => atDoor(open, target)) },
        ctx,
      );
      return tried.map((attempt, index) => {
        // Copies are known by where they are; the way to one that is closed at once leads nowhere.
        const target = targets[index] ?? attempt.target;
        return target === attempt.target
          ? attempt
          : { target, how: attempt.how, connected: attempt.how === 'connected' };
      });
    },

    async scale(service, replicas, ctx) {
      const cluster = await connect();
      const open = await openOne(cluster, ctx);
      const known = await deploymentIn(cluster, service, ctx);
      if (!known) {
        const site = await connectCluster('of drills', { ...access, namespace: siteNamespace }, timeoutSeconds);
        const original = await site.call(`reading deployment ${service}`, ctx, (apps, options) =>
          apps.readNamespacedDeployment({ name: service, namespace: siteNamespace }, options),
        );
        const body = copiedDeployment(original, { ...open, replicas, env: settings.env });
        await cluster.call(`creating deployment ${service}`, ctx, (apps, _options, _core, creating) =>
          apps.createNamespacedDeployment({ namespace, body }, creating),
        );
      } else if (known.spec?.replicas !== replicas) {
        const body = { spec: { replicas } };
        await cluster.call(`scaling deployment ${service} to ${replicas}`, ctx, (apps, options) =>
          apps.patchNamespacedDeploymentScale({ name: service, namespace, body }, options),
        );
      }
      return state(service, ctx);
    },

    state,

    async crash(service, ctx) {
      const cluster = await connect();
      return killPods(cluster, await selectorOf(cluster, service, ctx), ctx);
    },

    async close(ctx) {
      const cluster = await connect();
      await doors.close();
      const all = { namespace, labelSelector: MARK };
      for (;;) {
        // From above: what watches over pods would make new ones. Not left to the cluster's garbage collector, so that it is over
        // when it is seen to be.
        await cluster.call('removing what runs in the bubble', ctx, async (apps, _options, core, plain) => {
          await apps.deleteCollectionNamespacedDeployment(all, plain);
          await apps.deleteCollectionNamespacedReplicaSet(all, plain);
          await core.deleteCollectionNamespacedPod(all, plain);
        });
        const left = await inside(cluster, ctx);
        if (left.length === 0) break;
        ctx.progress({ phase: 'closing the bubble', note: left.join(', '), totalItems: left.length });
        await sleep(POLL_MILLISECONDS, undefined, { signal: ctx.signal });
      }
      await absentOr(
        cluster.call(`removing network policy ${POLICY}`, ctx, (_apps, _options, _core, plain, networking) =>
          networking.deleteNamespacedNetworkPolicy({ name: POLICY, namespace }, plain),
        ),
      );
    },

    async remains(ctx) {
      const cluster = await connect();
      const open = await bubbleIn(cluster, ctx);
      const left = await inside(cluster, ctx);
      return [...(open ? [`bubble in namespace ${namespace}, open for drill ${open.drillId}`] : []), ...left];
    },
  };
}

function atDoor({ copies, doors }: OpenBubble, target: string): string {
  const [store = ''] = Object.entries(copies).find(([, { host, port }]) => `${host}:${port}` === target) ?? [];
  const door = doors[store];
  return door ? `${door.host}:${door.port}` : target;
}

/** Of the pods that drills have started. */
async function podAddresses(cluster: Cluster, timeoutSeconds: number): Promise<string[]> {
  // Nobody's call: a pod knocks when it likes.
  const ctx = { signal: AbortSignal.timeout(timeoutSeconds * 1_000) };
  const { items } = await cluster.call('listing pods of the bubble', ctx, (_apps, options, core) =>
    core.listNamespacedPod({ namespace: cluster.namespace, labelSelector: MARK }, options),
  );
  return items.flatMap(({ status }) =>
    (status?.podIPs ?? []).flatMap(({ ip }) => ip ?? []).concat(status?.podIP ?? []),
  );
}

/** What drills have started there, in words. */
async function inside(cluster: Cluster, ctx: CallContext): Promise<string[]> {
  const { namespace } = cluster;
  const all = { namespace, labelSelector: MARK };
  return cluster.call('looking what runs in the bubble', ctx, async (apps, options, core) => {
    const kinds = [
      ['deployment', await apps.listNamespacedDeployment(all, options)],
      ['replica set', await apps.listNamespacedReplicaSet(all, options)],
      ['pod', await core.listNamespacedPod(all, options)],
    ] as const;
    return kinds.flatMap(([kind, { items }]) =>
      items.map(({ metadata }) => `${kind} ${metadata?.name} in namespace ${namespace}`),
    );
  });
}

/** Null while it is closed. */
async function bubbleIn(cluster: Cluster, ctx: CallContext): Promise<OpenBubble | null> {
  const policy = await absentOr<V1NetworkPolicy>(
    cluster.call(`reading network policy ${POLICY}`, ctx, (_apps, options, _core, _creating, networking) =>
      networking.readNamespacedNetworkPolicy({ name: POLICY, namespace: cluster.namespace }, options),
    ),
  );
  return policy && openedBy(policy);
}

const deploymentIn = (cluster: Cluster, name: string, ctx: CallContext): Promise<V1Deployment | null> =>
  absentOr(
    cluster.call(`reading deployment ${name}`, ctx, (apps, options) =>
      apps.readNamespacedDeployment({ name, namespace: cluster.namespace }, options),
    ),
  );

async function absentOr<T>(asked: Promise<T>): Promise<T | null> {
  return asked.catch((error: unknown) => {
    if (hasCode(error, 'NotFound')) return null;
    throw error;
  });
}
