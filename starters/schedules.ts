import type { Client, ScheduleHandle } from '@temporalio/client';
import { ScheduleNotFoundError } from '@temporalio/client';
import { countOf } from '../core/clock';
import { failure } from '../core/errors';
import { taskQueues, workflowIds } from '../core/names';
import { isRunning } from '../workers/is-running';
import {
  desiredFollowers,
  desiredSchedules,
  factsOf,
  OWNER_MEMO,
  type DesiredSchedule,
  type ScheduleFacts,
} from './desired-schedules';
import { runAsScript } from './script';
import type { Session } from './session';
import { relativeTime, shortTime, tableLines } from './table';
import { askTemporal } from './temporal-errors';

export interface ScheduleChange {
  readonly id: string;
  readonly change: 'created' | 'changed' | 'removed' | 'unchanged' | 'started' | 'running' | 'stopped';
  /** `cron: 0 2 * * * → 0 3 * * *`, for what changed. */
  readonly differences: readonly string[];
}

/**
 * Makes Temporal hold exactly the config's schedules, and its archivers and watcher running. Repeatable; a paused schedule
 * stays paused; what carries another owner's memo is never touched. With `dryRun` nothing is changed, the answer is the same.
 */
export async function applySchedules(session: Session, dryRun: boolean): Promise<ScheduleChange[]> {
  return askTemporal(session, `the schedules of ${session.application}`, async (client) => {
    const wanted = desiredSchedules(session.config);
    const changes: ScheduleChange[] = [];
    for (const each of wanted) changes.push(await applyOne(client, session.application, each, dryRun));
    changes.push(...(await removeOthers(client, session.application, wanted, dryRun)));
    changes.push(...(await applyFollowers(session, client, dryRun)));
    return changes;
  });
}

async function applyOne(
  client: Client,
  application: string,
  wanted: DesiredSchedule,
  dryRun: boolean,
): Promise<ScheduleChange> {
  const { id, facts, create, update } = wanted;
  const handle = client.schedule.getHandle(id);
  const found = await describe(handle);
  if (found === null) {
    if (!dryRun) await client.schedule.create(create);
    return { id, change: 'created', differences: [`${facts.cron} ${facts.timezone}, ${facts.workflow}`] };
  }
  if (found.memo?.[OWNER_MEMO] !== application) {
    throw failure('LockHeld', `the schedule ${id} exists and was not made by drctl for ${application}`, {
      next: 'Remove it (`temporal schedule delete`), or give the schedule another name in the config.',
    });
  }
  const differences = differencesOf(factsOf(found), facts);
  if (differences.length === 0) return { id, change: 'unchanged', differences };
  if (!dryRun)
    await handle.update(({ state: { paused, note } }) => ({ ...update, state: { paused, ...(note ? { note } : {}) } }));
  return { id, change: 'changed', differences };
}

function differencesOf(found: ScheduleFacts, wanted: ScheduleFacts): string[] {
  return (Object.keys(wanted) as (keyof ScheduleFacts)[])
    .filter((fact) => found[fact] !== wanted[fact])
    .map((fact) => `${fact}: ${found[fact]} → ${wanted[fact]}`);
}

async function removeOthers(
  client: Client,
  application: string,
  wanted: readonly DesiredSchedule[],
  dryRun: boolean,
): Promise<ScheduleChange[]> {
  const changes: ScheduleChange[] = [];
  for (const id of await ownedIds(client, application)) {
    if (wanted.some((each) => each.id === id)) continue;
    if (!dryRun) await client.schedule.getHandle(id).delete();
    changes.push({ id, change: 'removed', differences: ['it is no longer in the config'] });
  }
  return changes;
}

/** Listings lag behind a little: what was deleted a moment ago may be in them, so each one is looked at itself. */
async function ownedIds(client: Client, application: string): Promise<string[]> {
  const ids: string[] = [];
  for await (const { scheduleId } of client.schedule.list()) {
    const found = await describe(client.schedule.getHandle(scheduleId));
    if (found?.memo?.[OWNER_MEMO] === application) ids.push(scheduleId);
  }
  return ids;
}

async function applyFollowers(session: Session, client: Client, dryRun: boolean): Promise<ScheduleChange[]> {
  const wanted = desiredFollowers(session.config);
  const changes: ScheduleChange[] = [];
  for (const { workflowId, type, input } of wanted) {
    const running = await isRunning(client, workflowId);
    if (!running && !dryRun) {
      await client.workflow.start(type, {
        workflowId,
        taskQueue: taskQueues.workflows,
        args: [input],
        workflowIdConflictPolicy: 'USE_EXISTING',
        staticSummary: `${type} of ${session.application}`,
      });
    }
    changes.push({ id: workflowId, change: running ? 'running' : 'started', differences: [] });
  }
  // An archiver of a store that left the config would follow its log for ever.
  const prefix = workflowIds.archive(session.application, '');
  const query = `WorkflowType = 'archiveLog' AND ExecutionStatus = 'Running' AND WorkflowId STARTS_WITH '${prefix}'`;
  for await (const { workflowId } of client.workflow.list({ query })) {
    if (wanted.some((each) => each.workflowId === workflowId)) continue;
    if (!dryRun) await client.workflow.getHandle(workflowId).cancel();
    changes.push({ id: workflowId, change: 'stopped', differences: ['its store is no longer in the config'] });
  }
  return changes;
}

