import { randomBytes } from 'node:crypto';
import type { WorkflowHandle } from '@temporalio/client';
import { defineSearchAttributeKey } from '@temporalio/common';
import { basicTime } from '../core/clock';
import { taskQueues } from '../core/names';
import type { workflowTypes } from '../core/runs';
import type { Session } from './session';
import { askTemporal } from './temporal-errors';

const APPLICATION = defineSearchAttributeKey('DrApplication', 'KEYWORD');

export interface StartOptions {
  readonly workflowId: string;
  readonly type: keyof typeof workflowTypes;
  readonly input: object;
  /** One line for the Web UI's list. */
  readonly summary: string;
}

/** Starts a run; LockHeld when one of that id runs already, TemporalUnavailable when nobody answers. */
export async function startRun(
  session: Session,
  { workflowId, type, input, summary }: StartOptions,
): Promise<WorkflowHandle> {
  return askTemporal(session, workflowId, ({ workflow }) =>
    workflow.start(type, {
      workflowId,
      taskQueue: taskQueues.workflows,
      args: [input],
      workflowIdConflictPolicy: 'FAIL',
      staticSummary: summary,
      // Set by the start too, so that `drctl runs list` shows a run that no worker has taken yet.
      typedSearchAttributes: [{ key: APPLICATION, value: session.application }],
    }),
  );
}

/** An id for things a person starts: sorts by time, never twice the same. */
export function newRunName(now: Date): string {
  return `${basicTime(now.toISOString())}-${randomBytes(2).toString('hex')}`;
}

/** The answer to a start with --detach: which run it is, and the command that leads to it. */
export function printDetached(session: Session, workflowId: string, back: string, names: object = {}): void {
  const link = session.link(workflowId);
  session.print({ workflowId, ...names, link }, () => [
    `Started ${workflowId}.`,
    `  follow it:  ${back}`,
    ...(link ? [`  Web UI:     ${link}`] : []),
  ]);
}

/** The command that brings a person back to a run that has no noun of its own. */
export const backTo = (workflowId: string) => `drctl runs status ${workflowId} --follow`;
