import type { ApplicationFailure } from '@temporalio/common';
import type { CallContext } from './call';
import { failure } from './errors';
import type { RestoredStore } from './recovery';

/** What an administrator wants to hold in a restored copy, from the config; run read-only, each with a deadline. */
export interface RestoreChecks {
  readonly names: readonly string[];
  /**
   * Runs every check, also after one failed, in the order of the config. A check that cannot be run (an error in its SQL, a
   * deadline) has failed; TargetUnreachable is thrown only where the restored server does not answer.
   */
  run(restored: RestoredStore, ctx: CallContext): Promise<CheckResult[]>;
}

/** Kept in the workflow's history and in reports: what was found is shown there. */
export interface CheckResult {
  readonly name: string;
  readonly ok: boolean;
  readonly expected: string;
  /** Null where there was no answer; `problem` then says why. */
  readonly found: string | null;
  readonly problem: string | null;
  readonly seconds: number;
}

export function checkLine({ name, ok, expected, found, problem }: CheckResult): string {
  return `${name}: ${ok ? found : (problem ?? `expected ${expected}, found ${found}`)}`;
}

/** The error of a restore whose copy is there and whose checks did not hold. */
export function checksFailed(
  store: string,
  restored: RestoredStore,
  checks: readonly CheckResult[],
): ApplicationFailure {
  const broken = checks.filter(({ ok }) => !ok);
  const where = restored.address ? ` at ${restored.address.host}:${restored.address.port}` : '';
  return failure(
    'CheckFailed',
    `${broken.length} of ${checks.length} checks of ${store} do not hold in the restored copy${where}: ` +
      broken.map(checkLine).join('; '),
    { context: Object.fromEntries(checks.map((each) => [each.name, each.ok ? 'ok' : checkLine(each)])) },
  );
}
