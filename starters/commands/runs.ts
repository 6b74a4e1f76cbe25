import type { WorkflowExecutionInfo } from '@temporalio/client';
import { formatDuration } from '../../core/clock';
import { failure } from '../../core/errors';
import type { RunStatus } from '../../core/runs';
import { DETACHED_EXIT_CODE, follow, queryStatus, stepLine } from '../follow';
import type { Front } from '../front';
import type { Session } from '../session';
import { relativeTime, shortTime, tableLines } from '../table';
import { temporalFailure } from '../temporal-errors';

export function registerRuns(front: Front): void {
  const group = front.group('runs', 'the workflows of the application');

  front
    .command<{ limit: string }>(
      group,
      'list',
      'what runs and what has ended, newest first',
      [['drctl runs list', 'the newest 20']],
      async (session, _, { limit }) => {
        const runs = await listRuns(session, Number(limit));
        session.print(runs.map(summary), () => runLines(runs, session.io.now()));
      },
    )
    .option('-n, --limit <count>', 'at most this many', '20');

  front
    .command<{ follow?: boolean }>(
      group,
      'status <id>',
      'the steps of one run',
      [['drctl runs status backup:ultramarket:orders-db --follow', 'until it ends']],
      (session, [id = ''], { follow: stay }) => showRun(session, id, stay ?? false),
    )
    .option('-f, --follow', 'stay until it ends');
}

/** Runs of the application, by its search attribute, newest first. */
export async function listRuns(session: Session, limit: number, condition = ''): Promise<WorkflowExecutionInfo[]> {
  const client = await session.client();
  const query = `DrApplication = '${session.application}'${condition}`;
  const runs: WorkflowExecutionInfo[] = [];
  try {
    for await (const run of client.workflow.list({ query, pageSize: limit })) {
      runs.push(run);
      if (runs.length >= limit) break;
    }
    return runs;
  } catch (error) {
    throw temporalFailure(error, { workflowId: 'the list of runs', address: session.config.temporal.address });
  }
}

const summary = (run: WorkflowExecutionInfo) => ({
  workflowId: run.workflowId,
  runId: run.runId,
  type: run.type,
  status: run.status.name.toLowerCase(),
  startedAt: run.startTime.toISOString(),
  closedAt: run.closeTime?.toISOString() ?? null,
});

function runLines(runs: readonly WorkflowExecutionInfo[], now: Date): string[] {
  if (runs.length === 0) return ['Nothing has run yet.'];
  return tableLines(
    ['run', 'what', 'state', 'started', 'took'],
    runs.map((run) => [
      run.workflowId,
      run.type,
      run.status.name.toLowerCase(),
      relativeTime(run.startTime.toISOString(), now),
      formatDuration((run.closeTime ?? now).getTime() - run.startTime.getTime()),
    ]),
  );
}

async function showRun(session: Session, id: string, stay: boolean): Promise<number | void> {
  const handle = (await session.client()).workflow.getHandle(id);
  try {
    await handle.describe();
  } catch (error) {
    throw temporalFailure(error, { workflowId: id, address: session.config.temporal.address });
  }
  if (stay) {
    const followed = await follow<unknown>(session, handle, { back: `drctl runs status ${id} --follow` });
    if (!followed.ended) return DETACHED_EXIT_CODE;
    return session.print(followed.result, () => [`${id} has completed.`]);
  }
  const status = await queryStatus(session, handle);
  if (typeof status === 'string') {
    throw failure('TargetUnreachable', `${id} cannot be looked at: ${status}`, {
      next: 'Check that a worker runs (`drctl worker`); the Web UI shows the steps too.',
    });
  }
  session.print(status, () => statusLines(id, status, session.io.now()));
}

function statusLines(
  id: string,
  { phase, startedAt, finishedAt, steps, messages, waitingFor }: RunStatus,
  now: Date,
): string[] {
  const took = formatDuration(Date.parse(finishedAt ?? now.toISOString()) - Date.parse(startedAt));
  return [
    `${id}: ${phase}`,
    `  started ${shortTime(startedAt)}, ${finishedAt ? `took ${took}` : `running for ${took}`}`,
    ...steps.map(stepLine),
    ...messages.map((message) => `  ! ${message}`),
    ...(waitingFor ? [`Waiting for: ${waitingFor}`] : []),
  ];
}
