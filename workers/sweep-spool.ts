import { Client } from '@temporalio/client';
import type { NativeConnection } from '@temporalio/worker';
import type { Spool } from '../adapters/volumes/spool';
import { workflowIds } from '../core/names';
import { isRunning } from './is-running';
import { logger } from './runtime';

/**
 * Removes what dumps left in this host's spool while it was away: their backups have ended without it, on another host or
 * not at all. A backup that runs keeps its spool. Called once, before the worker takes work.
 */
export async function sweepSpool(
  connection: NativeConnection,
  namespace: string,
  application: string,
  spool: Spool,
): Promise<void> {
  const client = new Client({ connection, namespace });
  for (const { store, backupId, sizeBytes } of await spool.list()) {
    if (await isRunning(client, workflowIds.backup(application, store))) continue;
    logger.info({ application, store, backupId, sizeBytes }, 'removing the spool of a backup that ended elsewhere');
    await spool.remove(store, backupId);
  }
}
