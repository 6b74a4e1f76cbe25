import type { ItemState, ItemStatus } from '../core/checklist';
import type { ChecklistStatus } from '../core/checklist-runs';
import { failure, reasonOf } from '../core/errors';
import { plainText } from '../core/report/plain-text';
import { listRuns } from './commands/runs';
import { requireStatus } from './follow';
import { listReports, type ListedReport } from './reports';
import { sendCommand } from './send-command';
import type { Session } from './session';
import { relativeTime, shortTime, tableLines } from './table';

/** A list that people still work on; `problem` where no worker shows it. */
export interface OpenList {
  readonly workflowId: string;
  readonly startedAt: string;
  readonly status: ChecklistStatus | null;
  readonly problem: string | null;
}

/** At most one a period, besides those that somebody triggered by hand. */
const MOST_OPEN = 50;

/** Newest first. */
export async function openLists(session: Session): Promise<OpenList[]> {
  const runs = await listRuns(session, MOST_OPEN, " AND DrKind = 'checklist' AND ExecutionStatus = 'Running'");
  const { workflow } = await session.client();
  return Promise.all(
    runs.map(async ({ workflowId, startTime }) => {
      const startedAt = startTime.toISOString();
      try {
        const status = await requireStatus<ChecklistStatus>(session, workflow.getHandle(workflowId), workflowId);
        return { workflowId, startedAt, status, problem: null };
      } catch (error) {
        return { workflowId, startedAt, status: null, problem: reasonOf(error) };
      }
    }),
  );
}

export async function showLists(session: Session, limit: number): Promise<void> {
  // Temporal has the open ones, the repository the others: one that is away must not hide what the other has.
  const [open, past] = await Promise.allSettled([openLists(session), listReports(session, limit, 'checklist')]);
  if (open.status === 'rejected' && past.status === 'rejected') throw open.reason;
  const value = <T>(of: PromiseSettledResult<T>) =>
    of.status === 'fulfilled' ? of.value : { problem: reasonOf(of.reason) };
  session.print({ open: value(open), past: value(past) }, () => {
    const now = session.io.now();
    return [
      ...(open.status === 'rejected' ? [`open lists unknown: ${reasonOf(open.reason)}`] : openLines(open.value, now)),
      '',
      ...(past.status === 'rejected' ? [`past lists unknown: ${reasonOf(past.reason)}`] : pastLines(past.value, now)),
    ];
  });
}

function openLines(open: readonly OpenList[], now: Date): string[] {
  if (open.length === 0) return ['No list is open.'];
  return tableLines(
    ['list', 'to do', 'due', 'run'],
    open.map(({ workflowId, status, problem }) => [
      status?.period ?? '?',
      status ? whatIsLeft(status.items) : (problem ?? ''),
      status?.dueAt ? relativeTime(status.dueAt, now) : '-',
      workflowId,
    ]),
  );
}

function whatIsLeft(items: readonly ItemStatus[]): string {
  const [open, failing] = [
    items.filter(({ state }) => state === 'open'),
    items.filter(({ state }) => state === 'failing'),
  ];
  const parts = [
    failing.length > 0 ? `${failing.length} failing` : '',
    open.length > 0 ? `${open.length} to sign` : '',
  ];
  return `${parts.filter((part) => part !== '').join(', ') || 'nothing'} of ${items.length}`;
}

function pastLines(past: readonly ListedReport[], now: Date): string[] {
  if (past.length === 0) return ['No list has ended yet.'];
  return tableLines(
    ['past list', 'ended', 'age', 'report'],
    past.map(({ id, storedAt, report }) => [
      report?.outcome ?? 'cannot be read',
      shortTime(storedAt),
      relativeTime(storedAt, now),
      id,
    ]),
  );
}

/** The items of every open list, or of the one named by its period or its run. */
export async function showItems(session: Session, named: string | null): Promise<void> {
  const open = await chosen(session, named);
  session.print(open, () => {
    if (open.length === 0) return ['No list is open. See `drctl checklist list` for those that ended.'];
    return open.flatMap((list, index) => [...(index > 0 ? [''] : []), ...listLines(list, session.io.now())]);
  });
}

const SIGNS: Readonly<Record<ItemState, string>> = { open: '·', failing: '✘', passed: '✔', signed: '✔' };

function listLines({ workflowId, status, problem }: OpenList, now: Date): string[] {
  if (!status) return [`${workflowId}: ${problem ?? ''}`];
  const due = status.dueAt === null ? '' : `, due ${relativeTime(status.dueAt, now)} (${shortTime(status.dueAt)})`;
  return [
    `${status.period} checklist: ${whatIsLeft(status.items)}${due}`,
    ...status.items.flatMap(itemLines),
    ...status.messages.map((message) => `  ! ${plainText(message)}`),
  ];
}

function itemLines({ id, state, title, what, finding, signedBy, signedAt, note }: ItemStatus): string[] {
  return [
    `  ${SIGNS[state]} ${id.padEnd(20)} ${title}: ${what}`,
    ...(finding ? [`      ${finding.holds ? 'found' : 'FAILS'}: ${plainText(finding.found)}`] : []),
    ...(signedBy === null
      ? []
      : [`      signed by ${plainText(signedBy)}, ${shortTime(signedAt)}: ${plainText(note ?? '')}`]),
    ...(state === 'open' ? ['      waits for a person'] : []),
  ];
}

export interface SignRequest {
  readonly item: string;
  readonly by: string;
  readonly note: string;
  /** The period or the run of the list; needed where several open lists have the item. */
  readonly list: string | null;
}

/** Signs an item of an open list in a person's name. */
export async function signItem(session: Session, { item, by, note, list }: SignRequest): Promise<void> {
  const open = await chosen(session, list);
  const having = open.filter(({ status }) => status?.items.some(({ id }) => id === item));
  const [one, ...others] = having;
  if (!one) {
    const unseen = open.find(({ problem }) => problem !== null);
    if (unseen) throw failure('TargetUnreachable', `${unseen.workflowId} cannot be looked at: ${unseen.problem}`);
    const items = open.flatMap(({ status }) => status?.items.map(({ id }) => id) ?? []);
    throw failure('NotFound', `no open list has an item "${item}"; open are: ${items.join(', ') || 'none'}`, {
      next: 'See `drctl checklist show`.',
    });
  }
  if (others.length > 0) {
    const runs = having.map(({ workflowId }) => workflowId).join(', ');
    throw failure('UsageInvalid', `${having.length} open lists have the item "${item}": ${runs}`, {
      next: 'Say which with --list.',
    });
  }
  const delivery = await sendCommand(session, one.workflowId, 'sign', { by, reason: note, step: item });
  const { workflowId, status } = one;
  session.print({ workflowId, item, by, delivery }, () => [
    delivery === 'accepted'
      ? `Signed ${item} of the ${status?.period} list, by ${by}.`
      : `No worker answers: the signature of ${item} is kept by Temporal until one does.`,
  ]);
}

async function chosen(session: Session, named: string | null): Promise<OpenList[]> {
  const open = await openLists(session);
  if (named === null) return open;
  const found = open.filter(({ workflowId, status }) => workflowId === named || status?.period === named);
  if (found.length > 0) return found;
  const runs = open.map(({ workflowId }) => workflowId).join(', ') || 'none';
  throw failure('NotFound', `no open list is called "${named}"; open are: ${runs}`, {
    next: 'Those that ended are in `drctl checklist list`.',
  });
}
