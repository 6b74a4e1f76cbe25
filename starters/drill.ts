import { toApplication } from '../config/application';
import { formatDuration } from '../core/clock';
import { type DrillStage, STAGE_TITLES } from '../core/drill';
import { recoveryLine, type StageResult } from '../core/drill-judgements';
import { type DrillPlan, planDrill } from '../core/drill-plan';
import type { DrillInput, DrillResult, DrillStatus } from '../core/drill-runs';
import { failure, hasCode, reasonOf } from '../core/errors';
import { FAILURES } from '../core/failure-classes';
import { workflowIds } from '../core/names';
import { durationText, follow, requireStatus, stepLine } from './follow';
import { listReports, reportLines, showReport } from './reports';
import { activeSite } from './restore';
import { printDetached, startRun } from './runs';
import { sendCommand } from './send-command';
import type { Session } from './session';
import { temporalFailure } from './temporal-errors';

const BACK = 'drctl drill show --follow';

export interface DrillRequest {
  readonly without: readonly DrillStage[];
  readonly reason: string | null;
  readonly approved: boolean;
  readonly detach: boolean;
}

/** What a drill would do now. Needs the config and the control repository only, and starts nothing. */
export async function drillPlan(session: Session, without: readonly DrillStage[]): Promise<DrillPlan> {
  const active = await activeSite(session);
  const app = toApplication(session.config);
  return planDrill(app, { site: app.sites.find((each) => each !== active) ?? active, without });
}

/** Shows the plan, asks, and holds the drill. Answers the exit code. */
export async function runDrill(session: Session, { without, reason, approved, detach }: DrillRequest): Promise<number> {
  const { application, io } = session;
  if (!approved && !io.isTerminal) {
    throw failure('UsageInvalid', 'a drill shows its plan and asks, and there is no terminal to ask on', {
      next: 'Add --yes to hold it without being asked; `drctl drill plan` shows the plan only.',
    });
  }
  for (const line of planLines(await drillPlan(session, without))) io.note(line);
  if (!approved && !(await agreed(session))) {
    io.note('Nothing was started.');
    return FAILURES.ApprovalRejected.exitCode;
  }
  const workflowId = workflowIds.drill(application);
  const input: DrillInput = {
    ...{ application, requestedBy: io.user },
    ...(reason === null ? {} : { reason }),
    ...(without.length === 0 ? {} : { without }),
  };
  await startRun(session, { workflowId, type: 'drill', input, summary: `drill of ${application} (${io.user})` });
  if (!detach) return followDrill(session);
  printDetached(session, workflowId, BACK);
  return 0;
}

async function agreed({ io }: Session): Promise<boolean> {
  const answer = (await io.ask('Hold this drill? [yes/no] '))?.trim().toLowerCase();
  return answer === 'y' || answer === 'yes';
}

/** Follows the drill that runs to its end. Answers the exit code. */
export async function followDrill(session: Session): Promise<number> {
  const handle = (await session.client()).workflow.getHandle(workflowIds.drill(session.application));
  return follow<DrillResult, DrillStatus>(session, handle, {
    back: BACK,
    lines: resultLines,
    exitCode: ({ outcome, verdict }) =>
      outcome === 'aborted' ? FAILURES.Aborted.exitCode : verdict === 'achieved' ? 0 : FAILURES.DrillFailed.exitCode,
  });
}

/** The drill that runs now; where none does, the report of the one named, or of the newest. */
export async function showDrill(session: Session, id: string | null, stay: boolean): Promise<number | void> {
  const status = id === null ? await runningDrill(session) : null;
  if (status === null && !stay) return showReport(session, { id, kind: 'drill' });
  if (status === null) throw failure('NotFound', `no drill of ${session.application} runs now`);
  if (stay) return followDrill(session);
  session.print(status, () => statusLines(status, session.io.now()));
}

