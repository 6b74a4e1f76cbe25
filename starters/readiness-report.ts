import { workflowIds } from '../core/names';
import { resultLines } from '../core/readiness-report/result-lines';
import type { ReportReadinessInput, ReportReadinessResult } from '../core/readiness-report/runs';
import { periodOf } from '../core/readiness-report/period';
import { follow } from './follow';
import { backTo, newRunName, printDetached, startRun } from './runs';
import type { Session } from './session';

/** Makes the report on a month, the one that goes on where none is named, and shows what is in it. Answers the exit code. */
export async function makeReadinessReport(
  session: Session,
  named: string | null,
  { detach }: { readonly detach: boolean },
): Promise<number> {
  const { application, io } = session;
  const now = io.now().toISOString();
  const { month } = periodOf(named ?? now.slice(0, 7), now);
  const input: ReportReadinessInput = { application, month, requestedBy: io.user, tell: detach };
  const workflowId = workflowIds.report(application, newRunName(io.now()));
  const summary = `readiness report of ${month} (${io.user})`;
  const handle = await startRun(session, { workflowId, type: 'reportReadiness', input, summary });
  const back = backTo(workflowId);
  if (!detach) return follow(session, handle, { back, lines: reportResultLines });
  printDetached(session, workflowId, back);
  return 0;
}

function reportResultLines(result: ReportReadinessResult): string[] {
  const { title, outcome, id } = result;
  return [
    '',
    `${title}: ${outcome}`,
    ...resultLines(result).map((line) => `  ${line}`),
    '',
    `  read it:  drctl report show ${id}`,
    `  the page: drctl report open ${id}`,
  ];
}
