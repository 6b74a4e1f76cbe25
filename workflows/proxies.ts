import { ActivityCancellationType, type ActivityOptions } from '@temporalio/workflow';

import type { Hook } from '../core/hooks';
import { taskQueues } from '../core/names';
import { summarised } from './summarised';

/**
 * The activities as workflows call them: one block per class of timeout, each with its reason. Errors that a retry cannot
 * mend are marked so by `core/errors.ts`; everything else is retried until the class's own limit.
 *
 * Cancellation waits until the activity has really ended (WAIT_CANCELLATION_COMPLETED), because what follows it cleans up
 * after it; only `following` lets go at once. The SDK's default, whatever its documentation says, is to let go.
 */
const waiting = { cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED } as const;

/** A worker that was killed is noticed after this long: three beats are lost (workers/main.ts sends one every three seconds). */
const HEARTBEAT = '15 seconds';

const patient: ActivityOptions['retry'] = {
  initialInterval: '1 second',
  backoffCoefficient: 2,
  maximumInterval: '30 seconds',
};

/** While the shop is down every second counts: try again soon and often. */
const urgent: ActivityOptions['retry'] = {
  initialInterval: '500 milliseconds',
  backoffCoefficient: 1.5,
  maximumInterval: '5 seconds',
};

/**
 * Work on the repository and the config alone, at any site that lives: describing, sweeping, judging.
 * Half an hour covers a repository that is away for a while; then the run fails and says so.
 */
export const anywhere = (application: string) =>
  summarised({
    ...waiting,
    taskQueue: taskQueues.control(application),
    startToCloseTimeout: '20 minutes',
    scheduleToCloseTimeout: '30 minutes',
    heartbeatTimeout: HEARTBEAT,
    retry: patient,
  });

/**
 * From the upload to the manifest: a dump that is finished and stored is not given up because the repository is away for
 * hours, or the log is far behind. A log that stands still ends it (BackupIncomplete, see activities/log-position.ts).
 */
export const finishing = (application: string) =>
  summarised({
    ...waiting,
    taskQueue: taskQueues.control(application),
    startToCloseTimeout: '24 hours',
    scheduleToCloseTimeout: '24 hours',
    heartbeatTimeout: HEARTBEAT,
    retry: { ...patient, nonRetryableErrorTypes: ['BackupIncomplete', 'LockHeld'] },
  });

/**
 * Work that moves data and may take hours. A dump that fails five times needs a person: the workflow then cleans up and
 * fails, and the schedule's next run starts afresh. A host that took no work for a minute (its worker restarts in seconds)
 * is held to be lost, so that the sequence starts again elsewhere.
 */
export const onHost = (hostQueue: string) =>
  summarised({
    ...waiting,
    taskQueue: hostQueue,
    scheduleToStartTimeout: '1 minute',
    startToCloseTimeout: '24 hours',
    heartbeatTimeout: HEARTBEAT,
    retry: { ...patient, maximumAttempts: 5 },
  });

/**
 * Reads of the repository that may take as long as a backup did, at any site: whoever takes one over goes on from the last
 * heartbeat. A day covers a repository that is away for a night.
 */
export const reading = (application: string) =>
  summarised({
    ...waiting,
    taskQueue: taskQueues.control(application),
    startToCloseTimeout: '24 hours',
    scheduleToCloseTimeout: '24 hours',
    heartbeatTimeout: HEARTBEAT,
    retry: patient,
  });

/** Restores go on only where they began: a host that restarts is waited for, for longer than that takes. */
export const restoringOn = (hostQueue: string) =>
  summarised({
    ...waiting,
    taskQueue: hostQueue,
    scheduleToStartTimeout: '15 minutes',
    startToCloseTimeout: '24 hours',
    heartbeatTimeout: HEARTBEAT,
    // What is wrong with the place itself needs a person soon; see `persevering` for what passes.
    retry: { ...patient, maximumAttempts: 5 },
  });

/** Uploads: an S3 that is away for hours must not cost a dump that is finished; each try goes on where the last one was. */
export const uploadingFrom = (hostQueue: string) =>
  summarised({
    ...waiting,
    taskQueue: hostQueue,
    scheduleToStartTimeout: '1 minute',
    startToCloseTimeout: '24 hours',
    scheduleToCloseTimeout: '24 hours',
    heartbeatTimeout: HEARTBEAT,
    // Other bytes under our name do not go away by waiting.
    retry: { ...patient, nonRetryableErrorTypes: ['LockHeld'] },
  });

/**
 * First steps that need a site's credentials and network, at whichever host of it is free. A site whose workers took no
 * work for five minutes is not there; nothing waits longer for it.
 */
export const atSite = (application: string, site: string) =>
  summarised({
    ...waiting,
    taskQueue: taskQueues.site(application, site),
    scheduleToStartTimeout: '5 minutes',
    startToCloseTimeout: '5 minutes',
    scheduleToCloseTimeout: '15 minutes',
    heartbeatTimeout: HEARTBEAT,
    retry: patient,
  });

/**
 * Looks at a site, each activity a few seconds long, that somebody waits for: a site whose workers took none within a minute
 * (one that restarts is back in seconds) could not run a failover either, and that is the answer.
 */
export const lookingFrom = (application: string, site: string) =>
  summarised({
    ...waiting,
    taskQueue: taskQueues.site(application, site),
    scheduleToStartTimeout: '1 minute',
    startToCloseTimeout: '1 minute',
    scheduleToCloseTimeout: '2 minutes',
    heartbeatTimeout: HEARTBEAT,
    retry: { ...patient, maximumAttempts: 3 },
  });

