import { getExternalWorkflowHandle, ParentClosePolicy, startChild, workflowInfo } from '@temporalio/workflow';
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import type { Application } from '../../core/application';
import { workflowIds } from '../../core/names';
import { archiveLog } from '../archive-log';
import { moveToSignal } from '../follow';
import { launchBackups } from '../launch-backups';
import { watchReplication } from '../watch-replication';

/**
 * After a role change: archivers and the watch follow the new site (started where they did not run), and a new full backup
 * of every store with a log begins, because the old chain ends with the old primary. Nothing here is waited for: users are
 * served already.
 */
export async function continueAt(app: Application, site: string, epoch: number): Promise<void> {
  const application = app.name;
  const follow = async (workflowId: string, start: () => Promise<unknown>) => {
    try {
      await start();
    } catch (error) {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
      await getExternalWorkflowHandle(workflowId).signal(moveToSignal, { epoch });
    }
  };
  const abandoned = { parentClosePolicy: ParentClosePolicy.ABANDON } as const;
  const logged = app.stores.filter((store) => store.hasLog).map((store) => store.name);
  for (const store of logged) {
    const workflowId = workflowIds.archive(application, store);
    await follow(workflowId, () =>
      startChild(archiveLog, { ...abandoned, workflowId, args: [{ application, store }] }),
    );
  }
  const watchId = workflowIds.watch(application);
  await follow(watchId, () =>
    startChild(watchReplication, { ...abandoned, workflowId: watchId, args: [{ application }] }),
  );
  // Backups of the lost site's servers can never end by themselves, and hold the ids that the new ones need.
  for (const { name } of app.stores) {
    try {
      await getExternalWorkflowHandle(workflowIds.backup(application, name)).cancel();
    } catch {
      // None was running, as a rule. Losing another reason is the design: the launcher below waits for one that still runs.
    }
  }
  await startChild(launchBackups, {
    ...abandoned,
    workflowId: `${application}-new-lineage-${epoch}-${workflowInfo().runId}`,
    args: [
      { application, stores: logged, type: 'full', reason: `new lineage of epoch ${epoch}`, waitForRunning: true },
    ],
    staticSummary: `first backups at ${site} after the role change`,
  });
}
