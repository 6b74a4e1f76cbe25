import { workflowInfo } from '@temporalio/workflow';
import { judgeDrillRun, type StageResult } from '../../core/drill-judgements';
import type { DrillInput, DrillOutcome, DrillResult } from '../../core/drill-runs';
import { DRILL_STAGES, STAGE_TITLES } from '../../core/drill';
import { copyReport } from '../../core/report/from-restore';
import { reasonOf } from '../../core/errors';
import type { Severity } from '../../core/notify';
import { leaveReport } from '../leave-report';
import { telling } from '../proxies';
import { type StepTable, wasCancelled } from '../step-table';
import { cleanUp, takeInventory } from './clean-up';
import type { DrillRun, Stop } from './run';

/** The last page, whatever stopped the drill: everything is taken away and looked for, people are told, the report is stored. */
export async function endDrill(run: DrillRun, stop: Stop, error: unknown): Promise<DrillResult> {
  const reached = new Set(run.stages.map(({ stage }) => stage));
  for (const stage of DRILL_STAGES)
    if (!reached.has(stage))
      run.stages.push({ stage, state: 'not reached', note: 'the drill was stopped', seconds: 0 });
  await cleanUp(run);
  const byRoleChange = stop.by?.by.startsWith('role-change:') ?? false;
  const remains = await takeInventory(run, byRoleChange);
  const judged = judgeDrillRun(run.stages, remains);
  const outcome: DrillOutcome = stop.by
    ? 'aborted'
    : wasCancelled(error)
      ? 'cancelled'
      : error === null
        ? judged.outcome
        : 'failed';
  const because = stop.by
    ? `aborted by ${stop.by.by}: ${stop.by.reason}`
    : error === null || wasCancelled(error)
      ? judged.because
      : reasonOf(error);
  const { site, drillId, stages, isolation, speeds, recoveries, warnings, app } = run;
  const broken = stages.filter(({ state }) => state === 'failed').map(lineOf);
  const result: DrillResult = {
    ...{ application: app.name, drillId, outcome, because, site, stages, isolation, speeds, recoveries, remains },
    // A drill that was stopped has achieved nothing, and has failed nothing either.
    verdict:
      outcome === 'aborted' || outcome === 'cancelled'
        ? remains?.length === 0
          ? 'unchanged'
          : 'attention'
        : judged.verdict,
    warnings: [...broken, ...warnings, ...stages.filter(({ gap }) => gap).map(lineOf)],
    reportId: `drill-${workflowInfo().runId}`,
  };
  await tellTheEnd(run, result);
  await report(run.steps, run.input, result, run);
  run.steps.finish(outcome);
  return result;
}

const lineOf = ({ stage, note }: StageResult) => `${STAGE_TITLES[stage]}: ${note}`;

async function report(steps: StepTable, input: DrillInput, result: DrillResult, run: DrillRun): Promise<void> {
  const { workflowId, runId } = workflowInfo();
  const { site, stages, isolation, speeds, recoveries, remains } = result;
  await leaveReport(
    steps,
    copyReport({
      ...{ kind: 'drill', workflowId, runId, application: result.application, requestedBy: input.requestedBy },
      ...{ outcome: result.outcome, verdict: result.verdict, because: result.because },
      requestReason: input.reason ?? null,
      decisions: null,
      stores: run.app.stores.map(({ name, engine }) => ({ store: name, engine })),
      steps: steps.steps,
      warnings: result.warnings,
      messages: steps.messages,
      startedAt: steps.startedAt,
      endedAt: new Date().toISOString(),
      endpoints: run.endpoints,
      drill: { site, stages, isolation, speeds, recoveries, remains },
    }),
  );
}

/** Nothing was made by then. A schedule's drill that does not take place is news. */
export async function couldNotBegin(steps: StepTable, { application }: DrillInput, error: unknown): Promise<void> {
  await tell(steps, application, 'not begun', 'warning', `Drill of ${application} could not begin`, [
    reasonOf(error),
    'Nothing was done. Try it again with: drctl drill run',
  ]);
  steps.finish('failed');
}

/** Stakeholders hear that it begins: whoever sees scratch servers or a new name should know whose they are. */
export async function tellTheBegin({ app, steps, input, site, drillId }: DrillRun): Promise<void> {
  if (!app.drill.tellPeople) return;
  await tell(steps, app.name, 'begin', 'info', `Drill of ${app.name} begins at ${site}`, [
    `Asked for by ${input.requestedBy}${input.reason ? `: ${input.reason}` : ''}; drill ${drillId}.`,
    'Production is not touched: copies of its stores, a name of its own, services without a way out.',
    'Stop it with: drctl drill abort --reason "…"',
  ]);
}

async function tellTheEnd({ app, steps }: DrillRun, { outcome, verdict, because, stages, warnings }: DrillResult) {
  const isBad = verdict === 'failed' || verdict === 'attention';
  if (!app.drill.tellPeople && !isBad) return;
  const severity: Severity = verdict === 'failed' ? 'critical' : isBad ? 'warning' : 'info';
  await tell(steps, app.name, 'end', severity, `Drill of ${app.name}: ${outcome}`, [
    because,
    ...stages.map(({ stage, state, note }) => `${STAGE_TITLES[stage]}: ${state}; ${note}`),
    ...warnings.filter((line) => line.startsWith('left behind')),
    'Its report: drctl drill show',
  ]);
}

async function tell(
  steps: StepTable,
  application: string,
  id: string,
  severity: Severity,
  title: string,
  lines: readonly string[],
): Promise<void> {
  const at = new Date().toISOString();
  const news = {
    id: `${workflowInfo().runId}:${id}`,
    application,
    severity,
    title,
    lines,
    at,
    fields: { kind: 'drill' },
  };
  await steps.attempt(`notify:${id}`, `Tell people: ${title}`, () => telling(application).notify(news));
}
