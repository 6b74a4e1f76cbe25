import { type Client, WorkflowNotFoundError } from '@temporalio/client';

/** Whether a workflow of this id runs now; false as well for one that never did. */
export async function isRunning(client: Client, workflowId: string): Promise<boolean> {
  try {
    return (await client.workflow.getHandle(workflowId).describe()).status.name === 'RUNNING';
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return false;
    throw error;
  }
}
