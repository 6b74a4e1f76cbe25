import { executeChild, ParentClosePolicy, sleep } from '@temporalio/workflow';
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { findFailure, reasonOf } from '../core/errors';
import { workflowIds } from '../core/names';
import type { BackUpStoreResult, LaunchBackupsInput, LaunchBackupsResult } from '../core/runs';
import { backUpStore } from './back-up-store';
import { StepTable } from './step-table';

/**
 * Started by a schedule or a person; backs up several stores at once. Schedules append a time to their workflow's id, so
 * the lock is the child's id `backup:<application>:<store>`: a store whose backup still runs is skipped and said so, and
 * one that fails does not stop the others.
 */
export async function launchBackups(input: LaunchBackupsInput): Promise<LaunchBackupsResult> {
  const { application, stores } = input;
  const steps = new StepTable('launch', application);
  const backups: BackUpStoreResult[] = [];
  const failed: { store: string; code: string; message: string }[] = [];
  const skipped: string[] = [];
  for (const store of stores) steps.announce(store, `Back up ${store}`);
  steps.enter('backing up');

  await Promise.all(
    stores.map(async (store) => {
      try {
        backups.push(
          await steps.run(
            store,
            `Back up ${store}`,
            () => backUp(input, store),
            (result) => result.backupId,
          ),
        );
      } catch (error) {
        if (error instanceof WorkflowExecutionAlreadyStartedError) {
          steps.mark(store, 'skipped', 'its earlier backup is still running');
          skipped.push(store);
        } else {
          failed.push({ store, code: findFailure(error)?.code ?? 'Unknown', message: reasonOf(error) });
        }
      }
    }),
  );
  steps.finish(failed.length > 0 ? 'completed with failures' : 'completed');
  return { backups, failed, skipped };
}

/** A cancelled backup whose host is gone needs two minutes to clean up (heartbeat, then its host's queue). */
const SOON_ATTEMPTS = 60;
/** One that really runs may take hours: five minutes apart these are a day. */
const PATIENCE_ATTEMPTS = SOON_ATTEMPTS + 288;

async function backUp(input: LaunchBackupsInput, store: string): Promise<BackUpStoreResult> {
  const { application, type, reason, waitForRunning = false } = input;
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await executeChild(backUpStore, {
        workflowId: workflowIds.backup(application, store),
        args: [{ application, store, type, reason }],
        // A person who stops the launcher does not mean to lose backups that are half done.
        parentClosePolicy: ParentClosePolicy.ABANDON,
        staticSummary: `${type} backup of ${store} (${reason})`,
      });
    } catch (error) {
      const running = error instanceof WorkflowExecutionAlreadyStartedError;
      if (!running || !waitForRunning || attempt >= PATIENCE_ATTEMPTS) throw error;
      await sleep(attempt < SOON_ATTEMPTS ? '10 seconds' : '5 minutes');
    }
  }
}
