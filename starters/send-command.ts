import {
  isGrpcCancelledError,
  isGrpcDeadlineError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
} from '@temporalio/client';
import type { Command, commands } from '../core/runs';
import type { Session } from './session';
import { askTemporal } from './temporal-errors';

/** Long enough for a worker to answer, short enough to tell a person that none does. */
const UPDATE_MILLISECONDS = 10_000;

export type Delivery = 'accepted' | 'queued';

/**
 * Sends a person's decision to a run. As an update, which is refused at once when it makes no sense now (the reason is
 * thrown). When no worker answers, as a signal: Temporal keeps it until one is back.
 */
export async function sendCommand(
  session: Session,
  workflowId: string,
  name: keyof typeof commands,
  command: Command,
): Promise<Delivery> {
  return askTemporal(session, workflowId, async ({ connection, workflow }) => {
    const handle = workflow.getHandle(workflowId);
    try {
      await connection.withDeadline(Date.now() + UPDATE_MILLISECONDS, () =>
        handle.executeUpdate(name, { args: [command] }),
      );
      return 'accepted';
    } catch (error) {
      if (!noWorkerAnswered(error)) throw error;
    }
    await handle.signal(name, command);
    return 'queued';
  });
}

const noWorkerAnswered = (error: unknown) =>
  error instanceof WorkflowUpdateRPCTimeoutOrCancelledError ||
  isGrpcDeadlineError(error) ||
  isGrpcCancelledError(error);
