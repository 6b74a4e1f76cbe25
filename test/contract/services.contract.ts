import { randomUUID } from 'node:crypto';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { isReady, type ServiceController, type ServiceState } from '../../core/services';
import { testContext } from '../support/call-context';
import { expectFailure } from '../support/expect-failure';
import { waitUntil } from '../support/servers';

/** What a service controller needs beside it to be tested: real servers, and ways to be refused or not answered. */
export interface ServicesHarness {
  readonly controller: ServiceController;
  readonly site: string;
  /** A service that exists at the site with zero replicas. */
  readonly service: string;
  /** A second one, untouched by the first. */
  readonly other: string;
  /** The same system at an address where something else listens, or nothing. */
  at(host: string, port: number): ServiceController;
  /** The same system with credentials that it does not know. */
  readonly stranger: ServiceController;
  /** The secret that must never be seen in an error. */
  readonly strangerSecret: string;
}

/** Every controller of services keeps these promises of `core/services.ts`, on the real thing. */
export function servicesContract(harness: () => ServicesHarness): void {
  const ctx = testContext();
  const of = async (service = harness().service) => harness().controller.state(harness().site, service, ctx);
  const scale = async (replicas: number) =>
    harness().controller.scale(harness().site, harness().service, replicas, ctx);

  async function becomes(replicas: number): Promise<ServiceState> {
    let state: ServiceState | undefined;
    await waitUntil(
      `${harness().service} having ${replicas} replicas ready`,
      async () =>
        isReady((state = await of()), replicas) &&
        state.desiredReplicas === replicas &&
        state.readyReplicas === replicas,
    ).catch((error: unknown) => {
      throw new Error(`${String(error)}: ${JSON.stringify(state)}`, { cause: error });
    });
    return state as ServiceState;
  }

  beforeEach(async () => {
    await scale(0);
    await becomes(0);
  });

  test('a service at zero is told as such: zero is a number, not nothing', async () => {
    const { site, service } = harness();
    await expect(of()).resolves.toEqual({ site, service, desiredReplicas: 0, readyReplicas: 0, settled: true });
  });

  test('scales from zero and becomes ready, and back to zero until nothing is ready any more', async () => {
    const answered = await scale(3);
    expect(answered.desiredReplicas).toBe(3);
    await expect(becomes(3)).resolves.toMatchObject({ desiredReplicas: 3, readyReplicas: 3, settled: true });
    await expect(of(harness().other)).resolves.toMatchObject({ desiredReplicas: 0, readyReplicas: 0 });
    await expect(scale(1)).resolves.toMatchObject({ desiredReplicas: 1 });
    await becomes(1);
    await scale(0);
    await expect(becomes(0)).resolves.toMatchObject({ desiredReplicas: 0, readyReplicas: 0, settled: true });
  });

  test('scaling again, or twice at the same time, ends where one call would', async () => {
    await Promise.all([scale(2), scale(2)]);
    await becomes(2);
    await expect(scale(2)).resolves.toMatchObject({ desiredReplicas: 2, readyReplicas: 2, settled: true });
  });

  test('a rehearsal answers the state as it is and changes nothing', async () => {
    const { controller, site, service } = harness();
    await expect(controller.rehearse(site, service, 3, ctx)).resolves.toEqual(await of());
    await expect(of()).resolves.toMatchObject({ desiredReplicas: 0 });
  });

  test('an unknown service or site is NotFound and named', async () => {
    const { controller, site, service } = harness();
    for (const call of [
      () => controller.state(site, 'no-such', ctx),
      () => controller.scale(site, 'no-such', 1, ctx),
      () => controller.rehearse(site, 'no-such', 1, ctx),
    ]) {
      await expectFailure(call(), 'NotFound', 'no-such');
    }
    await expectFailure(controller.state('atlantis', service, ctx), 'NotFound', 'atlantis');
  });

  test('nobody listening is TargetUnreachable and worth another try', async () => {
    const closed = await listening();
    await closed.stop();
    const { site, service } = harness();
    const error = await expectFailure(
      harness().at('127.0.0.1', closed.port).state(site, service, ctx),
      'TargetUnreachable',
      `127.0.0.1:${closed.port}`,
    );
    expect(error.nonRetryable).toBe(false);
  });

  test('a peer that takes the connection and never answers does not hold the step for ever', async () => {
    const silent = await listening();
    try {
      const { site, service } = harness();
      const startedAt = performance.now();
      await expectFailure(
        harness().at('127.0.0.1', silent.port).scale(site, service, 1, ctx),
        'TargetUnreachable',
        'within',
      );
      expect(performance.now() - startedAt).toBeLessThan(5_000);
    } finally {
      await silent.stop();
    }
  });

  test('unknown credentials are AccessDenied, not worth another try, and not shown', async () => {
    const { stranger, site, service, strangerSecret } = harness();
    for (const call of [() => stranger.state(site, service, ctx), () => stranger.scale(site, service, 1, ctx)]) {
      const error = await expectFailure(call(), 'AccessDenied', service);
      expect(error.nonRetryable).toBe(true);
      for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
        expect(`${cause.message} ${JSON.stringify(cause)}`).not.toContain(strangerSecret);
      }
    }
    await expect(of()).resolves.toMatchObject({ desiredReplicas: 0 });
  });

  test('a cancelled call ends with the reason of the cancellation and changes nothing', async () => {
    const reason = new Error(`cancelled ${randomUUID()}`);
    const { controller, site, service } = harness();
    const cancelled = testContext(AbortSignal.abort(reason));
    await expect(controller.scale(site, service, 2, cancelled)).rejects.toBe(reason);
    await expect(of()).resolves.toMatchObject({ desiredReplicas: 0 });
  });
}

/** A server that accepts connections and says nothing. */
async function listening(): Promise<{ port: number; stop(): Promise<void> }> {
  const sockets = new Set<{ destroy(): void }>();
  const server = createServer((socket) => void sockets.add(socket.on('error', () => {})));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const stop = async () => {
    sockets.forEach((socket) => socket.destroy());
    await new Promise<void>((resolve) => server.close(() => resolve()));
  };
  return { port, stop };
}
