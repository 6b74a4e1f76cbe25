import { stateOf } from '../../adapters/services/kubernetes';
import { isReady } from '../../core/services';

const deployment = (generation: number, observedGeneration: number | undefined) => ({
  metadata: { generation },
  spec: { replicas: 3, selector: {}, template: {} },
  status: { observedGeneration, replicas: 3, updatedReplicas: 3, readyReplicas: 3 },
});

test('counts of an older generation are not the new state', () => {
  expect(isReady(stateOf('dr', 'auth', deployment(5, 5)), 3)).toBe(true);
  expect(isReady(stateOf('dr', 'auth', deployment(6, 5)), 3)).toBe(false);
  expect(isReady(stateOf('dr', 'auth', deployment(1, undefined)), 3)).toBe(false);
});

test('more than were asked for are enough, also while an autoscaler waits for some of them', () => {
  const scaled = (replicas: number, readyReplicas: number) => ({
    metadata: { generation: 5 },
    spec: { replicas, selector: {}, template: {} },
    status: { observedGeneration: 5, replicas, updatedReplicas: replicas, readyReplicas },
  });
  const isEnough = (replicas: number, ready: number) => isReady(stateOf('dr', 'auth', scaled(replicas, ready)), 3);
  expect([isEnough(5, 5), isEnough(5, 3), isEnough(5, 2), isEnough(2, 2)]).toEqual([true, true, false, false]);
});

test('counts that the API leaves out are zero', () => {
  const empty = {
    metadata: { generation: 1 },
    spec: { replicas: 0, selector: {}, template: {} },
    status: { observedGeneration: 1 },
  };
  expect(stateOf('dr', 'auth', empty)).toMatchObject({ desiredReplicas: 0, readyReplicas: 0, settled: true });
});
