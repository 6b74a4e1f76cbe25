import { condition, workflowInfo } from '@temporalio/workflow';
import { type ChecklistPlan, concernOf, isException } from '../core/checklist';
import type { ChecklistInput, ChecklistOutcome, ChecklistResult } from '../core/checklist-runs';
import { copyReport } from '../core/report/from-restore';
import type { RunReport } from '../core/report/run-report';
import { lookAt, newRound } from './checklist/checks';
import { ChecklistControl } from './checklist/control';
import { tell } from './checklist/news';
import { leaveReport } from './leave-report';
import { anywhere } from './proxies';
import { wasCancelled } from './step-table';

/**
 * One list of the strategy, once: what a machine can look at is looked at, with what was found; the rest waits for people,
 * who are told, reminded, and told louder. Ends when everything is done, or is overdue with what is still open, and leaves
 * a report either way.
 */
export async function workThroughChecklist(input: ChecklistInput): Promise<ChecklistResult> {
  const { application, period } = input;
  const list = new ChecklistControl(input);
  let outcome: ChecklistOutcome;
  try {
    const plan = await anywhere(application).describeChecklist({ application, period });
    list.begin(plan);
    const told = await workThrough(list, plan, input);
    outcome = list.open.length === 0 ? 'done' : 'overdue';
    list.end(outcome);
    if (told || outcome === 'overdue') await tell(list, input, 'end');
  } catch (error) {
    if (!wasCancelled(error)) throw error;
    await report(list, input, { outcome: `${period}: cancelled`, verdict: 'failed', because: 'the run was cancelled' });
    throw error;
  }
  await report(list, input, endOf(list, period));
  list.steps.finish(outcome);
  return { application, period, outcome, items: list.items };
}

/** Answers whether anybody was told of the list: then they also hear how it ended. */
async function workThrough(list: ChecklistControl, plan: ChecklistPlan, input: ChecklistInput): Promise<boolean> {
  const startedAt = Date.parse(list.steps.startedAt);
  const momentAfter = (seconds: number) => startedAt + seconds * 1_000;
  list.steps.enter('looking');
  await lookAtAll(list, input, 0);
  if (list.open.length === 0) return false;

  list.steps.enter('waiting for people');
  await tell(list, input, 'begin');
  for (let round = 1; ; round += 1) {
    const [escalates, due] = [momentAfter(plan.escalateSeconds), momentAfter(plan.dueSeconds)];
    const reminds = Date.now() + plan.remindSeconds * 1_000;
    const next = Math.min(reminds, due, escalates > Date.now() ? escalates : Infinity);
    await condition(() => list.open.length === 0, next - Date.now());
    // Before anybody is reminded: what was mended since needs nobody any more.
    await lookAtAll(list, input, round);
    if (list.open.length === 0 || Date.now() >= due) return true;
    await tell(list, input, Date.now() >= escalates ? 'escalation' : 'reminder', round);
  }
}

/** Everything that has a check at first, later what failed. */
async function lookAtAll(
  list: ChecklistControl,
  { application, period }: ChecklistInput,
  number: number,
): Promise<void> {
  const round = newRound(application, period, number);
  const wanted = list.items.filter(({ state }) => number === 0 || state === 'failing');
  await Promise.all(wanted.map(async ({ id, check }) => check && list.look(id, () => lookAt(check, round))));
}

function endOf(list: ChecklistControl, period: string): Pick<RunReport, 'outcome' | 'verdict' | 'because'> {
  const { items, open, outcome } = list;
  const exceptions = items.filter(isException).length;
  const done = `${items.length - open.length} of ${items.length} items are done`;
  const verdict = open.length > 0 ? 'failed' : exceptions > 0 ? 'attention' : 'achieved';
  const because = exceptions > 0 ? `${done}, ${exceptions} signed although the check did not hold` : done;
  return { outcome: `${period}: ${outcome}`, verdict, because };
}

async function report(
  { steps, decisions, items, open }: ChecklistControl,
  { application, requestedBy }: ChecklistInput,
  end: Pick<RunReport, 'outcome' | 'verdict' | 'because'>,
): Promise<void> {
  const { workflowId, runId } = workflowInfo();
  await leaveReport(
    steps,
    copyReport({
      ...{ kind: 'checklist', workflowId, runId, application, requestedBy, decisions, ...end },
      stores: [],
      steps: steps.steps,
      warnings: items.filter((item) => open.includes(item) || isException(item)).map(concernOf),
      messages: steps.messages,
      startedAt: steps.startedAt,
      endedAt: new Date().toISOString(),
    }),
  );
}
