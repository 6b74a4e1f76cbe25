import type { FailedBackups } from '../core/monitoring/tally';
import { workflowIds } from '../core/names';
import { workflowTypes } from '../core/runs';

/** The part of Temporal's client that is asked. */
export interface RunList {
  readonly workflow: {
    list(options: {
      readonly query: string;
    }): AsyncIterable<{ readonly workflowId: string; readonly runId: string; readonly closeTime?: Date | undefined }>;
  };
}

/** Somebody who cancels a backup knows that there is none: only what ended by itself or by force has failed. */
const FAILED = "ExecutionStatus IN ('Failed', 'TimedOut', 'Terminated')";

/** Backups that ended without one, by Temporal's list of runs. */
export function failedBackupsOf(client: RunList): FailedBackups {
  return async (application, since) => {
    const prefix = workflowIds.backup(application, '');
    const ofBackups = `DrApplication = '${application}' AND WorkflowType = '${workflowTypes.backUpStore}' AND ${FAILED}`;
    const query = since === null ? ofBackups : `${ofBackups} AND CloseTime >= '${since}'`;
    const failed = [];
    for await (const { workflowId, runId, closeTime } of client.workflow.list({ query })) {
      if (!workflowId.startsWith(prefix) || !closeTime) continue;
      failed.push({ store: workflowId.slice(prefix.length), runId, endedAt: closeTime.toISOString() });
    }
    return failed;
  };
}
