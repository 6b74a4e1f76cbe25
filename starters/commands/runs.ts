import type { WorkflowExecutionInfo } from '@temporalio/client';
import { formatDuration } from '../../core/clock';
import type { RunStatus } from '../../core/runs';
import { durationText, follow, requireStatus, stepLine } from '../follow';
import type { Front } from '../front';
import { followOption, limitOption } from '../options';
import { backTo } from '../runs';
import type { Session } from '../session';
import { relativeTime, tableLines } from '../table';
import { askTemporal } from '../temporal-errors';

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
    .addOption(limitOption('at most this many'));

  front
    .command<{ follow?: boolean }>(
      group,
      'status <id>',
      'the steps of one run',
      [['drctl runs status backup:ultramarket:orders-db --follow', 'until it ends']],
      (session, [id = ''], { follow: stay }) => showRun(session, id, stay ?? false),
    )
    .addOption(followOption());
}

/** Runs of the application, by its search attribute, newest first. */
export async function listRuns(session: Session, limit: number, condition = ''): Promise<WorkflowExecutionInfo[]> {
  const query = `DrApplication = '${session.application}'${condition}`;
  return askTemporal(session, 'the list of runs', async ({ workflow }) => {
    const runs: WorkflowExecutionInfo[] = [];
    for await (const run of workflow.list({ query, pageSize: limit })) {
      runs.push(run);
      if (runs.length >= limit) break;
    }
    return runs;
  });
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
  const handle = await askTemporal(session, id, async ({ workflow }) => {
    const found = workflow.getHandle(id);
    await found.describe();
    return found;
  });
  if (stay) return follow<unknown>(session, handle, { back: backTo(id), lines: () => [`${id} has completed.`] });
  const status = await requireStatus(session, handle, id);
  session.print(status, () => statusLines(id, status, session.io.now()));
}

function statusLines(id: string, status: RunStatus, now: Date): string[] {
  const { phase, steps, messages, waitingFor } = status;
  return [
    `${id}: ${phase}`,
    `  ${durationText(status, now)}`,
    ...steps.map(stepLine),
    ...messages.map((message) => `  ! ${message}`),
    ...(waitingFor ? [`Waiting for: ${waitingFor}`] : []),
  ];
}
