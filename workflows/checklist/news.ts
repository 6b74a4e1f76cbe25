import { workflowInfo } from '@temporalio/workflow';
import { concernOf } from '../../core/checklist';
import type { ChecklistInput } from '../../core/checklist-runs';
import { reasonOf } from '../../core/errors';
import type { Notification, Severity } from '../../core/notify';
import { telling } from '../proxies';
import { wasCancelled } from '../step-table';
import type { ChecklistControl } from './control';

type News = 'begin' | 'reminder' | 'escalation' | 'end';

/** Nobody to tell people, or to be told, ends no list: it is said, and people hear of it with the next reminder. */
export async function tell(list: ChecklistControl, input: ChecklistInput, news: News, round = 0): Promise<void> {
  try {
    await telling(input.application).notify(newsOf(list, input, news, round));
  } catch (error) {
    if (wasCancelled(error)) throw error;
    list.steps.say(`people could not be told (${news}): ${reasonOf(error)}`);
  }
}

function newsOf(
  list: ChecklistControl,
  { application, period }: ChecklistInput,
  news: News,
  round: number,
): Notification {
  const { open, dueAt, outcome } = list;
  const failing = open.filter(({ state }) => state === 'failing').length;
  const loud = {
    begin: failing > 0 ? 'warning' : 'info',
    reminder: 'warning',
    escalation: 'critical',
    end: 'critical',
  };
  const severity = outcome === 'done' ? 'info' : (loud[news] as Severity);
  const words = { begin: '', reminder: 'still ', escalation: 'still ', end: 'overdue, ' }[news];
  const waiting = `${open.length} to do${failing > 0 ? `, ${failing} failing` : ''}`;
  const { workflowId, runId } = workflowInfo();
  return {
    id: `checklist:${runId}:${news}:${round}`,
    application,
    severity,
    title: `${period} checklist of ${application}: ${outcome === 'done' ? 'done' : `${words}${waiting}`}`,
    lines: [
      ...open.map(concernOf),
      ...(outcome === null
        ? [`Due ${dueAt ?? ''}. Sign with: drctl checklist sign <item> --by <name> --note <what was looked at>`]
        : ['The report: drctl report show']),
    ],
    at: new Date().toISOString(),
    fields: { kind: 'checklist', period, run: workflowId, status: outcome ?? 'open' },
  };
}
