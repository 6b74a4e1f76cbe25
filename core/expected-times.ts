import type { ExpectedTime, RoleChangePlan } from './role-change-plan';
import type { StepStatus } from './runs';

/** What the report of an earlier role change says of its times. */
export interface PastRun {
  readonly kind: string;
  readonly toSite: string;
  readonly approvalToVerifiedSeconds: number | null;
  readonly steps: readonly Pick<StepStatus, 'id' | 'state' | 'startedAt' | 'finishedAt'>[];
}

/**
 * The plan with the times of earlier runs of its kind to the same site. A step that none of them has done stays not known: other
 * servers, other services, other times.
 */
export function withExpectedTimes(plan: RoleChangePlan, past: readonly PastRun[]): RoleChangePlan {
  const alike = past.filter(({ kind, toSite }) => kind === plan.kind && toSite === plan.toSite);
  const expected = (id: string) =>
    expectedOf(alike.flatMap(({ steps }) => steps.filter((step) => step.id === id).flatMap(secondsOf)));
  return {
    ...plan,
    groups: plan.groups.map((group) => ({
      ...group,
      steps: group.steps.map((step) => ({ ...step, expected: expected(step.id) })),
    })),
    approvalToVerified: expectedOf(alike.flatMap(({ approvalToVerifiedSeconds }) => approvalToVerifiedSeconds ?? [])),
  };
}

/** How long a step took that came to its end: done, or a fence that ended without a proof. */
function secondsOf({ id, state, startedAt, finishedAt }: PastRun['steps'][number]): number[] {
  const ended = state === 'done' || (state === 'skipped' && id.startsWith('fence:'));
  if (!ended || startedAt === null || finishedAt === null) return [];
  return [Math.max(0, Date.parse(finishedAt) - Date.parse(startedAt)) / 1_000];
}

function expectedOf(seconds: readonly number[]): ExpectedTime | null {
  if (seconds.length === 0) return null;
  const sorted = seconds.toSorted((a, b) => a - b);
  const [below, above] = [sorted[(sorted.length - 1) >> 1] as number, sorted[sorted.length >> 1] as number];
  return { medianSeconds: (below + above) / 2, slowestSeconds: sorted.at(-1) as number, runs: sorted.length };
}
