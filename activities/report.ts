import type { RunReport } from '../core/report/run-report';
import { writeReport } from '../core/report/write';
import { withCallContext } from './context';
import type { ActivityDeps } from './deps';

export function createReportActivities(deps: ActivityDeps) {
  return {
    /** See `writeReport`. */
    async storeReport(input: { application: string; report: RunReport }): Promise<string> {
      return withCallContext(async () => writeReport(deps.open(input.application).control, input.report));
    },
  };
}
