import { proxyActivities, type ActivityOptions } from '@temporalio/workflow';
import type { Activities } from '../activities';
import { taskQueues } from '../core/names';

/**
 * The activities as workflows call them: one block per class of timeout, each with its reason. Errors that a retry cannot
 * mend are marked so by `core/errors.ts`; everything else is retried, bounded by the timeouts below.
 */

/** A worker that was killed is noticed after this long; activities beat every four seconds. */
const HEARTBEAT = '15 seconds';

const patient: ActivityOptions['retry'] = {
  initialInterval: '1 second',
  backoffCoefficient: 2,
  maximumInterval: '1 minute',
};

/** While the shop is down every second counts: try again soon and often. */
const urgent: ActivityOptions['retry'] = {
  initialInterval: '500 milliseconds',
  backoffCoefficient: 1.5,
  maximumInterval: '5 seconds',
};

/** Short reads and writes of the repository and the config: any worker, any site. */
export const control = proxyActivities<Activities>({
  taskQueue: taskQueues.workflows,
  startToCloseTimeout: '30 seconds',
  retry: patient,
});

/**
 * Work that moves data and may take hours. A dump that fails five times needs a person: the workflow then cleans up and
 * fails, and the schedule's next run starts afresh. A host that took no work for a minute (its worker restarts in seconds) is held to be lost, so that
 * the sequence starts again elsewhere.
 */
export const onHost = (hostQueue: string) =>
  proxyActivities<Activities>({
    taskQueue: hostQueue,
    scheduleToStartTimeout: '1 minute',
    startToCloseTimeout: '24 hours',
    heartbeatTimeout: HEARTBEAT,
    retry: { ...patient, maximumAttempts: 5 },
  });

/** The same at whichever host of the site is free. */
export const atSite = (application: string, site: string) =>
  proxyActivities<Activities>({
    taskQueue: taskQueues.site(application, site),
    startToCloseTimeout: '5 minutes',
    heartbeatTimeout: HEARTBEAT,
    retry: { ...patient, maximumAttempts: 20 },
  });

/**
 * Following a log or sampling replication: one round takes about ten minutes and then returns; it is tried for ever,
 * because an archive that gave up is a gap.
 */
export const following = (application: string, site: string) =>
  proxyActivities<Activities>({
    taskQueue: taskQueues.site(application, site),
    startToCloseTimeout: '20 minutes',
    heartbeatTimeout: HEARTBEAT,
    retry: { ...urgent, maximumInterval: '10 seconds' },
  });

/**
 * Steps of a role change, at the surviving site. Two minutes of trying each, then a person decides (retry, skip, abort):
 * nobody should wait longer for a step without being asked.
 */
export const roleChange = (application: string, site: string) =>
  proxyActivities<Activities>({
    taskQueue: taskQueues.site(application, site),
    startToCloseTimeout: '90 seconds',
    scheduleToCloseTimeout: '2 minutes',
    heartbeatTimeout: HEARTBEAT,
    retry: urgent,
  });

/** Steps whose length is the application's own: services that start, names that spread. The config says how long. */
export const roleChangeWithin = (application: string, site: string, seconds: number) =>
  proxyActivities<Activities>({
    taskQueue: taskQueues.site(application, site),
    startToCloseTimeout: `${seconds} seconds`,
    scheduleToCloseTimeout: `${2 * seconds} seconds`,
    heartbeatTimeout: HEARTBEAT,
    retry: urgent,
  });

/** News for people: a channel that is down costs three short tries and nothing else. */
export const telling = (application: string, site: string) =>
  proxyActivities<Activities>({
    taskQueue: taskQueues.site(application, site),
    startToCloseTimeout: '30 seconds',
    retry: { maximumAttempts: 3, initialInterval: '1 second' },
  });
