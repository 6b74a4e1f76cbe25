import { atCopy } from '../activities/copies';
import { amountsOf } from '../activities/retention';
import { type LogGroup, lookAtRetention, type RetentionLook } from '../activities/retention-look';
import { copiesOfAll } from '../config/copies';
import { countOf, formatBytes } from '../core/clock';
import { failure, isFailureCode } from '../core/errors';
import { FAILURES } from '../core/failure-classes';
import { isBackupId } from '../core/layout';
import { type KeptFor, keptForText } from '../core/retention/decisions';
import {
  type ApplyRetentionInput,
  type ApplyRetentionResult,
  placeText,
  type RetentionAmounts,
} from '../core/retention/runs';
import { workflowIds } from '../core/names';
import { follow } from './follow';
import { quietContext } from './quiet-context';
import { backTo, printDetached, startRun } from './runs';
import type { Session } from './session';
import { shortTime, tableLines } from './table';

/** What `drctl retention plan --output json` has for each store. Times ISO 8601. */
export interface ShownPlan {
  readonly store: string;
  /** The repository of the copy; absent where it is the store's own. */
  readonly copy?: string;
  readonly newest: string | null;
  readonly problems: readonly string[];
  readonly stored: {
    readonly backups: number;
    readonly backupBytes: number;
    readonly logPieces: number;
    readonly logBytes: number;
  };
  readonly deletable: RetentionAmounts;
  readonly backups: readonly {
    readonly backupId: string;
    readonly storedBytes: number;
    readonly keptFor: readonly KeptFor[];
    readonly deletableSince: string | null;
  }[];
  /** Pieces that follow each other and share their fate. */
  readonly log: readonly ShownLog[];
  readonly leftovers: readonly {
    readonly backupId: string;
    readonly objects: number;
    readonly sizeBytes: number;
    readonly newestAt: string;
  }[];
  readonly unfinishedUploads: readonly { readonly key: string; readonly startedAt: string }[];
}

interface ShownLog extends Omit<LogGroup, 'oldestAt' | 'newestAt'> {
  readonly oldestAt: string;
  readonly newestAt: string;
  readonly deletableSince: string | null;
}

/** What retention would do to each store now; deletes nothing. */
export async function planRetention(session: Session, stores: readonly string[], copy?: string): Promise<ShownPlan[]> {
  const open = atCopy(await session.open(), copy);
  const plans: ShownPlan[] = [];
  for (const store of stores) {
    const look = await lookAtRetention(open, store, session.io.now().getTime(), quietContext());
    plans.push({ ...shown(look), ...(copy === undefined ? {} : { copy }) });
  }
  return plans;
}

const iso = (milliseconds: number) => new Date(milliseconds).toISOString();

function shown(look: RetentionLook): ShownPlan {
  const { plan, log, leftovers, unfinishedUploads } = look;
  const sum = <T>(all: readonly T[], of: (each: T) => number) => all.reduce((total, each) => total + of(each), 0);
  return {
    store: plan.store,
    newest: plan.newest,
    problems: plan.problems,
    stored: {
      backups: plan.backups.length,
      backupBytes: sum(plan.backups, ({ storedBytes }) => storedBytes),
      logPieces: sum(log, ({ objects }) => objects),
      logBytes: sum(log, ({ sizeBytes }) => sizeBytes),
    },
    deletable: amountsOf(look),
    backups: plan.backups.map(({ deletableSince, ...each }) => ({
      ...each,
      deletableSince: deletableSince === null ? null : iso(deletableSince),
    })),
    log: log.map(({ oldestAt, newestAt, ...each }) => ({
      ...each,
      oldestAt: iso(oldestAt),
      newestAt: iso(newestAt),
      deletableSince: each.keptFor === null ? iso(plan.log?.expiredAt({ storedAt: oldestAt }) ?? oldestAt) : null,
    })),
    leftovers: leftovers.map(({ newestAt, ...each }) => ({ ...each, newestAt: iso(newestAt) })),
    unfinishedUploads: unfinishedUploads.map(({ key, startedAt }) => ({ key, startedAt })),
  };
}

export function planLines(plans: readonly ShownPlan[], onlyDeletable: boolean): string[] {
  return plans.flatMap((plan, index) => [...(index > 0 ? [''] : []), ...storeLines(plan, onlyDeletable)]);
}

function storeLines(plan: ShownPlan, onlyDeletable: boolean): string[] {
  const { stored, deletable, problems, leftovers, unfinishedUploads } = plan;
  const log = (pieces: number, bytes: number) =>
    pieces > 0 ? `, ${countOf(pieces, 'piece')} of log (${formatBytes(bytes)})` : '';
  const { backups, log: goingLog } = deletable;
  const rows = [...plan.backups.map(backupRow), ...plan.log.map(logRow)].filter(
    ([, , , , goes]) => !onlyDeletable || goes === 'goes',
  );
  return [
    `${placeText(plan)}: ${countOf(stored.backups, 'backup')} (${formatBytes(stored.backupBytes)})${log(stored.logPieces, stored.logBytes)}`,
    `  to go: ${countOf(backups.objects, 'backup')} (${formatBytes(backups.sizeBytes)})${log(goingLog.objects, goingLog.sizeBytes)}`,
    ...problems.map((problem) => `  ! ${problem}`),
    ...(rows.length > 0
      ? tableLines(
          ['object', 'pieces', 'stored', 'kept for, or deletable since'],
          rows.map((row) => row.slice(0, 4)),
        )
      : []),
    ...leftovers.map(
      (each) =>
        `  leftover: ${each.backupId} has no manifest: ${each.objects} objects, ${formatBytes(each.sizeBytes)}, since ${shortTime(each.newestAt)}`,
    ),
    ...unfinishedUploads.map(({ key, startedAt }) => `  unfinished upload: ${key}, begun ${shortTime(startedAt)}`),
  ];
}

