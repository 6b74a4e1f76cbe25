import { type ChildProcess, spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type {
  CoreV1Api,
  KubeConfig,
  NetworkingV1Api,
  V1Container,
  V1NetworkPolicy,
  V1Pod,
  V1PodStatus,
} from '@kubernetes/client-node';
import { projectRoot } from '../../lab/runtime/servers';
import { waitUntil } from '../../lab/servers/process';
import type { KubernetesClient } from './kubernetes-suite';

const LOOK_MILLISECONDS = 100;

interface RunnerOptions {
  readonly client: KubernetesClient;
  readonly admin: KubeConfig;
  readonly namespace: string;
  readonly folder: string;
  /** `host:port` of the pods' own, which are reached from outside as they are. */
  readonly inward: readonly string[];
}

interface Running {
  readonly process: ChildProcess;
  readonly answerFile: string;
  ended: number | null;
}

interface Wall {
  readonly policy: string;
  readonly process: ChildProcess;
  readonly pid: number;
}

/**
 * Stands in for the kubelet and the network plugin of one namespace: its pods are processes, and while a policy is there for
 * all of them they are started in a network namespace of their own, which has a way to the addresses that the policy allows
 * and to nothing else. Pods that have a node are the API server's own stand-in's (lab/kubernetes/main.go).
 */
export class PodRunner {
  /** False: a cluster whose network plugin takes no notice of policies. */
  enforces = true;
  private readonly options: RunnerOptions;
  private readonly core: CoreV1Api;
  private readonly networking: NetworkingV1Api;
  private readonly pods = new Map<string, Running>();
  private readonly stopping = new AbortController();
  private wall: Wall | null = null;
  private readonly running: Promise<void>;

  constructor(options: RunnerOptions) {
    this.options = options;
    this.core = options.admin.makeApiClient(options.client.CoreV1Api);
    this.networking = options.admin.makeApiClient(options.client.NetworkingV1Api);
    this.running = this.run();
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await this.running;
    for (const { process } of this.pods.values()) process.kill('SIGKILL');
    this.wall?.process.kill('SIGKILL');
  }

  private async run(): Promise<void> {
    while (!this.stopping.signal.aborted) {
      await this.look();
      await sleep(LOOK_MILLISECONDS, undefined, { signal: this.stopping.signal }).catch(() => undefined);
    }
  }

  private async look(): Promise<void> {
    const { namespace } = this.options;
    const { items: policies } = await this.networking.listNamespacedNetworkPolicy({ namespace });
    const { items: pods } = await this.core.listNamespacedPod({ namespace });
    const there = new Set(pods.map(({ metadata }) => metadata?.uid));
    for (const [uid, { process }] of this.pods) {
      if (there.has(uid)) continue;
      process.kill('SIGKILL');
      this.pods.delete(uid);
    }
    await this.wallFor(policies[0] ?? null);
    for (const pod of pods) if (!pod.spec?.nodeName) await this.tend(pod);
  }

  private async tend(pod: V1Pod): Promise<void> {
    const uid = pod.metadata?.uid ?? '';
    const container = pod.spec?.containers[0] as V1Container;
    const known = this.pods.get(uid);
    if (!known) {
      this.pods.set(uid, this.start(uid, container));
      await this.report(pod, startedStatus(container));
    } else if (known.ended !== null) await this.report(pod, endedStatus(container, known));
    else if (!isReady(pod) && (await answers(container))) await this.report(pod, readyStatus(container));
  }

  private start(uid: string, { command = [], env = [], terminationMessagePath }: V1Container): Running {
    const answerFile = path.join(this.options.folder, `${uid}.answer`);
    const argv = [...this.enter(), ...command.map((each) => (each === 'node' ? process.execPath : each))];
    const set = env.map(({ name, value = '' }) => [name, value === terminationMessagePath ? answerFile : value]);
    const [program, ...rest] = argv as [string, ...string[]];
    const child = spawn(program, rest, {
      env: Object.fromEntries(set) as NodeJS.ProcessEnv,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const running: Running = { process: child, answerFile, ended: null };
    child.once('exit', (code) => (running.ended = code ?? 137));
    return running;
  }

  private async report({ metadata, status }: V1Pod, next: V1PodStatus): Promise<void> {
    if (status?.phase === next.phase && next.phase !== 'Running') return;
    const place = { name: metadata?.name ?? '', namespace: this.options.namespace };
    // Somebody may have removed or changed it meanwhile: the next look sees.
    await this.core
      .replaceNamespacedPodStatus({ ...place, body: { metadata: metadata!, status: next } })
      .catch(() => undefined);
  }

  private async wallFor(policy: V1NetworkPolicy | null): Promise<void> {
    const uid = this.enforces ? (policy?.metadata?.uid ?? null) : null;
    if (this.wall && this.wall.policy !== uid) {
      this.wall.process.kill('SIGKILL');
      this.wall = null;
    }
    if (this.wall || uid === null || !policy) return;
    const folder = path.join(this.options.folder, uid);
    fs.mkdirSync(folder);
    const door = (kind: string) => (address: string, index: number) => ({
      address,
      socket: path.join(folder, `${kind}-${index}`),
    });
    const doors = { in: this.options.inward.map(door('in')), out: allowedBy(policy).map(door('out')) };
    const pidFile = path.join(folder, 'inside.pid');
    const env = { PATH: process.env['PATH'], BUBBLE_DOORS: JSON.stringify(doors), BUBBLE_PID_FILE: pidFile };
    const outside = path.join(projectRoot(), 'dist/lab/bubble/outside.js');
    const child = spawn(process.execPath, [outside], { env, stdio: ['ignore', 'ignore', 'inherit'] });
    await waitUntil('the network of the pods', async () => fs.existsSync(pidFile));
    this.wall = { policy: uid, process: child, pid: Number(fs.readFileSync(pidFile, 'utf8')) };
  }

  private enter(): string[] {
    if (!this.wall) return [];
    const namespaces = `/proc/${this.wall.pid}/ns`;
    const user = process.getuid?.() === 0 ? [] : ['--preserve-credentials', `--user=${namespaces}/user`];
    return ['nsenter', ...user, `--net=${namespaces}/net`, '--'];
  }
}

/** The addresses that it lets pods reach. */
function allowedBy({ spec }: V1NetworkPolicy): string[] {
  return (spec?.egress ?? []).flatMap(({ to = [], ports = [] }) =>
    to.flatMap(({ ipBlock }) => (ipBlock ? ports.map(({ port }) => `${ipBlock.cidr.split('/')[0]}:${port}`) : [])),
  );
}

/** A service answers at the address that it is told to listen at. */
async function answers({ env = [] }: V1Container): Promise<boolean> {
  const of = (name: string) => env.find((each) => each.name === name)?.value;
  if (!of('HOST')) return false;
  return fetch(`http://${of('HOST')}:${of('PORT')}/`).then(
    (response) => response.ok,
    () => false,
  );
}

const isReady = ({ status }: V1Pod) =>
  status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ?? false;

/** Where its connections come from, to whoever looks: the processes of a pod have no address of their own here. */
const AT = { podIP: '127.0.0.1', podIPs: [{ ip: '127.0.0.1' }] };

function startedStatus({ name, image }: V1Container): V1PodStatus {
  const at = new Date();
  const containerStatuses = [
    { name, image: image ?? '', imageID: '', ready: false, restartCount: 0, state: { running: { startedAt: at } } },
  ];
  return { ...AT, phase: 'Running', startTime: at, containerStatuses };
}

function readyStatus({ name, image }: V1Container): V1PodStatus {
  const at = new Date();
  const conditions = ['Initialized', 'ContainersReady', 'Ready'].map((type) => ({
    type,
    status: 'True',
    lastTransitionTime: at,
  }));
  const containerStatuses = [
    { name, image: image ?? '', imageID: '', ready: true, restartCount: 0, state: { running: { startedAt: at } } },
  ];
  return { ...AT, phase: 'Running', startTime: at, conditions, containerStatuses };
}

function endedStatus({ name, image }: V1Container, { ended, answerFile }: Running): V1PodStatus {
  const message = fs.existsSync(answerFile) ? fs.readFileSync(answerFile, 'utf8') : '';
  const terminated = { exitCode: ended ?? 1, reason: ended === 0 ? 'Completed' : 'Error', message };
  const containerStatuses = [
    { name, image: image ?? '', imageID: '', ready: false, restartCount: 0, state: { terminated } },
  ];
  return { phase: ended === 0 ? 'Succeeded' : 'Failed', containerStatuses };
}
