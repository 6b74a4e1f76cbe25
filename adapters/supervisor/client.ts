import type { z } from 'zod';
import { failure } from '../../core/errors';
import type { Secret } from '../../core/secret';
import { type JsonAnswer, NoAnswer, requestJson } from '../http/json-request';

export interface SupervisorAccess {
  readonly url: string;
  readonly token: Secret;
  readonly timeoutSeconds: number;
}

export interface SupervisorRequest {
  /** What is being done, in words for the error: "fencing site primary". */
  readonly what: string;
  readonly method: 'GET' | 'PUT' | 'DELETE';
  readonly path: string;
  readonly body?: unknown;
  /** What no answer means for their data, where "nothing was changed" would be a guess. */
  readonly unansweredMeans?: string;
}

export interface SupervisorAnswer {
  readonly status: number;
  /** Why it was refused, in the supervisor's words. */
  readonly reason: string;
  /** Reads the body; throws TargetUnreachable when something else than a supervisor answered. */
  read<T>(schema: z.ZodType<T>): T;
}

/**
 * One request to the agent that owns the processes of a site. Throws TargetUnreachable where trying again may help and
 * AccessDenied for a wrong token; every other status is the caller's to judge.
 */
export async function requestSupervisor(
  access: SupervisorAccess,
  request: SupervisorRequest,
  signal?: AbortSignal,
): Promise<SupervisorAnswer> {
  const { what, method, path, body, unansweredMeans: data } = request;
  const { origin } = new URL(access.url);
  const url = `${access.url.replace(/\/$/, '')}${path}`;
  let answer: JsonAnswer;
  try {
    answer = await requestJson({ ...access, method, url, body, signal });
  } catch (cause) {
    if (!(cause instanceof NoAnswer)) throw cause;
    throw failure('TargetUnreachable', `${what} through the supervisor at ${origin}: ${cause.message}`, {
      data,
      cause,
    });
  }
  if (answer.status === 401 || answer.status === 403) {
    throw failure('AccessDenied', `${what} through the supervisor at ${origin}: it refused the token`);
  }
  if (answer.status >= 500 || answer.status === 429) {
    throw failure('TargetUnreachable', `${what} through the supervisor at ${origin}: ${reasonOf(answer)}`, { data });
  }
  return { status: answer.status, reason: `the supervisor at ${origin} says: ${reasonOf(answer)}`, read };

  function read<T>(schema: z.ZodType<T>): T {
    const parsed = schema.safeParse(answer.json);
    if (parsed.success) return parsed.data;
    throw failure('TargetUnreachable', `${what}: ${origin} did not answer as a supervisor does (${answer.excerpt})`, {
      data,
      next: 'Check that `url` in the config names the supervisor.',
    });
  }
}

function reasonOf({ status, json, excerpt }: JsonAnswer): string {
  const said = json as { error?: unknown; message?: unknown } | null;
  const words = [said?.error, said?.message].find((each) => typeof each === 'string');
  return `HTTP ${status}${words || excerpt ? `: ${words ?? excerpt}` : ''}`;
}
