// oxlint-disable-next-line import/no-unassigned-import -- what it does is what it is for: it may start this process again
import './begin';
import { parseArgs } from 'node:util';
import { Client } from '@temporalio/client';
import { NativeConnection, Worker } from '@temporalio/worker';
import { createActivities } from '../activities';
import { type LoadedConfig, loadConfig } from '../config/load';
import { failure, findFailure } from '../core/errors';
import { taskQueues } from '../core/names';
import { keepAliveFile } from './alive-file';
import { workflowBundle } from './bundle';
import { hostId } from './host-id';
import { startMetrics } from './metrics/start';
import { installRuntime, logger } from './runtime';
import { keepLocalTier } from './local-tier';
import { sweepSpool } from './sweep-spool';
import { openApplication, type WiredApplication } from './wiring';

const USAGE = `usage: node dist/workers/main.js --config FILE [--config FILE …] --site NAME [--alive-file FILE]

Serves every application named, at one site: its workflows, its site's activities and the work on this host's disk.
The alive file is renewed every five seconds while the worker takes work, for whoever watches over it.`;

/** Longer than an activity needs to stop its children and clean up, shorter than what service managers wait (90 s). */
const GRACE = '20 seconds';
/** Two dumps with their uploads, the archivers and the watch fit; more would only share the same disk and network. */
const CONCURRENT_ACTIVITIES = 40;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      config: { type: 'string', multiple: true },
      site: { type: 'string' },
      'alive-file': { type: 'string' },
      help: { type: 'boolean' },
    },
  });
  if (values.help) return void process.stdout.write(`${USAGE}\n`);
  const site = values.site;
  const [first, ...others] = (values.config ?? []).map((file) => loadConfig(file));
  if (!first || site === undefined) throw failure('UsageInvalid', USAGE);
  for (const config of [first, ...others]) {
    if (config.sites[site]) continue;
    throw failure(
      'ConfigInvalid',
      `${config.file} has no site "${site}"; it has ${Object.keys(config.sites).join(', ')}`,
    );
  }
  for (const config of others) {
    if (sameTemporal(config, first)) continue;
    throw failure(
      'ConfigInvalid',
      `${config.file} names another Temporal than ${first.file}: give it a worker of its own`,
    );
  }
  installRuntime();
  await serve([first, ...others], first, site, values['alive-file'] ?? null);
}

async function serve(
  configs: readonly LoadedConfig[],
  first: LoadedConfig,
  site: string,
  aliveFile: string | null,
): Promise<void> {
  const applications = new Map<string, WiredApplication>();
  for (const config of configs) applications.set(config.application, await openApplication(config));
  const host = hostId(first.spool.directory, site);
  const activities = createActivities({
    site,
    hostId: host,
    open(application) {
      const open = applications.get(application);
      if (open) return open;
      throw failure(
        'NotFound',
        `this worker does not serve "${application}"; it serves ${[...applications.keys()].join(', ')}`,
      );
    },
  });
  const { address, namespace, tls, apiKey } = first.temporal;
  const connection = await NativeConnection.connect({
    address,
    ...(apiKey ? { apiKey: apiKey.reveal() } : {}),
    ...(tls
      ? {
          tls: {
            serverNameOverride: tls.serverName,
            serverRootCACertificate: pem(tls.authority),
            ...(tls.certificate && tls.key
              ? {
                  clientCertPair: {
                    crt: pem(tls.certificate) ?? Buffer.alloc(0),
                    key: pem(tls.key) ?? Buffer.alloc(0),
                  },
                }
              : {}),
          },
        }
      : {}),
  });
  for (const [name, { spool }] of applications) await sweepSpool(connection, namespace, name, spool);
  // Core sends at most one heartbeat in 0.8 of its timeout unless told otherwise: then one lost beat would be the last.
  const common = {
    maxHeartbeatThrottleInterval: '3 seconds',
    defaultHeartbeatThrottleInterval: '3 seconds',
    connection,
    namespace,
    shutdownGraceTime: GRACE,
    identity: `${site}/${host}/${process.pid}`,
  };
  const queues = configs.flatMap(({ application }) => [
    taskQueues.control(application),
    taskQueues.site(application, site),
    taskQueues.host(application, site, host),
  ]);
  const workers = [
    await Worker.create({
      ...common,
      taskQueue: taskQueues.workflows,
      workflowBundle: await workflowBundle(),
      // Short histories replay quickly; a small cache keeps the worker's memory for the dumps.
      maxCachedWorkflows: 100,
      // A site that was lost held tasks of workflows it had cached: others get them after this, not after ten seconds.
      stickyQueueScheduleToStartTimeout: '3 seconds',
    }),
  ];
  for (const taskQueue of queues) {
    workers.push(
      await Worker.create({
        ...common,
        activities,
        taskQueue,
        maxConcurrentActivityTaskExecutions: CONCURRENT_ACTIVITIES,
      }),
    );
  }
  const ending = new AbortController();
  keepLocalTier(new Map([...applications].map(([name, { spool }]) => [name, spool.copies])), ending.signal);
  startMetrics(configs, applications, site, new Client({ connection, namespace }), ending.signal);
  let stopping = false;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (stopping) return;
      stopping = true;
      logger.info({ signal }, 'stopping: activities are told, others take over');
      for (const worker of workers) worker.shutdown();
    });
  }
  logger.info({ site, host, queues, applications: [...applications.keys()] }, 'worker is ready');
  const running = workers.map((worker) => worker.run());
  const stopBeating = aliveFile === null ? () => {} : keepAliveFile(aliveFile, workers);
  try {
    await Promise.all(running);
  } finally {
    stopBeating();
    ending.abort();
  }
  await connection.close();
}

/** One worker serves one namespace of one Temporal; a second one takes a process of its own. */
function sameTemporal({ temporal: a }: LoadedConfig, { temporal: b }: LoadedConfig): boolean {
  return a.address === b.address && a.namespace === b.namespace;
}

function pem(secret: { reveal(): string } | undefined): Buffer | undefined {
  return secret ? Buffer.from(secret.reveal()) : undefined;
}

main().then(
  // Drivers may hold sockets of servers that are gone; nothing of ours is left to do.
  () => process.exit(process.exitCode ?? 0),
  (error: unknown) => {
    const known = findFailure(error);
    logger.fatal({ err: error }, known ? `${known.message}. ${known.details.next}` : 'the worker failed');
    process.exit(1);
  },
);
