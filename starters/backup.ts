import { formatBytes, formatDuration } from '../core/clock';
import type { BackupType } from '../core/catalog';
import { isFailureCode } from '../core/errors';
import { FAILURES } from '../core/failure-classes';
import type { LaunchBackupsInput, LaunchBackupsResult } from '../core/runs';
import { follow } from './follow';
import { backTo, newRunName, printDetached, startRun } from './runs';
import { runAsScript } from './script';
import type { Session } from './session';
import { shortTime, tableLines } from './table';

export interface BackupRequest {
  readonly stores: readonly string[];
  readonly type: BackupType;
  readonly detach: boolean;
}

/** Backs up stores, each as its own workflow below one launcher, and shows what came of it. Answers the exit code. */
export async function startBackup(session: Session, { stores, type, detach }: BackupRequest): Promise<number> {
  const { application, io } = session;
  const input: LaunchBackupsInput = { application, stores, type, reason: `asked for by ${io.user}` };
  const workflowId = `launch:${application}:${newRunName(io.now())}`;
  const handle = await startRun(session, {
    workflowId,
    type: 'launchBackups',
    input,
    summary: `${type} backup of ${stores.join(', ')} (${io.user})`,
  });
  const back = backTo(workflowId);
  if (!detach) return follow(session, handle, { back, lines: backupResultLines, exitCode: exitCodeOf });
  printDetached(session, workflowId, back);
  return 0;
}

export function backupResultLines({ backups, failed, skipped }: LaunchBackupsResult): string[] {
  const rows = backups.map((each) => [
    each.store,
    each.backupId,
    shortTime(each.consistentAt),
    formatBytes(each.storedBytes),
    formatBytes(each.contentBytes),
    formatDuration(each.seconds * 1_000),
  ]);
  return [
    ...(rows.length > 0 ? ['', ...tableLines(['store', 'backup', 'state of', 'stored', 'content', 'took'], rows)] : []),
    ...backups.flatMap(({ store, typeReason }) => (typeReason ? [`${store}: ${typeReason}`] : [])),
    ...skipped.map((store) => `${store}: not started, its earlier backup is still running`),
    ...failed.flatMap(({ store, code, message }) => [
      `${store}: FAILED, ${message}`,
      ...(isFailureCode(code) ? [`  data: ${FAILURES[code].data}`, `  next: ${FAILURES[code].next}`] : []),
    ]),
  ];
}

/** That of the first store that failed; LockHeld's when one was only skipped. */
function exitCodeOf({ failed, skipped }: LaunchBackupsResult): number {
  const [first] = failed;
  if (first) return isFailureCode(first.code) ? FAILURES[first.code].exitCode : 1;
  return skipped.length > 0 ? FAILURES.LockHeld.exitCode : 0;
}

runAsScript(module, 'backup');
