import { getExternalWorkflowHandle, patched, workflowInfo } from '@temporalio/workflow';
import { workflowIds } from '../core/names';
import { type Command, commands } from '../core/runs';

/**
 * An incident wins: a drill that runs is told to end and cleans up by itself, beside the role change, which waits for nothing.
 * Fails where no drill runs, which is the usual case and no news.
 */
export function preemptDrill(application: string, kind: string): void {
  // A role change that was under way when its worker learned of this goes on as it began.
  if (!patched('pre-empt-drill')) return;
  const command: Command = { by: workflowInfo().workflowId, reason: `a ${kind} has begun` };
  getExternalWorkflowHandle(workflowIds.drill(application))
    .signal(commands.abort, command)
    .catch(() => undefined);
}
