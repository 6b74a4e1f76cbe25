import type { V1Node, V1Pod } from '@kubernetes/client-node';
import { demandOf, overQuota, requestsOf, roomsOf, takenBy } from '../../adapters/services/kubernetes-capacity';
import { type NodeRoom, type PodDemand, quantity, withoutRoom } from '../../core/capacity';
import { judgeCapacity, judgeDisk } from '../../core/readiness-judgements';

const GIB = 2 ** 30;

// A factor below one is no binary fraction, so that a product is seldom the very number.
test.each([
  ['500m', 0.5],
  ['2', 2],
  ['1.5Gi', 1.5 * GIB],
  ['128Mi', 128 * 2 ** 20],
  ['129e6', 129e6],
  ['1k', 1_000],
  ['.5', 0.5],
  ['100u', 1e-4],
])('%s is %p', (text, value) => expect(quantity(text)).toBeCloseTo(value, 9));

test.each(['two', '5 Gi', ''])('"%s" is no amount', (text) => expect(quantity(text)).toBeNull());

const container = (cpu: string, memory: string) => ({ name: 'c', resources: { requests: { cpu, memory } } });

test('a pod counts as its containers together, or as the largest that runs before them, with its overhead', () => {
  const spec = {
    containers: [container('500m', '1Gi'), container('250m', '512Mi'), { name: 'asks for nothing' }],
    initContainers: [container('1', '256Mi'), container('100m', '2Gi')],
    overhead: { memory: '64Mi' },
  };
  expect(requestsOf(spec)).toEqual({ cpuCores: 1, memoryBytes: 2 * GIB + 64 * 2 ** 20 });
});

test('what runs already is not wanted once more', () => {
  const deployment = {
    metadata: { name: 'order' },
    spec: { replicas: 2, selector: {}, template: { spec: { containers: [container('1', '1Gi')] } } },
  };
  expect(demandOf(deployment, 5)).toEqual({ service: 'order', pods: 3, cpuCores: 1, memoryBytes: GIB });
  expect(demandOf(deployment, 1)).toMatchObject({ pods: 0 });
});

const demand = (service: string, pods: number, cpuCores: number, gibibytes: number): PodDemand => ({
  ...{ service, pods, cpuCores, memoryBytes: gibibytes * GIB },
});
const room = (name: string, cpuCores: number, gibibytes: number, pods = 100): NodeRoom => ({
  ...{ name, cpuCores, memoryBytes: gibibytes * GIB, pods },
});

test('pods that find no node are named with how many there are of them', () => {
  const nodes = [room('a', 4, 8), room('b', 2, 4)];
  expect(withoutRoom([demand('small', 4, 0.5, 1), demand('large', 1, 4, 4)], nodes)).toEqual([]);
  // Six cores free, and no node with five.
  expect(withoutRoom([demand('huge', 1, 5, 1)], nodes)).toEqual([demand('huge', 1, 5, 1)]);
  expect(withoutRoom([demand('wide', 10, 1, 1)], nodes)).toEqual([demand('wide', 4, 1, 1)]);
  expect(withoutRoom([demand('many', 3, 0, 0)], [room('c', 1, 1, 2)])).toEqual([demand('many', 1, 0, 0)]);
});

test('nodes that take no pods have no room, and pods that have ended take none', () => {
  const node = (name: string, more: Partial<V1Node['spec']> = {}, ready = 'True'): V1Node => ({
    metadata: { name },
    spec: more ?? {},
    status: { allocatable: { cpu: '4', memory: '8Gi', pods: '110' }, conditions: [{ type: 'Ready', status: ready }] },
  });
  const pod = (phase: string): V1Pod => ({
    spec: { nodeName: 'a', containers: [container('1', '1Gi')] },
    status: { phase },
  });
  const nodes = [
    node('a'),
    node('gone', {}, 'Unknown'),
    node('drained', { unschedulable: true }),
    node('of others', { taints: [{ key: 'gpu', effect: 'NoSchedule' }] }),
    node('rather not', { taints: [{ key: 'spot', effect: 'PreferNoSchedule' }] }),
  ];
  expect(roomsOf(nodes, ['Running', 'Pending', 'Succeeded', 'Failed'].map(pod).flatMap(takenBy))).toEqual([
    { name: 'a', cpuCores: 2, memoryBytes: 6 * GIB, pods: 108 },
    { name: 'rather not', cpuCores: 4, memoryBytes: 8 * GIB, pods: 110 },
  ]);
});

test('a quota that is used up refuses, one for some pods only is left to the API server', () => {
  const quota = {
    metadata: { name: 'team' },
    status: {
      hard: { 'requests.cpu': '4', 'requests.memory': '8Gi', pods: '20', services: '0' },
      used: { 'requests.cpu': '1500m' },
    },
  };
  expect(overQuota(quota, [demand('order', 3, 1, 1)])).toEqual([
    'quota team has 2.5 of requests.cpu left, 3 are wanted',
  ]);
  expect(overQuota(quota, [demand('order', 2, 1, 1)])).toEqual([]);
  expect(overQuota({ ...quota, spec: { scopes: ['BestEffort'] } }, [demand('order', 30, 1, 1)])).toEqual([]);
});

test('what is refused fails on the day, what finds no node may wait, what cannot be seen is not ready', () => {
  const capacity = { found: '3 more pods', refused: [], homeless: [], unseen: [] };
  expect(judgeCapacity(capacity)).toEqual(['ok', '3 more pods', null]);
  expect(judgeCapacity({ ...capacity, refused: ['quota'] })[0]).toBe('failing');
  expect(judgeCapacity({ ...capacity, homeless: ['1 pod'] }).slice(0, 2)).toEqual([
    'warning',
    'no node has room for 1 pod (3 more pods)',
  ]);
  expect(judgeCapacity({ ...capacity, unseen: ['no right'] })[0]).toBe('warning');
  const disk = (free: number) => judgeDisk({ store: 'orders', freeBytes: free * GIB, totalBytes: 100 * GIB });
  expect([20, 10, 1].map((free) => disk(free)[0])).toEqual(['ok', 'warning', 'failing']);
  expect(disk(20)[1]).toBe('20.0 GiB of 100.0 GiB free (20 %)');
});