/**
 * Following a log or sampling replication: one round takes about ten minutes and then returns; it is tried for ever,
 * because an archive that gave up is a gap. A move cancels it and lets go at once: its site may never answer again.
 */
export const following = (application: string, site: string) =>
  summarised({
    cancellationType: ActivityCancellationType.TRY_CANCEL,
    taskQueue: taskQueues.site(application, site),
    startToCloseTimeout: '20 minutes',
    heartbeatTimeout: HEARTBEAT,
    retry: { ...urgent, maximumInterval: '10 seconds' },
  });

/** The same for what any site can do: whichever takes the round up goes on with it. */
export const askingAnywhere = (application: string) =>
  summarised({
    cancellationType: ActivityCancellationType.TRY_CANCEL,
    taskQueue: taskQueues.control(application),
    startToCloseTimeout: '20 minutes',
    heartbeatTimeout: HEARTBEAT,
    retry: { ...urgent, maximumInterval: '10 seconds' },
  });

/**
 * Steps of a role change, all at the surviving site. Two minutes of trying each, then a person decides (retry, skip,
 * abort): nobody should wait longer for a step without being asked.
 */
export const roleChange = (application: string, site: string) =>
  summarised({
    ...waiting,
    taskQueue: taskQueues.site(application, site),
    startToCloseTimeout: '90 seconds',
    scheduleToCloseTimeout: '2 minutes',
    heartbeatTimeout: HEARTBEAT,
    retry: urgent,
  });

/**
 * What helps a role change and must not hold it up: two tries at something that may be out of reach. As long as the slowest
 * fence of a store takes, which runs at the same time.
 */
export const roleChangeBriefly = (application: string, site: string) =>
  summarised({
    ...waiting,
    taskQueue: taskQueues.site(application, site),
    startToCloseTimeout: '8 seconds',
    scheduleToCloseTimeout: '10 seconds',
    heartbeatTimeout: HEARTBEAT,
    retry: urgent,
  });

/** Steps whose length is the application's own: services that start, names that spread. The config says how long. */
export const roleChangeWithin = (application: string, site: string, seconds: number) =>
  summarised({
    ...waiting,
    taskQueue: taskQueues.site(application, site),
    startToCloseTimeout: `${seconds} seconds`,
    scheduleToCloseTimeout: `${2 * seconds} seconds`,
    heartbeatTimeout: HEARTBEAT,
    retry: urgent,
  });

/** What the user's own programs and webhooks take is the config's; a site whose workers take no work has none to run them. */
export const calling = (application: string, site: string, { withinSeconds, attempts }: Hook) =>
  summarised({
    ...waiting,
    taskQueue: taskQueues.site(application, site),
    scheduleToStartTimeout: '30 seconds',
    // The activity itself ends what is late; the margin lets it.
    startToCloseTimeout: `${withinSeconds + 10} seconds`,
    heartbeatTimeout: HEARTBEAT,
    retry: { ...urgent, maximumAttempts: attempts },
  });

/**
 * Replaying archived log before a promotion: the activity itself ends when its time is over and says what is missing. A worker
 * that was killed is replaced within that time; the margin lets the last try say so.
 */
export const catchingUp = (application: string, site: string, seconds: number) =>
  summarised({
    ...waiting,
    taskQueue: taskQueues.site(application, site),
    startToCloseTimeout: `${seconds + 15} seconds`,
    scheduleToCloseTimeout: `${seconds + 30} seconds`,
    heartbeatTimeout: HEARTBEAT,
    retry: urgent,
  });

/**
 * Planning what may go, and deleting it: of years of backups and log that takes long, and each try goes on with what is left.
 * Six hours later the next run of the schedule has the same work before it.
 */
export const sweeping = (application: string) =>
  summarised({
    ...waiting,
    taskQueue: taskQueues.control(application),
    startToCloseTimeout: '6 hours',
    scheduleToCloseTimeout: '6 hours',
    heartbeatTimeout: HEARTBEAT,
    retry: patient,
  });

/**
 * Steps of a drill whose length is the application's own (services that start, a name that spreads): three tries, because a
 * rehearsal that has to be tried more often has found what it was held for.
 */
export const drillingOn = (queue: string, seconds: number) =>
  summarised({
    ...waiting,
    taskQueue: queue,
    scheduleToStartTimeout: '1 minute',
    startToCloseTimeout: `${Math.ceil(seconds)} seconds`,
    heartbeatTimeout: HEARTBEAT,
    retry: { ...urgent, maximumAttempts: 3 },
  });

/** A kill, or a question whose first answer counts: a second try would be another test. */
export const onceOn = (queue: string) =>
  summarised({
    ...waiting,
    taskQueue: queue,
    scheduleToStartTimeout: '1 minute',
    startToCloseTimeout: '2 minutes',
    heartbeatTimeout: HEARTBEAT,
    retry: { maximumAttempts: 1 },
  });

/** News for people, from any site that lives: a channel that is down costs three short tries and nothing else. */
export const telling = (application: string) =>
  summarised({
    taskQueue: taskQueues.control(application),
    startToCloseTimeout: '30 seconds',
    scheduleToCloseTimeout: '2 minutes',
    retry: { maximumAttempts: 3, initialInterval: '1 second' },
  });
