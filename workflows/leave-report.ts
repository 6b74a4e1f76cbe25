import { CancellationScope } from '@temporalio/workflow';
import { reasonOf } from '../core/errors';
import type { RunReport } from '../core/report/run-report';
import { telling } from './proxies';
import type { StepTable } from './step-table';

/** Stores the report of a run, also of one that was cancelled. One that cannot be stored is said; it changes no outcome. */
export async function leaveReport(steps: StepTable, report: RunReport): Promise<void> {
  try {
    await CancellationScope.nonCancellable(() =>
      telling(report.application).storeReport({ application: report.application, report }),
    );
  } catch (error) {
    steps.say(`the report could not be stored: ${reasonOf(error)}`);
  }
}