/** Null where none runs, and where Temporal does not answer: reports can be read without it. */
async function runningDrill(session: Session): Promise<DrillStatus | null> {
  const workflowId = workflowIds.drill(session.application);
  try {
    const handle = (await session.client()).workflow.getHandle(workflowId);
    if ((await handle.describe()).status.name !== 'RUNNING') return null;
    return await requireStatus<DrillStatus>(session, handle, 'the drill');
  } catch (error) {
    const known = temporalFailure(session, error, workflowId);
    if (!hasCode(known, 'NotFound')) session.io.note(`Whether a drill runs cannot be seen: ${reasonOf(known)}`);
    return null;
  }
}

export async function listDrills(session: Session, limit: number): Promise<void> {
  const reports = await listReports(session, limit, 'drill');
  session.print(reports, () =>
    reports.length === 0
      ? ['No drill was held yet. Begin with: drctl drill plan']
      : reportLines(reports, session.io.now()),
  );
}

/** Ends the drill that runs; what it has made is taken away first. */
export async function abortDrill(session: Session, by: string, reason: string): Promise<void> {
  const delivery = await sendCommand(session, workflowIds.drill(session.application), 'abort', { by, reason });
  session.print({ delivery, by, reason }, () => [
    delivery === 'accepted'
      ? 'The drill ends, and takes away what it has made. Stay with it: drctl drill show --follow'
      : 'No worker answers now; Temporal keeps it and hands it over when one is back.',
  ]);
}

export function planLines({ application, site, stages, kills, touches }: DrillPlan): string[] {
  return [
    `Drill of ${application} at ${site}, in isolation: copies of its stores, a name of its own, services without a way out.`,
    ...stages.flatMap(({ title, leftOut, does }, index) => [
      '',
      `  ${index + 1}  ${title}${leftOut === null ? '' : `: LEFT OUT, ${leftOut}`}`,
      ...does.map((line) => `       ${line}`),
    ]),
    '',
    '  At the end, and whenever it is stopped, all of it is taken away, and looked for afterwards.',
    kills.length === 0 ? '  Nothing is killed.' : '  Killed is only what is named above, from `drill.targets`.',
    touches.length === 0 ? '  Production is not touched.' : `  TOUCHES what runs at a site: ${touches.join('; ')}`,
    '',
  ];
}

const STATE_SIGNS = { held: '✔', failed: '✘', 'left out': '–', 'not reached': '·' } as const;

function stageLine({ stage, state, note, seconds }: StageResult): string {
  const took = seconds > 0 ? formatDuration(seconds * 1_000) : '';
  return `  ${STATE_SIGNS[state]} ${STAGE_TITLES[stage].padEnd(48)} ${state.padEnd(11)} ${took.padStart(8)}  ${note}`.trimEnd();
}

export function resultLines(result: DrillResult): string[] {
  const { application, outcome, because, stages, isolation, speeds, recoveries, remains, reportId } = result;
  const refused = isolation?.production.filter(({ connected }) => !connected).length ?? 0;
  return [
    '',
    `Drill of ${application}: ${outcome}. ${because}`,
    ...stages.map(stageLine),
    ...(isolation
      ? [
          `  isolation    ${refused} of ${isolation.production.length} connections to production failed, as they have to`,
        ]
      : []),
    ...speeds.map(
      ({ url, p50Milliseconds, p95Milliseconds, baselineMilliseconds }) =>
        `  speed        ${url}: p50 ${p50Milliseconds} ms, p95 ${p95Milliseconds} ms (${baselineMilliseconds === null ? 'begins the baseline' : `baseline ${baselineMilliseconds} ms`})`,
    ),
    ...recoveries.map((each) => `  recovery     ${recoveryLine(each)}`),
    remains === null
      ? '  ! nobody could look what was left behind'
      : remains.length === 0
        ? '  clean        nothing of it is left'
        : `  ! LEFT BEHIND: ${remains.join('; ')}`,
    `  report       ${reportId} (drctl drill show)`,
  ];
}

function statusLines(status: DrillStatus, now: Date): string[] {
  return [
    `Drill of ${status.application}: ${status.phase}`,
    `  ${durationText(status, now)}`,
    ...status.stages.map(stageLine),
    '',
    ...status.steps.map(stepLine),
    ...status.messages.map((message) => `  ! ${message}`),
  ];
}
