import * as http from 'node:http';
import { createServices } from '../../adapters/services';
import { settings as servicesSettings } from '../../adapters/services/settings';
import { Secret } from '../../core/secret';
import { servicesContract } from '../contract/services.contract';
import { testContext } from '../support/call-context';
import { expectFailure } from '../support/expect-failure';
import { startSupervisedSite, type SupervisedSite } from '../support/supervised-site';

const SITE = 'dr';
let lab: SupervisedSite;

const controllerAt = (url: string, token: string, timeoutSeconds = 10) =>
  createServices(servicesSettings.parse({ kind: 'process', url, token: new Secret(token), timeoutSeconds }));

beforeAll(async () => {
  lab = await startSupervisedSite(SITE);
});
afterAll(async () => lab?.stop());

servicesContract(() => ({
  controller: controllerAt(lab.url, lab.token),
  site: SITE,
  service: 'auth',
  other: 'user',
  at: (host, port) => controllerAt(`http://${host}:${port}`, lab.token, 1),
  stranger: controllerAt(lab.url, 'stranger-token'),
  strangerSecret: 'stranger-token',
}));

test('the services of a fenced site are not started, and the error says that it is fenced', async () => {
  const controller = controllerAt(lab.url, lab.token);
  await lab.supervisor.fence(SITE, 7, null);
  try {
    await expectFailure(controller.scale(SITE, 'auth', 2, testContext()), 'RoleMismatch', 'fenced by epoch 7');
    await expect(controller.state(SITE, 'auth', testContext())).resolves.toMatchObject({ desiredReplicas: 0 });
  } finally {
    lab.supervisor.unfence(SITE, 7);
  }
});

test('replicas that are still to stop are not the new state', async () => {
  const services = [{ name: 'auth', desiredReplicas: 0, readyReplicas: 2, generation: 4 }];
  const server = http.createServer((_, response) => response.end(JSON.stringify(services)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  try {
    const state = await controllerAt(`http://127.0.0.1:${port}`, lab.token).state(SITE, 'auth', testContext());
    expect(state).toMatchObject({ desiredReplicas: 0, readyReplicas: 2, settled: false });
  } finally {
    server.closeAllConnections();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }
});

test('something that is no supervisor is named as such', async () => {
  const server = http.createServer((_, response) => response.end('<html>a web server</html>'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  try {
    const call = controllerAt(`http://127.0.0.1:${port}`, lab.token).state(SITE, 'auth', testContext());
    await expectFailure(call, 'TargetUnreachable', 'did not answer as a supervisor does');
  } finally {
    server.closeAllConnections();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }
});
