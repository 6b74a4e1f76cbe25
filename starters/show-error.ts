import { CommanderError } from 'commander';
import { findFailure, reasonOf, type FailureDetails } from '../core/errors';
import { FAILURES, type FailureCode } from '../core/failure-classes';

/** An error as a person and a script see it: what failed, where, what it means for the data, what to do next. */
export interface ShownError {
  readonly code: FailureCode | 'Unexpected';
  readonly message: string;
  readonly where: string;
  readonly data: string;
  readonly next: string;
  readonly exitCode: number;
  /** Names and values that help a script, such as the result of each check. */
  readonly context?: FailureDetails['context'];
}

/** Errors that are not in the table are defects of drctl or of its surroundings: scripts must treat them as failures. */
const UNEXPECTED_EXIT_CODE = 1;

export function describeError(error: unknown, command: string): ShownError {
  const found = findFailure(error);
  const where = workflowOf(error) ?? command;
  if (found) {
    const { code, message, details } = found;
    const { data, next, context } = details;
    const shown = { code, message, where, data, next, exitCode: FAILURES[code].exitCode };
    return context === undefined ? shown : { ...shown, context };
  }
  return {
    code: 'Unexpected',
    message: reasonOf(error),
    where,
    data: 'It is not known how far this went: `drctl status` shows what is there and what still runs.',
    next: 'Run it again with DRCTL_DEBUG=1 for the full trace; report it with that trace.',
    exitCode: UNEXPECTED_EXIT_CODE,
  };
}

export function errorLines({ code, message, where, data, next }: ShownError): string[] {
  return [`Failed: ${message}`, `Where:  ${where} (${code})`, `Data:   ${data}`, `Next:   ${next}`];
}

export const isCommanderError = (error: unknown): error is CommanderError => error instanceof CommanderError;

function workflowOf(error: unknown): string | null {
  const { workflowId } = (error ?? {}) as { workflowId?: unknown };
  return typeof workflowId === 'string' ? `workflow ${workflowId}` : null;
}
