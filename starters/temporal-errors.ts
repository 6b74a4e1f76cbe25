import {
  type Client,
  isGrpcDeadlineError,
  isGrpcServiceError,
  ScheduleNotFoundError,
  ServiceError,
  WorkflowNotFoundError,
} from '@temporalio/client';
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { failure, findFailure, reasonOf } from '../core/errors';
import { SEARCH_ATTRIBUTES } from '../core/names';
import type { Session } from './session';

/** Asks Temporal about a run, or about `subject` in a few words; what its client throws is `temporalFailure`'s. */
export async function askTemporal<T>(
  session: Session,
  subject: string,
  ask: (client: Client) => Promise<T>,
): Promise<T> {
  const client = await session.client();
  try {
    return await ask(client);
  } catch (error) {
    throw temporalFailure(session, error, subject);
  }
}

/** What Temporal's client throws, as an error of our table; what is one already, or is unknown, stays as it is. */
export function temporalFailure({ config }: Session, error: unknown, workflowId: string): unknown {
  const { address } = config.temporal;
  if (findFailure(error)) return Object.assign(error as Error, { workflowId });
  if (error instanceof WorkflowNotFoundError || error instanceof ScheduleNotFoundError) {
    return failure('NotFound', `${workflowId} is not running: it ended, or was never started`, {
      next: 'See `drctl runs list` for what runs and what has ended.',
      cause: error,
    });
  }
  if (error instanceof WorkflowExecutionAlreadyStartedError) {
    return failure('LockHeld', `${workflowId} is running already`, {
      next: `Look at it with \`drctl runs status ${workflowId}\`, and start again when it has ended.`,
      cause: error,
    });
  }
  if (/search attribute/i.test(reasonOf(error))) {
    const needed = Object.entries(SEARCH_ATTRIBUTES).map(([name, type]) => `--name ${name} --type ${type}`);
    return failure(
      'ConfigInvalid',
      `the namespace at ${address} lacks a search attribute that drctl uses: ${reasonOf(error)}`,
      {
        next: `Register them once: temporal operator search-attribute create ${needed.join(' ')}`,
        cause: error,
      },
    );
  }
  if (error instanceof ServiceError || isGrpcServiceError(error) || isGrpcDeadlineError(error)) {
    return failure(
      'TemporalUnavailable',
      `Temporal at ${address} did not carry out a call for ${workflowId}: ${reasonOf(error)}`,
      { cause: error },
    );
  }
  return error;
}
