import { type Client, WorkflowNotFoundError } from '@temporalio/client';
import type { RoleChangeNow } from '../../core/monitoring/facts';
import { workflowIds } from '../../core/names';

/** The role change that runs, by its search attributes: no worker has to answer for it. */
export async function roleChangeOf(client: Client, application: string): Promise<RoleChangeNow> {
  const idle = { kind: null, phase: 'idle' };
  try {
    const run = await client.workflow.getHandle(workflowIds.roleChange(application)).describe();
    if (run.status.name !== 'RUNNING') return idle;
    const { DrKind, DrPhase } = run.searchAttributes as Record<string, readonly string[] | undefined>;
    return { kind: DrKind?.[0] ?? 'unknown', phase: DrPhase?.[0] ?? 'starting' };
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return idle;
    throw error;
  }
}
