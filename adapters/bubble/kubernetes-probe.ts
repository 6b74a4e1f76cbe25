import { randomUUID } from 'node:crypto';
import * as dns from 'node:dns/promises';
import { isIP } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { V1Pod } from '@kubernetes/client-node';
import type { CallContext } from '../../core/call';
import type { ConnectionAttempt } from '../../core/drill';
import { failure } from '../../core/errors';
import type { Cluster } from '../services/kubernetes-cluster';
import { MARK } from './kubernetes-copy';

/** What a container leaves as its last words may have 4096 bytes (kubernetes.io, "Determine the Reason for Pod Failure"). */
const TARGETS_A_POD = 50;
/** Where the kubelet looks for them unless it is told otherwise. */
const ANSWER_FILE = '/dev/termination-log';
const POLL_MILLISECONDS = 250;
/** An image that no node has yet has to be fetched. */
const ENDED_SECONDS = 300;

/**
 * Tries each address at once and then again for five seconds: some network plugins let a new pod through until they have heard
 * of it, and the services' pods would be as new. One success is enough to have been reached. What stays open is told from what
 * is closed at once: so does a way to a copy with whom it does not know. A second and a half of waiting tells them apart on a
 * worker that has much else to do.
 */
export const PROBE = `
const { connect } = require('node:net');
const CLOSED = 'connected, and closed at once';
const until = Date.now() + 5000;
const once = (address) => new Promise((resolve) => {
  const colon = address.lastIndexOf(':');
  const host = address.slice(0, colon).replace(/^\\[(.*)\\]$/, '$1');
  const socket = connect({ host, port: Number(address.slice(colon + 1)), timeout: 2000 });
  const end = (how) => { socket.destroy(); resolve(how); };
  socket.once('connect', () => {
    socket.setTimeout(0);
    socket.once('close', () => end(CLOSED));
    socket.resume();
    setTimeout(() => end('connected'), 1500);
  });
  socket.once('timeout', () => end('no answer within 2 s'));
  socket.once('error', (error) => end(error.code || 'failed'));
});
const attempt = async (address) => {
  for (let closed = false; ; ) {
    const how = await once(address);
    closed ||= how === CLOSED;
    if (how === 'connected') return how;
    if (Date.now() > until) return closed ? CLOSED : how;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
};
Promise.all(JSON.parse(process.env.TARGETS).map(attempt)).then((found) =>
  require('node:fs').writeFileSync(process.env.ANSWER, JSON.stringify(found)));`;

export interface ProbeRequest {
  readonly targets: readonly string[];
  readonly drillId: string;
  /** Has Node in it, as drctl's own image. */
  readonly image: string;
}

/** Tries each target from a pod in the namespace, to which every policy applies that applies to the services'. */
export async function tryFromPod(
  cluster: Cluster,
  request: ProbeRequest,
  ctx: CallContext,
): Promise<ConnectionAttempt[]> {
  const known = await Promise.all(
    request.targets.map(async (target) => ({ target, addresses: await addressesOf(target) })),
  );
  const addresses = [...new Set(known.flatMap((each) => each.addresses))];
  const found = new Map<string, string>();
  for (let first = 0; first < addresses.length; first += TARGETS_A_POD) {
    const part = addresses.slice(first, first + TARGETS_A_POD);
    const answers = await runProbe(cluster, request, part, ctx);
    part.forEach((address, index) => found.set(address, answers[index] ?? 'connected: it was not tried'));
  }
  return known.map(({ target, addresses: of }) => {
    const reached = of.find((address) => found.get(address)?.startsWith('connected'));
    const connected = reached !== undefined;
    return { target, connected, how: found.get(reached ?? of[0] ?? '') ?? 'it was not tried' };
  });
}

/** A name that means nothing in the namespace would fail there for the wrong reason: what it means to the worker is tried. */
async function addressesOf(target: string): Promise<string[]> {
  const colon = target.lastIndexOf(':');
  const host = target.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
  if (isIP(host)) return [target];
  const known = await dns.lookup(host, { all: true }).catch(() => []);
  const port = target.slice(colon);
  return [...known.map(({ address, family }) => `${family === 6 ? `[${address}]` : address}${port}`), target];
}

