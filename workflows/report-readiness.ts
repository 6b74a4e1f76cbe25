import { lastMonth } from '../core/readiness-report/period';
import type { ReportReadinessInput, ReportReadinessResult } from '../core/readiness-report/runs';
import { resultLines } from '../core/readiness-report/result-lines';
import { disksOfAllSites } from './checklist/checks';
import { anywhere, telling } from './proxies';
import { StepTable } from './step-table';

/**
 * The report on a month for those who answer for the application: what was promised against what was measured, and what is
 * open. It changes nothing but the report; any site can make it.
 */
export async function reportReadiness(input: ReportReadinessInput): Promise<ReportReadinessResult> {
  const { application, requestedBy } = input;
  const steps = new StepTable('report', application);
  const at = steps.startedAt;
  const month = input.month ?? lastMonth(at);
  const disks = await steps.run(
    'disks',
    'Look at the disks of the workers',
    () => disksOfAllSites(application),
    (found) => `${found.filter((each) => !('holds' in each)).length} seen`,
  );
  const made = await steps.run(
    'make',
    `Put the report of ${month} together`,
    () => anywhere(application).makeReadinessReport({ application, month, at, requestedBy, disks }),
    ({ id, outcome }) => `${id}: ${outcome}`,
  );
  if (input.tell) await steps.attempt('tell', 'Tell people', () => tell(made, at));
  steps.finish(made.outcome);
  return made;
}

async function tell(made: ReportReadinessResult, at: string): Promise<void> {
  const { application, id, title, outcome, verdict } = made;
  await telling(application).notify({
    id: `report:${application}:${id}:${at}`,
    application,
    // Not kept is news for whoever hears of warnings; what fails now was told when it began.
    severity: verdict === 'achieved' ? 'info' : 'warning',
    title: `${title}: ${outcome}`,
    lines: [...resultLines(made), `The page: drctl report open ${id}`],
    at,
    fields: { kind: 'readiness-report', report: id, verdict },
  });
}
