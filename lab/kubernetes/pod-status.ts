import type { V1ContainerState, V1Pod, V1PodStatus } from '@kubernetes/client-node';

/** What the node knows of a pod, of which its status in the API follows. */
export interface PodState {
  readonly podIP: string;
  readonly startedAt: Date;
  readonly restartCount: number;
  readonly ready: boolean;
  /** The exit code of a pod that is not started again. */
  readonly ended: number | null;
  /** What it left at `terminationMessagePath`. */
  readonly lastWords: string;
}

export function isReady({ status }: V1Pod): boolean {
  return status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ?? false;
}

/** Null where the pod's status says so already. */
export function changedStatus(pod: V1Pod, state: PodState): V1PodStatus | null {
  const { ready, restartCount, ended, podIP, startedAt } = state;
  const phase = ended === null ? 'Running' : ended === 0 ? 'Succeeded' : 'Failed';
  const now = pod.status?.containerStatuses?.[0];
  const same = pod.status?.phase === phase && isReady(pod) === ready && now?.restartCount === restartCount;
  if (same && pod.status?.podIP === podIP) return null;
  const at = new Date();
  const conditions = ['Initialized', 'ContainersReady', 'Ready'].map((type) => ({
    type,
    status: ready || type === 'Initialized' ? 'True' : 'False',
    lastTransitionTime: at,
  }));
  const { name = '', image = '' } = pod.spec?.containers[0] ?? {};
  const container = { name, image, imageID: '', ready, restartCount, state: containerState(state) };
  return { phase, podIP, podIPs: [{ ip: podIP }], startTime: startedAt, conditions, containerStatuses: [container] };
}

function containerState({ ended, startedAt, lastWords }: PodState): V1ContainerState {
  if (ended === null) return { running: { startedAt } };
  return { terminated: { exitCode: ended, reason: ended === 0 ? 'Completed' : 'Error', message: lastWords } };
}
