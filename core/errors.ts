import { ApplicationFailure } from '@temporalio/common';
import { FAILURES, type FailureCode } from './failure-classes';

/** What a person is shown besides the message. Never holds a secret: it is stored in Temporal's history. */
export interface FailureDetails {
  /** What it means for their data. */
  readonly data: string;
  /** What to do next. */
  readonly next: string;
  /** Names, ids and positions that help to find the cause. */
  readonly context?: Record<string, string | number | boolean | null>;
}

export interface FailureOptions {
  readonly data?: string;
  readonly next?: string;
  readonly context?: FailureDetails['context'];
  readonly cause?: unknown;
}

/**
 * Makes the error to throw. The message says what failed and where ("<what> at <where>: <why>"); what it means and what
 * to do next come from the table unless given. Retryable classes are retried by Temporal, the others end the step.
 */
export function failure(code: FailureCode, message: string, options: FailureOptions = {}): ApplicationFailure {
  const entry = FAILURES[code];
  const details: FailureDetails = {
    data: options.data ?? entry.data,
    next: options.next ?? entry.next,
    ...(options.context ? { context: options.context } : {}),
  };
  return ApplicationFailure.create({
    type: code,
    message,
    nonRetryable: !entry.retryable,
    details: [details],
    ...(options.cause instanceof Error ? { cause: options.cause } : {}),
  });
}

export function isFailureCode(type: string | null | undefined): type is FailureCode {
  return typeof type === 'string' && Object.hasOwn(FAILURES, type);
}

/** Finds the innermost error of our table in a chain of causes (Temporal wraps what an activity threw). */
export function findFailure(error: unknown): { code: FailureCode; message: string; details: FailureDetails } | null {
  for (let current = error; current instanceof Error; current = (current as { cause?: unknown }).cause) {
    if (current instanceof ApplicationFailure && isFailureCode(current.type)) {
      const entry = FAILURES[current.type];
      const [given] = (current.details ?? []) as Partial<FailureDetails>[];
      return {
        code: current.type,
        message: current.message,
        details: { ...given, data: given?.data ?? entry.data, next: given?.next ?? entry.next },
      };
    }
  }
  return null;
}

export function hasCode(error: unknown, code: FailureCode): boolean {
  return findFailure(error)?.code === code;
}

/** The innermost reason of a failure in words: what Temporal wraps around it says nothing to a person. */
export function reasonOf(error: unknown): string {
  const known = findFailure(error);
  if (known) return known.message;
  let innermost = error;
  while (innermost instanceof Error && innermost.cause instanceof Error) innermost = innermost.cause;
  return innermost instanceof Error ? innermost.message : String(innermost);
}