async function describe(handle: ScheduleHandle) {
  try {
    return await handle.describe();
  } catch (error) {
    if (error instanceof ScheduleNotFoundError) return null;
    throw error;
  }
}

export function changeLines(changes: readonly ScheduleChange[], dryRun: boolean): string[] {
  const SIGNS = {
    created: '+',
    started: '+',
    changed: '~',
    removed: '-',
    stopped: '-',
    unchanged: '=',
    running: '=',
  } as const;
  const made = changes.filter(({ change }) => SIGNS[change] !== '=').length;
  const width = Math.max(0, ...changes.map(({ id }) => id.length));
  return [
    ...changes.flatMap(({ id, change, differences }) => [
      `${SIGNS[change]} ${id.padEnd(width)}  ${change}${differences.length === 1 && change !== 'changed' ? `: ${differences[0]}` : ''}`,
      ...(change === 'changed' ? differences.map((each) => `    ${each}`) : []),
    ]),
    made === 0
      ? 'Nothing to change.'
      : dryRun
        ? `${made} to change; nothing was changed (--dry-run).`
        : `${countOf(made, 'change')} made.`,
  ];
}

export interface ListedSchedule {
  readonly name: string;
  readonly id: string;
  readonly state: 'active' | 'paused' | 'not applied' | 'differs';
  readonly note: string | null;
  readonly cron: string;
  readonly timezone: string;
  readonly nextAt: string | null;
  readonly lastAt: string | null;
}

/** The config's schedules as they are in Temporal now. */
export async function listSchedules(session: Session): Promise<ListedSchedule[]> {
  const client = await session.client();
  return Promise.all(
    desiredSchedules(session.config).map(async ({ name, id, facts }): Promise<ListedSchedule> => {
      const found = await describe(client.schedule.getHandle(id));
      const common = { name, id, cron: facts.cron, timezone: facts.timezone };
      if (found === null) return { ...common, state: 'not applied', note: null, nextAt: null, lastAt: null };
      const differs = differencesOf(factsOf(found), facts);
      return {
        ...common,
        state: found.state.paused ? 'paused' : differs.length > 0 ? 'differs' : 'active',
        note: found.state.paused ? (found.state.note ?? null) : (differs[0] ?? null),
        nextAt: found.state.paused ? null : (found.info.nextActionTimes[0]?.toISOString() ?? null),
        lastAt: found.info.recentActions.at(-1)?.takenAt.toISOString() ?? null,
      };
    }),
  );
}

export function scheduleLines(schedules: readonly ListedSchedule[], now: Date): string[] {
  const rows = schedules.map(({ name, state, cron, timezone, nextAt, lastAt }) => [
    name,
    state,
    `${cron} ${timezone}`,
    nextAt ? `${shortTime(nextAt)} (${relativeTime(nextAt, now)})` : '-',
    lastAt ? relativeTime(lastAt, now) : 'never',
  ]);
  return [
    ...tableLines(['schedule', 'state', 'when', 'next', 'last'], rows),
    ...schedules.flatMap(({ name, state, note }) => (note ? [`${name}: ${state}: ${note}`] : [])),
    ...(schedules.some(({ state }) => state === 'not applied' || state === 'differs')
      ? ['Apply the config with: drctl schedules apply']
      : []),
  ];
}

/** The schedules of these names (all when none is named); NotFound names what there is. */
export async function eachSchedule(
  session: Session,
  names: readonly string[],
  act: (handle: ScheduleHandle, name: string) => Promise<void>,
): Promise<string[]> {
  const wanted = desiredSchedules(session.config);
  session.requireKnown(
    'schedule',
    names,
    wanted.map(({ name }) => name),
  );
  const chosen = wanted.filter(({ name }) => names.length === 0 || names.includes(name));
  for (const { id, name } of chosen) {
    await askTemporal(session, id, async (client) => {
      try {
        await act(client.schedule.getHandle(id), name);
      } catch (error) {
        if (!(error instanceof ScheduleNotFoundError)) throw error;
        throw failure('NotFound', `the schedule ${id} is not in Temporal`, {
          next: 'Create it with `drctl schedules apply`.',
        });
      }
    });
  }
  return chosen.map(({ name }) => name);
}

runAsScript(module, 'schedules');