async function runProbe(
  cluster: Cluster,
  request: ProbeRequest,
  targets: readonly string[],
  ctx: CallContext,
): Promise<string[]> {
  const { namespace } = cluster;
  const name = `drctl-probe-${randomUUID().slice(0, 8)}`;
  const pod = probePod(name, request, targets);
  await cluster.call(`creating pod ${name}`, ctx, (_apps, _options, core, creating) =>
    core.createNamespacedPod({ namespace, body: pod }, creating),
  );
  try {
    return answersOf(name, await ended(cluster, name, ctx), targets.length);
  } finally {
    // Closing the bubble removes it as well, where this cannot.
    await cluster
      .call(`removing pod ${name}`, ctx, (_apps, _options, core, plain) =>
        core.deleteNamespacedPod({ name, namespace }, plain),
      )
      .catch((error: unknown) => ctx.log.warn({ pod: name, error: String(error) }, 'the probe was not removed yet'));
  }
}

async function ended(cluster: Cluster, name: string, ctx: CallContext): Promise<V1Pod> {
  const until = Date.now() + ENDED_SECONDS * 1_000;
  for (;;) {
    const pod = await cluster.call(`reading pod ${name}`, ctx, (_apps, options, core) =>
      core.readNamespacedPod({ name, namespace: cluster.namespace }, options),
    );
    const phase = pod.status?.phase ?? 'Pending';
    if (phase === 'Succeeded' || phase === 'Failed') return pod;
    const waiting = pod.status?.containerStatuses?.[0]?.state?.waiting;
    const why = waiting ? `: ${waiting.reason} ${waiting.message ?? ''}` : '';
    if (Date.now() > until)
      throw failure('IsolationUnproven', `pod ${name} is ${phase} after ${ENDED_SECONDS} s${why}`.trim());
    ctx.progress({ phase: 'trying connections from the bubble', note: `${name} is ${phase}${why}` });
    await sleep(POLL_MILLISECONDS, undefined, { signal: ctx.signal });
  }
}

function answersOf(name: string, { status }: V1Pod, wanted: number): string[] {
  const end = status?.containerStatuses?.[0]?.state?.terminated;
  try {
    const answers = JSON.parse(end?.message ?? '') as unknown;
    if (Array.isArray(answers) && answers.length === wanted) return answers.map(String);
  } catch {
    // Told below: what is no answer proves nothing.
  }
  const why = end ? `${end.reason ?? 'ended'} with ${end.exitCode}: ${end.message ?? ''}` : (status?.message ?? '');
  throw failure('IsolationUnproven', `pod ${name} ended without an answer (${why})`, {
    next: 'Its image has to have Node: name that of drctl in `drill.bubble.image`.',
  });
}

function probePod(name: string, { drillId, image }: ProbeRequest, targets: readonly string[]): V1Pod {
  return {
    metadata: { name, labels: { [MARK]: drillId, 'app.kubernetes.io/name': 'drctl-probe' } },
    spec: {
      restartPolicy: 'Never',
      automountServiceAccountToken: false,
      activeDeadlineSeconds: ENDED_SECONDS,
      terminationGracePeriodSeconds: 1,
      securityContext: { runAsNonRoot: true, runAsUser: 1_000, seccompProfile: { type: 'RuntimeDefault' } },
      containers: [
        {
          name: 'probe',
          image,
          command: ['node', '-e', PROBE],
          env: [
            { name: 'TARGETS', value: JSON.stringify(targets) },
            { name: 'ANSWER', value: ANSWER_FILE },
          ],
          terminationMessagePath: ANSWER_FILE,
          resources: { requests: { cpu: '50m', memory: '64Mi' }, limits: { memory: '256Mi' } },
          securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
        },
      ],
    },
  };
}
