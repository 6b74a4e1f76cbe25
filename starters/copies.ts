import { copiesOfAll } from '../config/copies';
import { formatBytes, formatDuration } from '../core/clock';
import { copyLagSeconds, type CopyComparison } from '../core/copies';
import type { CopyStoresInput, CopyStoresResult } from '../core/copy-runs';
import { failure, isFailureCode } from '../core/errors';
import { FAILURES } from '../core/failure-classes';
import { workflowIds } from '../core/names';
import { follow } from './follow';
import { backTo, newRunName, printDetached, startRun } from './runs';
import type { Session } from './session';
import { shortTime, tableLines } from './table';

/** Every copy of the stores, or those to one repository. Throws UsageInvalid where there is none. */
export function copiesNamed(session: Session, stores: readonly string[], to?: string): CopyStoresInput['copies'] {
  const found = copiesOfAll(session.config, stores).filter(({ copy }) => to === undefined || copy === to);
  if (found.length > 0) return found;
  const which = to === undefined ? 'copied anywhere' : `copied to "${to}"`;
  throw failure('UsageInvalid', `${stores.join(', ')}: nothing of this is ${which}`, {
    next: 'Name repositories under `copies` in the config (docs/copies.md).',
  });
}

export interface ShownCopy extends CopyComparison {
  /** Null: it was never complete. */
  readonly lagSeconds: number | null;
}

/** What the copies hold and lack, by their listings; needs no Temporal. */
export async function lookAtCopies(session: Session, wanted: CopyStoresInput['copies']): Promise<ShownCopy[]> {
  const open = await session.open();
  return Promise.all(
    wanted.map(async ({ store, copy }) => {
      const found = open.copies(store).find(({ name }) => name === copy);
      if (!found) throw failure('NotFound', `${store} is not copied to "${copy}"`);
      const compared = await found.copier.compare();
      const { completeUntil } = compared;
      const at = session.io.now().toISOString();
      return { ...compared, lagSeconds: copyLagSeconds(completeUntil === null ? null : { completeUntil }, at) };
    }),
  );
}

export function copyLines(copies: readonly ShownCopy[]): string[] {
  const rows = copies.map((each) => [
    each.store,
    each.copy,
    behindText(each),
    `${each.backups}`,
    each.missing.length === 0 ? '-' : `${each.missing.length}`,
    each.more.length === 0 ? '-' : `${each.more.length}`,
    each.location,
  ]);
  return [
    ...tableLines(['store', 'copy', 'complete until', 'backups', 'missing', 'only there', 'location'], rows),
    ...copies.flatMap(({ store, copy, notCopied }) =>
      notCopied.map(({ problem }) => `${store}: not copied to ${copy}: ${problem}`),
    ),
  ];
}

function behindText({ completeUntil, lagSeconds, maxLagSeconds }: ShownCopy): string {
  if (completeUntil === null || lagSeconds === null) return 'never';
  const late = lagSeconds > maxLagSeconds ? ', TOO FAR BEHIND' : '';
  return `${shortTime(completeUntil)} (${formatDuration(lagSeconds * 1_000)} ago${late})`;
}

export async function startCopies(
  session: Session,
  request: Pick<CopyStoresInput, 'copies' | 'wholeListing'> & { readonly detach: boolean },
): Promise<number> {
  const { application, io } = session;
  const { copies, wholeListing, detach } = request;
  const workflowId = workflowIds.copies(application, newRunName(io.now()));
  const input: CopyStoresInput = { application, copies, wholeListing, requestedBy: io.user };
  const summary = `copies of ${[...new Set(copies.map(({ store }) => store))].join(', ')} (${io.user})`;
  const handle = await startRun(session, { workflowId, type: 'copyStores', input, summary });
  if (!detach) return follow(session, handle, { back: backTo(workflowId), lines: resultLines, exitCode: exitCodeOf });
  printDetached(session, workflowId, backTo(workflowId));
  return 0;
}

export function resultLines({ copied, failed, skipped }: CopyStoresResult): string[] {
  const rows = copied.map(({ store, copy, backups, log, others, completeUntil, seconds }) => [
    ...[store, copy, `${backups.objects}`, `${log.objects}`, formatBytes(backups.sizeBytes + log.sizeBytes)],
    ...[`${others.objects}`, shortTime(completeUntil), formatDuration(seconds * 1_000)],
  ]);
  const titles = ['store', 'copy', 'backups', 'log', 'sent', 'keys and notes', 'complete until', 'took'];
  return [
    ...(rows.length > 0 ? ['Copied:', ...tableLines(titles, rows)] : []),
    ...copied.flatMap(({ store, copy, notCopied }) =>
      notCopied.map(({ problem }) => `${store}: NOT COPIED to ${copy}: ${problem}`),
    ),
    ...skipped.map(({ store, copy }) => `${store}: its copy to ${copy} is being made already`),
    ...failed.map(({ store, copy, message }) => `${store}: the copy to ${copy} FAILED, ${message}`),
  ];
}

/** What could not be copied is damage of the source, and is told by that code. */
function exitCodeOf({ copied, failed }: CopyStoresResult): number {
  if (copied.some(({ notCopied }) => notCopied.length > 0)) return FAILURES.BackupCorrupt.exitCode;
  const [first] = failed;
  if (!first) return 0;
  return isFailureCode(first.code) ? FAILURES[first.code].exitCode : 1;
}
