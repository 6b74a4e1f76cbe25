import type { ActivityDeps } from '../../activities/deps';
import { createTrafficActivities } from '../../activities/traffic';
import type { ServiceState } from '../../core/services';
import { inActivity } from '../support/in-activity';

/** A cluster whose autoscaler wants `autoscaled` as soon as anything runs; what it was asked to scale to. */
function cluster(desired: number, autoscaled: number | null = null) {
  const asked: number[] = [];
  let now = desired;
  const state = async (): Promise<ServiceState> => {
    const found = { site: 'dr', service: 'auth', desiredReplicas: now, readyReplicas: now, settled: true };
    if (autoscaled !== null && now > 0) now = autoscaled;
    return found;
  };
  const services = {
    state,
    async scale(_site: string, _service: string, replicas: number) {
      asked.push(replicas);
      now = replicas;
      return { ...(await state()), readyReplicas: 0 };
    },
  };
  const epochs = { current: async () => ({ epoch: 1 }) };
  const open = { application: { name: 'shop' }, services, epochs };
  const activities = createTrafficActivities({ open: () => open } as unknown as ActivityDeps);
  const start = () =>
    inActivity(() =>
      activities.startService({ application: 'shop', site: 'dr', service: 'auth', replicas: 3, epoch: 1 }),
    );
  return { start, asked };
}

test('what does not run is scaled to what the config says, and waited for', async () => {
  const { start, asked } = cluster(0);
  expect(await start()).toMatchObject({ desiredReplicas: 3, readyReplicas: 3 });
  expect(asked).toEqual([3]);
});

test('an autoscaler that wants more is left alone, in the try that started it and in a later one', async () => {
  const { start, asked } = cluster(0, 7);
  expect(await start()).toMatchObject({ desiredReplicas: 7, readyReplicas: 7 });
  expect(await start()).toMatchObject({ desiredReplicas: 7 });
  expect(asked).toEqual([3]);
});
