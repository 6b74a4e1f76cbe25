import type { ActivityDeps, OpenApplication } from '../../activities/deps';
import { createServiceSizeActivities } from '../../activities/service-sizes';
import { createSiteActivities } from '../../activities/site';
import { createServices } from '../../adapters/services';
import { settings as servicesSettings } from '../../adapters/services/settings';
import { Secret } from '../../core/secret';
import { expectFailure } from '../support/expect-failure';
import { inActivity } from '../support/in-activity';
import { waitUntil } from '../support/servers';
import { shop } from '../support/shop-application';
import { startSupervisedSite, type SupervisedSite } from '../support/supervised-site';

/** The old site's services in a failover that is undone, on the real supervisor: `auth` runs, `user` was never started. */
const SITE = 'primary';
const APPLICATION = 'shop';
let lab: SupervisedSite;
let url: string;
let epoch = 1;

const open = () =>
  ({
    application: {
      ...shop,
      stores: [],
      serviceGroups: [{ name: 'all', services: ['auth', 'user', 'absent'].map((name) => ({ name, replicas: 1 })) }],
    },
    epochs: { current: async () => ({ epoch }) },
    services: createServices(
      servicesSettings.parse({ kind: 'process', url, token: new Secret(lab.token), timeoutSeconds: 2 }),
    ),
  }) as unknown as OpenApplication;
const deps = { site: 'dr', hostId: 'h1', open } as ActivityDeps;
const look = () => inActivity(() => createSiteActivities(deps).lookAtWork({ application: APPLICATION, site: SITE }));
const service = { application: APPLICATION, site: SITE, service: 'auth' };
const stop = (of: number) => inActivity(() => createServiceSizeActivities(deps).stopService({ ...service, epoch: of }));
const resize = (replicas: number, of: number) =>
  inActivity(() => createServiceSizeActivities(deps).resizeService({ ...service, replicas, epoch: of }));
const auth = async () => (await lab.supervisor.services.of(SITE)).find(({ name }) => name === 'auth');

beforeAll(async () => {
  lab = await startSupervisedSite(SITE);
  ({ url } = lab);
  await lab.supervisor.services.scale(SITE, 'auth', 2);
  await waitUntil('both replicas', async () => (await auth())?.readyReplicas === 2);
}, 60_000);
afterAll(() => lab?.stop());

test('stopped beside the fence, they stay down with it, and get their size back after it', async () => {
  const before = await look();
  expect(before).toEqual({
    writableStores: [],
    services: [{ service: 'auth', readyReplicas: 2, desiredReplicas: 2 }],
    unseenServices: [], // one that is not there at all does not run
  });
  await lab.supervisor.fence(SITE, 1, null);
  await expectFailure(stop(0), 'StaleEpoch', 'epoch 0');
  await expect(stop(1)).resolves.toMatchObject({ desiredReplicas: 0, readyReplicas: 0 });
  await expect(stop(1)).resolves.toMatchObject({ desiredReplicas: 0 });

  epoch = 2; // the old site's own again: the role change was undone
  await expectFailure(resize(2, 2), 'RoleMismatch', 'fenced by epoch 1');
  lab.supervisor.unfence(SITE, 1, true);
  expect(await auth()).toMatchObject({ desiredReplicas: 0, readyReplicas: 0 });
  await expect(resize(2, 2)).resolves.toMatchObject({ desiredReplicas: 2 });
  const again = { application: APPLICATION, site: SITE, otherSite: 'dr', before, withinSeconds: 30 };
  await expect(inActivity(() => createSiteActivities(deps).awaitAtWork(again))).resolves.toEqual(before);
  expect(await auth()).toMatchObject({ desiredReplicas: 2, readyReplicas: 2 });
}, 60_000);

test('what cannot be asked was not seen, which is no error', async () => {
  url = 'http://127.73.0.1:7070';
  await expect(look()).resolves.toEqual({
    ...{ writableStores: [], services: [] },
    unseenServices: ['auth', 'user', 'absent'],
  });
}, 30_000);
