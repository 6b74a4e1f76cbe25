import { FAILURES } from '../core/failure-classes';
import { workflowIds } from '../core/names';
import type { ReadinessCheck, ReadinessResult, ReadinessState } from '../core/readiness';
import type { RoleChangePlan } from '../core/role-change-plan';
import type { CheckReadinessInput } from '../core/runs';
import { follow } from './follow';
import { planLines } from './plan';
import { backTo, newRunName, startRun } from './runs';
import type { Session } from './session';

/** Shows the plan, then what of it would fail today. Answers the exit code: NotReady's where something would. */
export async function checkReadinessFor(session: Session, plan: RoleChangePlan): Promise<number> {
  const { application, io } = session;
  const { toSite, kind } = plan;
  const workflowId = workflowIds.readiness(application, newRunName(io.now()));
  const input: CheckReadinessInput = {
    application,
    toSite,
    requestedBy: io.user,
    tell: false,
    ...(kind === 'switchover' ? { planned: true } : {}),
  };
  const handle = await startRun(session, {
    workflowId,
    type: 'checkReadiness',
    input,
    summary: `could ${application} ${kind === 'switchover' ? 'switch' : 'fail'} over to ${toSite}? (${io.user})`,
  });
  return follow<ReadinessResult>(session, handle, {
    back: backTo(workflowId),
    lines: (result) => [...planLines(plan), '', ...readinessLines(result)],
    value: (readiness) => ({ plan, readiness }),
    exitCode: ({ verdict }) => (verdict === 'ready' ? 0 : FAILURES.NotReady.exitCode),
  });
}

const SIGNS: Readonly<Record<ReadinessState, string>> = { ok: '✔', warning: '!', failing: '✘', unknown: '?' };

/** What is worst first. */
export function readinessLines({ toSite, verdict, score, checks }: ReadinessResult): string[] {
  const of = (state: ReadinessState) => checks.filter((each) => each.state === state);
  const [failing, unknown, warning, ok] = [of('failing'), of('unknown'), of('warning'), of('ok')];
  const counts = [
    [failing.length, 'would fail'],
    [unknown.length, 'cannot be seen'],
    [warning.length, 'to mend'],
    [ok.length, 'hold'],
  ] as const;
  const counted = counts.flatMap(([count, what]) => (count > 0 ? [`${count} ${what}`] : []));
  return [
    `${toSite} is ${verdict === 'ready' ? 'ready' : 'NOT READY'} to take over: ${score} of 100 (${counted.join(', ')})`,
    ...[...failing, ...unknown, ...warning].flatMap(badLines),
    ...ok.map(({ title, found }) => `  ${SIGNS.ok} ${title}: ${found}`),
  ];
}

function badLines({ state, title, found, onTheDay }: ReadinessCheck): string[] {
  return [`  ${SIGNS[state]} ${title}: ${found}`, ...(onTheDay ? [`      on the day: ${onTheDay}`] : [])];
}
