import { workflowInfo } from '@temporalio/workflow';
import { findFailure, reasonOf } from '../core/errors';
import type { RestorePlan } from '../core/recovery';
import { copyReport } from '../core/report/from-restore';
import type { Decision, RunReport } from '../core/report/run-report';
import type { RestoreStoresInput } from '../core/runs';
import { leaveReport } from './leave-report';
import { type StepTable, wasCancelled } from './step-table';

/** What a restore has come to, for its report. */
export interface Course {
  readonly steps: StepTable;
  readonly decisions: Decision[];
  plans: readonly RestorePlan[];
}

type End = Pick<RunReport, 'outcome' | 'verdict' | 'because'>;

export function howItFailed(error: unknown): End {
  if (wasCancelled(error)) return { outcome: 'cancelled', verdict: 'failed', because: 'the run was cancelled' };
  const because = reasonOf(error);
  switch (findFailure(error)?.code) {
    case 'ApprovalRejected':
      return { outcome: 'rejected', verdict: 'unchanged', because };
    case 'ApprovalTimedOut':
      return { outcome: 'not approved', verdict: 'unchanged', because };
    default:
      return { outcome: 'failed', verdict: 'failed', because };
  }
}

export async function reportRestore(
  input: RestoreStoresInput,
  { steps, decisions, plans }: Course,
  end: End,
): Promise<void> {
  const { workflowId, runId } = workflowInfo();
  const { application, requestedBy } = input;
  const notes = plans.flatMap(({ store, notes: all }) => all.map((note) => `${store}: ${note}`));
  const facts = copyReport({
    ...{ kind: 'restore', workflowId, runId, application, requestedBy, decisions, ...end },
    stores: input.stores.map(({ store }) => ({
      store,
      engine: plans.find((plan) => plan.store === store)?.engine ?? 'unknown',
    })),
    steps: steps.steps,
    warnings: [],
    messages: [...notes, ...steps.messages],
    startedAt: steps.startedAt,
    endedAt: new Date().toISOString(),
  });
  await leaveReport(steps, facts);
}
