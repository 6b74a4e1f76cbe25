import { isolationProblem } from '../../core/drill-judgements';
import { failure } from '../../core/errors';
import { drillingOn } from '../proxies';
import { openCopy } from './recovery';
import type { DrillRun, Found } from './run';

/** A server that has to recover first needs longer than one that runs. */
const COPY_SECONDS = 600;
/** Longer than an endpoint is waited for (activities/drill-speed.ts), its last request included. */
const REQUESTING_SECONDS = 120;

/**
 * Stage 4: the services start in the bubble against the copies, group by group, each seen ready; before the first of them
 * the isolation is proven by connections to production that have to fail, and by ones to the copies that must not. Then the
 * application's endpoints are requested under the isolated name.
 */
export async function startApplication(run: DrillRun): Promise<Found> {
  const { app, steps, host, drillId } = run;
  const application = app.name;
  const { bubble, name } = app.drill;
  if (!bubble) return { leftOut: 'the config has no `drill.bubble`', gap: app.serviceGroups.length > 0 };
  run.needs('recovery');
  const copies = run.servers;
  await steps.run('copies:open', 'See that the servers of the copies run', () =>
    allEnded([...run.copies.values()].map((copy) => openCopy(run, copy, COPY_SECONDS))),
  );
  run.made.bubble = true;
  await steps.run(
    'bubble:open',
    'Open the bubble, with a way to the copies alone',
    () => host.openBubble({ application, drillId, copies }),
    () =>
      Object.entries(copies)
        .map(([store, at]) => `${store} at ${at.host}:${at.port}`)
        .join(', '),
  );
  await proveIsolation(run);
  const starting = drillingOn(run.hostQueue, app.failover.servicesReadySeconds);
  for (const group of bubble.groups) {
    await allEnded(
      group.services.map(({ name: service }) =>
        steps.run(
          `service:${service}`,
          `Start ${service} in the bubble`,
          // One of each: what is tried is that they start, not how many there are room for.
          () => starting.startInBubble({ application, service, replicas: 1 }),
          (state) => `${state.readyReplicas} ready`,
        ),
      ),
    );
  }
  if (!name || app.endpoints.length === 0) return `${serviceCount(run)} started in isolation`;
  run.needs('network');
  const requesting = drillingOn(run.hostQueue, REQUESTING_SECONDS);
  run.endpoints = await allEnded(
    app.endpoints.map((check) =>
      steps.run(
        `endpoint:${check.method} ${check.url}`,
        `Request ${check.url} under ${name.name}`,
        () => requesting.requestInDrill({ application, check }),
        (result) => `${result.status} from ${result.address} in ${result.milliseconds} ms`,
      ),
    ),
  );
  return `${serviceCount(run)} started in isolation, ${run.endpoints.length} endpoints answer under ${name.name}`;
}

async function proveIsolation(run: DrillRun): Promise<void> {
  const { app, steps, host } = run;
  await steps.run(
    'bubble:isolation',
    'Prove the isolation: connections to production have to fail',
    async () => {
      const evidence = await host.tryConnections({ application: app.name, copies: Object.values(run.servers) });
      run.isolation = evidence;
      const problem = isolationProblem(evidence);
      if (problem !== null) throw failure('IsolationUnproven', problem);
      return evidence;
    },
    ({ copies, production }) =>
      `${production.length} addresses of production cannot be reached, ${copies.length} copies can`,
  );
}

/** Also where one fails or the drill is stopped: nothing of it may still be at work when it is taken away. */
async function allEnded<T>(work: readonly Promise<T>[]): Promise<T[]> {
  const ends = await Promise.allSettled(work);
  const failed = ends.find((end) => end.status === 'rejected');
  if (failed) throw failed.reason;
  return ends.flatMap((end) => (end.status === 'fulfilled' ? [end.value] : []));
}

const serviceCount = ({ app }: DrillRun) =>
  `${(app.drill.bubble?.groups ?? []).reduce((sum, { services }) => sum + services.length, 0)} services`;