type Row = readonly [object: string, pieces: string, stored: string, fate: string, goes: 'goes' | ''];

function backupRow({ backupId, storedBytes, keptFor, deletableSince }: ShownPlan['backups'][number]): Row {
  const fate =
    deletableSince === null ? keptFor.map(keptForText).join('; ') : `deletable since ${shortTime(deletableSince)}`;
  return [backupId, '', formatBytes(storedBytes), fate, deletableSince === null ? '' : 'goes'];
}

function logRow({
  lineage,
  firstKey,
  lastKey,
  objects,
  sizeBytes,
  keptFor,
  deletableSince,
  oldestAt,
  newestAt,
}: ShownLog): Row {
  const name = (key: string) => key.slice(key.lastIndexOf('/') + 1).replace(/\.zst$/, '');
  const which = objects === 1 ? name(firstKey) : `${name(firstKey)} … ${name(lastKey)}`;
  const stored = `stored ${shortTime(oldestAt)}${objects === 1 ? '' : ` to ${shortTime(newestAt)}`}`;
  const reason = keptFor?.why === 'age' ? `${stored}, its time is not over` : keptFor ? keptForText(keptFor) : '';
  const fate = deletableSince === null ? reason : `deletable since ${shortTime(deletableSince)}`;
  return [
    `log ${lineage}: ${which}`,
    `${objects}`,
    formatBytes(sizeBytes),
    fate,
    deletableSince === null ? '' : 'goes',
  ];
}

export interface ApplyRequest {
  readonly stores: readonly string[];
  readonly maxDeleteShare?: number;
  readonly graceSeconds?: number;
  readonly detach: boolean;
}

/** Starts the run that deletes, and shows what came of it. Answers the exit code. */
export async function startRetention(session: Session, { detach, ...request }: ApplyRequest): Promise<number> {
  const { application, io } = session;
  const workflowId = workflowIds.retention(application);
  const copies = copiesOfAll(session.config, request.stores);
  const input: ApplyRetentionInput = {
    ...{ application, requestedBy: io.user, isOnlyOne: true, ...request },
    ...(copies.length > 0 ? { copies } : {}),
  };
  const summary = `retention of ${request.stores.join(', ')} (${io.user})`;
  const handle = await startRun(session, { workflowId, type: 'applyRetention', input, summary });
  if (!detach) return follow(session, handle, { back: backTo(workflowId), lines: resultLines, exitCode: exitCodeOf });
  printDetached(session, workflowId, backTo(workflowId));
  return 0;
}

export function resultLines({ swept, failed, aborted }: ApplyRetentionResult): string[] {
  const rows = swept.map(({ backups, log, leftovers, newest, ...place }) => [
    placeText(place),
    `${backups.objects}`,
    formatBytes(backups.sizeBytes),
    `${log.objects}`,
    formatBytes(log.sizeBytes),
    `${leftovers.objects}`,
    newest ?? 'none',
  ]);
  const titles = ['store', 'backups', 'stored', 'log', 'stored', 'data objects', 'newest, kept'];
  return [
    ...(aborted === null ? [] : [`Aborted by ${aborted}. Nothing was deleted.`]),
    ...(rows.length > 0 ? ['Deleted:', ...tableLines(titles, rows)] : []),
    ...(rows.length === 0 && failed.length === 0 && aborted === null ? ['There was nothing to delete.'] : []),
    ...failed.flatMap(({ store, code, message }) => [
      `${store}: FAILED, ${message}`,
      ...(isFailureCode(code) ? [`  data: ${FAILURES[code].data}`] : []),
    ]),
  ];
}

function exitCodeOf({ failed }: ApplyRetentionResult): number {
  const [first] = failed;
  if (!first) return 0;
  return isFailureCode(first.code) ? FAILURES[first.code].exitCode : 1;
}

/** The store that has the backup. Throws NotFound. */
export async function storeOf(session: Session, backupId: string): Promise<string> {
  if (!isBackupId(backupId)) {
    throw failure('UsageInvalid', `"${backupId}" is not a backup id`, {
      next: 'Ids are listed by `drctl backups list`.',
    });
  }
  const open = await session.open();
  for (const store of Object.keys(session.config.stores)) {
    if ((await open.catalog(store).list(store)).some((each) => each.backupId === backupId)) return store;
  }
  throw failure('NotFound', `there is no backup ${backupId} of any store in ${session.config.file}`);
}
