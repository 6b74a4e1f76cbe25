import { sleep } from '@temporalio/workflow';
import { ActivityFailure, TimeoutFailure, TimeoutType } from '@temporalio/common';
import { hasCode, reasonOf } from '../core/errors';
import type { StepTable } from './step-table';

/** A repository that is away for a night comes back; who waited for longer wants to be told that nothing goes on. */
const PATIENCE_MILLISECONDS = 24 * 3_600_000;
/** After the five quick tries of the activity; grows, so that a day of trying stays a small history. */
const FIRST_PAUSE_SECONDS = 15;
const LONGEST_PAUSE_SECONDS = 300;

/**
 * Hours of a restore are not given up for what passes by itself (a repository that is away, a full disk, a worker that
 * died): the activity goes on where it was. Everything else fails as it is, for a person to look at.
 */
export async function persevering<T>(steps: StepTable, what: string, work: () => Promise<T>): Promise<T> {
  let since: number | null = null;
  for (let pause = FIRST_PAUSE_SECONDS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_SECONDS)) {
    try {
      return await work();
    } catch (error) {
      if (!passes(error)) throw error;
      if (since === null) steps.say(`${what} waits and is tried again for a day: ${reasonOf(error)}`);
      since ??= Date.now();
      if (Date.now() - since > PATIENCE_MILLISECONDS) throw error;
    }
    await sleep(`${pause} seconds`);
  }
}

function passes(error: unknown): boolean {
  if (hasCode(error, 'RepositoryUnavailable') || hasCode(error, 'DiskFull')) return true;
  const cause = error instanceof ActivityFailure ? error.cause : null;
  return cause instanceof TimeoutFailure && cause.timeoutType === TimeoutType.HEARTBEAT;
}
