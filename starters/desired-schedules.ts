import type { ScheduleDescription, ScheduleOptions, ScheduleUpdateOptions } from '@temporalio/client';
import { periodOf } from '../config/checklists';
import { copiesOfAll } from '../config/copies';
import type { Config } from '../config/schema';
import type { ScheduleConfig, SchedulePurpose } from '../config/schedules';
import type { ChecklistInput } from '../core/checklist-runs';
import type { DrillInput } from '../core/drill-runs';
import type { CopyStoresInput } from '../core/copy-runs';
import { taskQueues, workflowIds } from '../core/names';
import type { ReportReadinessInput } from '../core/readiness-report/runs';
import type { ApplyRetentionInput } from '../core/retention/runs';
import type { CheckHealthInput, CheckReadinessInput, LaunchBackupsInput, workflowTypes } from '../core/runs';
import type { ProofKind } from '../core/proofs';
import type { VerifyStoresInput } from '../core/verify-runs';

/** Put into each schedule's memo when it is created: only what carries it is ever changed or removed. */
export const OWNER_MEMO = 'drctlApplication';

/** A schedule in the words of the config: what is compared, and what a person is shown. */
export interface ScheduleFacts {
  readonly cron: string;
  readonly timezone: string;
  readonly overlap: string;
  readonly catchUpSeconds: number;
  readonly workflow: string;
  readonly input: string;
}

export interface DesiredSchedule {
  readonly name: string;
  readonly id: string;
  readonly facts: ScheduleFacts;
  readonly create: ScheduleOptions;
  readonly update: ScheduleUpdateOptions;
}

const VERIFIES: Partial<Record<SchedulePurpose, ProofKind>> = {
  'verify-quick': 'quick',
  'verify-full': 'full',
  'verify-restore': 'restore',
};

const OVERLAP = { skip: 'SKIP', 'buffer-one': 'BUFFER_ONE' } as const;

/** What the config wants to be scheduled. */
export function desiredSchedules(config: Config): DesiredSchedule[] {
  return Object.entries(config.schedules.runs).map(([name, schedule]) => {
    const { application } = config;
    const id = workflowIds.schedule(application, name);
    const timezone = schedule.timezone ?? config.schedules.timezone;
    const { workflowType, input } = actionOf(config, name, schedule);
    const update: ScheduleUpdateOptions = {
      // The comment survives in Temporal, where the line itself is compiled away: it is how a difference is seen and shown.
      spec: { cronExpressions: [`${schedule.cron} # ${schedule.cron}`], timezone },
      policies: { overlap: OVERLAP[schedule.overlap], catchupWindow: schedule.catchUp.milliseconds },
      action: {
        type: 'startWorkflow',
        workflowType,
        // Temporal appends the time: this id is no lock, the ids of the launcher's children are (rule 7).
        workflowId: id,
        taskQueue: taskQueues.workflows,
        args: [input],
        staticSummary: `${name} of ${application} (schedule)`,
      },
      state: {},
    };
    return {
      name,
      id,
      facts: {
        cron: schedule.cron,
        timezone,
        overlap: OVERLAP[schedule.overlap],
        catchUpSeconds: schedule.catchUp.seconds,
        workflow: workflowType,
        input: JSON.stringify(input),
      },
      update,
      create: { ...update, scheduleId: id, memo: { [OWNER_MEMO]: application } },
    };
  });
}

function actionOf(
  config: Config,
  name: string,
  schedule: ScheduleConfig,
): { workflowType: keyof typeof workflowTypes; input: object } {
  const { application } = config;
  if (schedule.run === 'health-check') {
    return { workflowType: 'checkHealth', input: { application } satisfies CheckHealthInput };
  }
  if (schedule.run === 'readiness') {
    const input: CheckReadinessInput = { application, requestedBy: `schedule ${name}`, tell: true };
    return { workflowType: 'checkReadiness', input };
  }
  if (schedule.run === 'retention') {
    const stores = schedule.stores ?? Object.keys(config.stores);
    const copies = copiesOfAll(config, stores);
    const input: ApplyRetentionInput = {
      ...{ application, stores, requestedBy: `schedule ${name}` },
      ...(copies.length > 0 ? { copies } : {}),
    };
    return { workflowType: 'applyRetention', input };
  }
  if (schedule.run === 'copy') {
    const stores = schedule.stores ?? Object.keys(config.stores);
    const copies = copiesOfAll(config, stores);
    const input: CopyStoresInput = { application, copies, requestedBy: `schedule ${name}`, wholeListing: false };
    return { workflowType: 'copyStores', input };
  }
  if (schedule.run === 'drill') {
    return {
      workflowType: 'launchDrill',
      input: { application, requestedBy: `schedule ${name}` } satisfies DrillInput,
    };
  }
  if (schedule.run === 'readiness-report') {
    const input: ReportReadinessInput = { application, requestedBy: `schedule ${name}`, tell: true };
    return { workflowType: 'reportReadiness', input };
  }
  const period = periodOf(schedule.run);
  if (period) {
    const input: ChecklistInput = { application, period, requestedBy: `schedule ${name}` };
    return { workflowType: 'workThroughChecklist', input };
  }
  const stores = schedule.stores ?? Object.keys(config.stores);
  const kind = VERIFIES[schedule.run];
  if (kind !== undefined) {
    const input: VerifyStoresInput = { application, stores, kind, requestedBy: `schedule ${name}`, tell: true };
    return { workflowType: 'verifyStores', input };
  }
  const input: LaunchBackupsInput = {
    application,
    stores,
    type: schedule.run === 'full-backup' ? 'full' : 'incr',
    reason: `schedule ${name}`,
  };
  return { workflowType: 'launchBackups', input };
}

/** What Temporal says it does, in the same words. A schedule changed by hand differs here. */
export function factsOf({ spec, policies, action }: ScheduleDescription): ScheduleFacts {
  const lines = (spec.calendars ?? []).map(({ comment }) => comment ?? 'a calendar that drctl did not write');
  return {
    cron: lines.length > 0 ? lines.join(' and ') : 'never',
    timezone: spec.timezone || 'UTC',
    overlap: policies.overlap ?? 'none',
    catchUpSeconds: policies.catchupWindow / 1_000,
    workflow: action.workflowType,
    input: JSON.stringify(action.args?.[0] ?? null),
  };
}

/** The long-lived runs that the application needs besides its schedules: an archiver a log, a watcher of the replication, one of the uptime. */
export function desiredFollowers(
  config: Config,
): { readonly workflowId: string; readonly type: keyof typeof workflowTypes; readonly input: object }[] {
  const { application } = config;
  const stores = Object.entries(config.stores);
  const archivers = stores
    .filter(([, { hasLog }]) => hasLog)
    .map(([store]) => ({
      workflowId: workflowIds.archive(application, store),
      type: 'archiveLog' as const,
      input: { application, store },
    }));
  const replicated = stores.some(([, { hasReplication, sites }]) => hasReplication && sites.length > 1);
  return [
    ...archivers,
    ...(replicated
      ? [{ workflowId: workflowIds.watch(application), type: 'watchReplication' as const, input: { application } }]
      : []),
    ...(config.endpoints.length > 0
      ? [{ workflowId: workflowIds.uptime(application), type: 'watchUptime' as const, input: { application } }]
      : []),
  ];
}
