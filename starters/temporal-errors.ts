import {
  isGrpcDeadlineError,
  isGrpcServiceError,
  ScheduleNotFoundError,
  ServiceError,
  WorkflowNotFoundError,
} from '@temporalio/client';
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { failure, findFailure } from '../core/errors';
import { SEARCH_ATTRIBUTES } from '../core/names';

interface Where {
  readonly workflowId: string;
  readonly address: string;
}

/** What Temporal's client throws, as an error of our table; what is one already, or is unknown, stays as it is. */
export function temporalFailure(error: unknown, { workflowId, address }: Where): unknown {
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
  if (/search attribute/i.test(reason(error))) {
    const needed = Object.entries(SEARCH_ATTRIBUTES).map(([name, type]) => `--name ${name} --type ${type}`);
    return failure(
      'ConfigInvalid',
      `the namespace at ${address} lacks a search attribute that drctl uses: ${reason(error)}`,
      {
        next: `Register them once: temporal operator search-attribute create ${needed.join(' ')}`,
        cause: error,
      },
    );
  }
  if (error instanceof ServiceError || isGrpcServiceError(error) || isGrpcDeadlineError(error)) {
    return failure(
      'TemporalUnavailable',
      `Temporal at ${address} did not carry out a call for ${workflowId}: ${reason(error)}`,
      { cause: error },
    );
  }
  return error;
}

function reason(error: unknown): string {
  let current = error;
  while (current instanceof Error && current.cause instanceof Error) current = current.cause;
  return current instanceof Error ? current.message : String(current);
}
