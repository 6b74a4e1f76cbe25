import { randomBytes } from 'node:crypto';
import type { WorkflowHandle } from '@temporalio/client';
import { defineSearchAttributeKey } from '@temporalio/common';
import { basicTime } from '../core/clock';
import { taskQueues } from '../core/names';
import type { workflowTypes } from '../core/runs';
import type { Session } from './session';
import { temporalFailure } from './temporal-errors';

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
  const client = await session.client();
  try {
    return await client.workflow.start(type, {
      workflowId,
      taskQueue: taskQueues.workflows,
      args: [input],
      workflowIdConflictPolicy: 'FAIL',
      staticSummary: summary,
      // Set by the start too, so that `drctl runs list` shows a run that no worker has taken yet.
      typedSearchAttributes: [{ key: APPLICATION, value: session.application }],
    });
  } catch (error) {
    throw temporalFailure(error, { workflowId, address: session.config.temporal.address });
  }
}

/** An id for things a person starts: sorts by time, never twice the same. */
export function newRunName(now: Date): string {
  return `${basicTime(now.toISOString())}-${randomBytes(2).toString('hex')}`;
}

/** What a person reads after a start with --detach. */
export function detachedLines(session: Session, workflowId: string, back: string): string[] {
  const link = session.link(workflowId);
  return [`Started ${workflowId}.`, `  follow it:  ${back}`, ...(link ? [`  Web UI:     ${link}`] : [])];
}
