import { setTimeout as delay } from 'node:timers/promises';
import type { CoreV1Api, KubeConfig, NetworkingV1Api, V1Pod } from '@kubernetes/client-node';
import { PodNetwork } from './pod-network';
import { PodProcess } from './pod-process';
import { changedStatus, isReady } from './pod-status';

type Client = typeof import('@kubernetes/client-node', { with: { 'resolution-mode': 'import' } });

const LOOK_MILLISECONDS = 100;
/** `terminationGracePeriodSeconds` of a pod that says nothing. */
const GRACE_SECONDS = 30;
/** Where its connections come from, to whoever looks: without a node the processes of a pod have no address of their own. */
const NO_ADDRESS = '127.0.0.1';

/** The API server's own stand-in for the kubelet (main.go) leaves pods with these labels to the node. */
export const LEFT_TO_NODE = { 'test/hold-ready': 'true', 'test/hold-deletion': 'true' };

interface RunnerOptions {
  readonly client: Client;
  readonly admin: KubeConfig;
  readonly namespace: string;
  /** Of the pods' logs. */
  readonly folder: string;
  /** `host:port` of the pods' own that are reached from outside where a policy holds, as they are. */
  readonly inward?: readonly string[];
  /** The node whose pods these are, beside those that have none, and the addresses that it may give them. */
  readonly node?: { readonly name: string; readonly addresses: readonly string[] };
  /** Told after each look which pods answer. */
  readonly onLook?: (ready: readonly V1Pod[]) => void;
}

/**
 * Stands in for the kubelet of a node and the network plugin of one namespace: its pods are processes of this machine
 * (`PodProcess`), confined by its policies (`PodNetwork`). Of a pod's containers it knows the first, `command` and `args`,
 * `env` with values and the pod's name and address, and `readinessProbe.httpGet`; volumes are the machine's own files.
 */
export class PodRunner {
  readonly network: PodNetwork;
  private readonly options: RunnerOptions;
  private readonly core: CoreV1Api;
  private readonly networking: NetworkingV1Api;
  private readonly pods = new Map<string, PodProcess>();
  private readonly stopping = new AbortController();
  private readonly running: Promise<void>;
  private trouble = '';

  constructor(options: RunnerOptions) {
    this.options = options;
    this.network = new PodNetwork(options.folder, options.inward ?? []);
    this.core = options.admin.makeApiClient(options.client.CoreV1Api);
    this.networking = options.admin.makeApiClient(options.client.NetworkingV1Api);
    this.running = this.run();
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await this.running;
    await Promise.all([...this.pods.values()].map((pod) => pod.stop(0)));
    this.network.stop();
  }

  private async run(): Promise<void> {
    while (!this.stopping.signal.aborted) {
      // An API server that is away leaves the pods as they are, as it does those of a real node.
      await this.look().then(
        () => (this.trouble = ''),
        (error: unknown) => this.say(error instanceof Error ? error.message : String(error)),
      );
      await delay(LOOK_MILLISECONDS, undefined, { signal: this.stopping.signal }).catch(() => undefined);
    }
  }

  /** Once, and not ten times a second. */
  private say(trouble: string): void {
    if (trouble !== this.trouble) process.stderr.write(`pods of ${this.options.namespace}: ${trouble}\n`);
    this.trouble = trouble;
  }

  private async look(): Promise<void> {
    const { namespace, node } = this.options;
    // Of the server's cache, which is as good as a watch and asks nothing of etcd.
    const recent = { namespace, resourceVersion: '0' };
    const { items: policies } = await this.networking.listNamespacedNetworkPolicy(recent);
    const { items } = await this.core.listNamespacedPod(recent);
    const pods = items.filter(({ spec }) => !spec?.nodeName || spec.nodeName === node?.name);
    const there = new Set(pods.map(({ metadata }) => metadata?.uid));
    for (const [uid, process] of this.pods) {
      if (there.has(uid)) continue;
      void process.stop(0);
      this.pods.delete(uid);
    }
    await this.network.heed(policies[0] ?? null);
    await Promise.all(pods.map((pod) => this.tend(pod)));
    this.options.onLook?.(pods.filter((pod) => isReady(pod) && !pod.metadata?.deletionTimestamp));
  }

  private async tend(pod: V1Pod): Promise<void> {
    const uid = pod.metadata?.uid ?? '';
    if (pod.metadata?.deletionTimestamp) {
      void this.end(pod);
      return;
    }
    // What ended before this node started is not run again.
    if (!this.pods.has(uid) && (pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed')) return;
    const process = this.pods.get(uid) ?? this.adopt(pod);
    process.tend();
    const status = changedStatus(pod, process.state());
    if (!status) return;
    // Somebody may have removed or changed it meanwhile: the next look sees.
    await this.core
      .replaceNamespacedPodStatus({ ...this.placeOf(pod), body: { metadata: pod.metadata!, status } })
      .catch(() => undefined);
  }

  private adopt(pod: V1Pod): PodProcess {
    const { folder, node } = this.options;
    const taken = new Set([...this.pods.values()].map(({ podIP }) => podIP));
    const podIP = node ? node.addresses.find((each) => !taken.has(each)) : NO_ADDRESS;
    if (podIP === undefined) throw new Error(`node ${node?.name} has no address left for ${pod.metadata?.name}`);
    const process = new PodProcess(pod, { podIP, folder, enter: this.network.enter });
    this.pods.set(process.uid, process);
    return process;
  }

  /** The pod is gone for the API when its process is. */
  private async end(pod: V1Pod): Promise<void> {
    const { uid = '', deletionGracePeriodSeconds } = pod.metadata ?? {};
    const process = this.pods.get(uid);
    await process?.stop(deletionGracePeriodSeconds ?? GRACE_SECONDS);
    await this.core
      .deleteNamespacedPod({
        ...this.placeOf(pod),
        body: { gracePeriodSeconds: 0, preconditions: { uid } },
      })
      .catch(() => undefined); // it is gone, or the next look tries again
  }

  private placeOf({ metadata }: V1Pod) {
    return { name: metadata?.name ?? '', namespace: this.options.namespace };
  }
}
