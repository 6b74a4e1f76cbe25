import { join, resolve } from 'node:path';
import { atCopy } from '../activities/copies';
import { planStoreRestore } from '../activities/plan-restore';
import { formatBytes, formatDuration } from '../core/clock';
import { failure } from '../core/errors';
import { workflowIds } from '../core/names';
import { type Leave, type RecoveryTarget, requireLeave, type RestorePlan } from '../core/recovery';
import { elsewhereLine } from '../core/reading';
import { checkLine } from '../core/restore-checks';
import { queries, type RestorePlaceInput, type RestoreStoresInput, type RestoreStoresResult } from '../core/runs';
import { type Selection, selectionText } from '../core/selection';
import type { ThawTier } from '../core/thaw';
import { follow } from './follow';
import { backTo, newRunName, printDetached, startRun } from './runs';
import { quietContext } from './quiet-context';
import { runAsScript } from './script';
import { sendCommand } from './send-command';
import type { Session } from './session';
import { shortTime, tableLines } from './table';

export interface RestoreRequest {
  readonly stores: readonly string[];
  readonly target: RecoveryTarget;
  /** Where to; a store gets its own folder below it when there are several. */
  readonly into: string;
  readonly port: number;
  readonly overwrite: boolean;
  readonly delta: boolean;
  readonly leave: Leave;
  /** The config's where it is left out. */
  readonly thawTier: ThawTier | undefined;
  /** Null: the stores as they are. */
  readonly selection: Selection | null;
  /** The site whose worker restores; the active one where it is left out. */
  readonly site: string | null;
  /** The copy that alone is read; null: the stores' own repositories, and copies where that has to be. */
  readonly copy: string | null;
  readonly approved: boolean;
  readonly detach: boolean;
}

/** Restores stores into new places: the plan is shown first and nothing starts before a person agreed. Answers the exit code. */
export async function startRestore(session: Session, request: RestoreRequest): Promise<number> {
  const { application, io } = session;
  if (!request.approved && !request.detach && !io.isTerminal) {
    throw failure('UsageInvalid', 'a restore shows its plan and asks, and there is no terminal to ask on', {
      next: 'Add --yes to restore without being asked, or --dry-run to see the plan only.',
    });
  }
  const restoreId = newRunName(io.now());
  const workflowId = workflowIds.restore(application, restoreId);
  const input: RestoreStoresInput = {
    application,
    restoreId,
    site: request.site ?? (await activeSite(session)),
    target: request.target,
    stores: placesOf(session, request),
    requestedBy: io.user,
    approved: request.approved,
    leave: request.leave,
    ...(request.thawTier === undefined ? {} : { thawTier: request.thawTier }),
    ...(request.selection === null ? {} : { selection: request.selection }),
    ...(request.copy === null ? {} : { copy: request.copy }),
  };
  const handle = await startRun(session, {
    workflowId,
    type: 'restoreStores',
    input,
    summary: `restore ${request.stores.join(', ')} to ${targetText(request.target)} (${io.user})`,
  });
  const back = backTo(workflowId);
  if (request.detach) {
    printDetached(session, workflowId, back, { restoreId });
    return 0;
  }
  let asked = request.approved;
  let planShown = false;
  return follow<RestoreStoresResult>(session, handle, {
    back,
    lines: resultLines,
    async onStatus({ steps, waitingFor }) {
      if (planShown || !steps.some(({ id, state }) => id === 'plan' && state === 'done')) return;
      planShown = true;
      const plans = await handle.query<RestorePlan[]>(queries.plan);
      for (const line of planLines(plans, input.stores, request.leave)) io.note(line);
      if (asked || waitingFor === null) return;
      asked = true;
      await decide(session, workflowId);
    },
  });
}

/** Shows what a restore would do; reads the repository only and starts nothing. */
export async function planRestore(
  session: Session,
  request: Omit<RestoreRequest, 'site' | 'approved' | 'detach'>,
): Promise<void> {
  const { target, thawTier: tier, selection } = request;
  const open = atCopy(await session.open(), request.copy ?? undefined);
  for (const store of request.stores) requireLeave(store, open.engine(store).restore.leaves, request.leave);
  const plans = await Promise.all(
    request.stores.map((store) =>
      planStoreRestore(open, { store, target, ...(tier && { tier }), ...(selection && { selection }) }, quietContext()),
    ),
  );
  const places = placesOf(session, request);
  session.print(plans, () => [...planLines(plans, places, request.leave), 'Nothing was started.']);
}

/** The site that the newest role change made active. */
export async function activeSite(session: Session): Promise<string> {
  const current = await (await session.open()).epochs.current();
  return current?.activeSite ?? session.config.initialSite;
}

function placesOf(
  session: Session,
  { stores, into, port, overwrite, delta }: Pick<RestoreRequest, 'stores' | 'into' | 'port' | 'overwrite' | 'delta'>,
): RestoreStoresInput['stores'] {
  const { restore } = session.config;
  if (port !== 0 && stores.length > 1)
    throw failure('UsageInvalid', '--port is for one store; several stores take free ports');
  return stores.map((store) => {
    const own = session.config.stores[store]?.restore;
    return {
      store,
      place: {
        directory: stores.length > 1 ? join(resolve(into), store) : resolve(into),
        host: own?.host ?? restore.host,
        port,
        osUser: own?.osUser ?? restore.osUser ?? null,
        overwrite,
        ...(delta ? { delta } : {}),
      },
    };
  });
}

async function decide(session: Session, workflowId: string): Promise<void> {
  const { io } = session;
  const answer = (await io.ask('Restore this? [yes/no] '))?.trim().toLowerCase();
  if (answer === undefined) return; // The terminal was closed or left: the run keeps waiting.
  const yes = answer === 'y' || answer === 'yes';
  await sendCommand(session, workflowId, yes ? 'approve' : 'reject', {
    by: io.user,
    ...(yes ? {} : { reason: 'the plan was declined' }),
  });
}

export function targetText(target: RecoveryTarget): string {
  const how = target.inclusive === undefined ? '' : target.inclusive ? ', inclusive' : ', exclusive';
  const timeline = target.timeline === undefined ? '' : `, on timeline ${target.timeline}`;
  return `${pointText(target)}${how}${timeline}`;
}

function pointText(target: RecoveryTarget): string {
  if (target.kind === 'time') return target.time;
  if (target.kind === 'position') return `position ${target.text}`;
  if (target.kind === 'transaction') return `transaction ${target.id}`;
  if (target.kind === 'name') return `restore point ${target.name}`;
  return target.kind === 'backup' ? `backup ${target.backupId}` : 'the latest state';
}

/** What a person finds afterwards; nothing is said of what they expect anyway. */
const LEFT: Readonly<Record<Leave, string | null>> = {
  open: null,
  paused: 'paused at the target, readable',
  shutdown: 'shut down at the target, ready to start',
};

export function planLines(plans: readonly RestorePlan[], places: RestoreStoresInput['stores'], leave: Leave): string[] {
  const lines = plans.flatMap((plan) => {
    const place = places.find(({ store }) => store === plan.store)?.place;
    const { reaches } = plan;
    return [
      '',
      `${plan.store} (${plan.engine}) to ${targetText(plan.target)}`,
      `  reaches   ${reaches.time}${positionText(plan)}${reaches.exact ? '' : inexactText(plan)}`,
      ...(plan.selection ? [`  only      ${selectionText(plan.selection)}`] : []),
      `  from      ${plan.chain.join(' + ')}${plan.log ? `, then the log from ${plan.log.from.value}` : ''}`,
      `  download  ${formatBytes(plan.downloadBytes)}${plan.log ? ' and the log' : ''}`,
      ...(place ? [`  into      ${place.directory}${whatBecomes(place)}`] : []),
      ...(LEFT[leave] === null ? [] : [`  left      ${LEFT[leave]}`]),
      ...plan.notes.map((note) => `  note      ${note}`),
    ];
  });
  return ['Plan of the restore; the running stores are not touched.', ...lines, ''];
}

const inexactText = ({ log }: RestorePlan) =>
  log === null ? '  (the nearest earlier backup)' : '  (the nearest earlier state that is known: see the note)';

const positionText = ({ reaches: { position } }: RestorePlan) => (position ? ` at ${position.value}` : '');

/** Of what is in the directory now. */
function whatBecomes(place: RestorePlaceInput): string {
  if (place.delta) return '  (files that are right by their checksum stay, everything else there is REPLACED)';
  return place.overwrite ? '  (what is there is REPLACED)' : '';
}

function resultLines({ stores, seconds }: RestoreStoresResult): string[] {
  const rows = stores.map(({ store, restored, fingerprint, seconds: took }) => [
    store,
    restored.state,
    restored.reachedTime ? shortTime(restored.reachedTime) : (restored.reachedPosition?.value ?? '-'),
    restored.address ? `${restored.address.host}:${restored.address.port}` : '-',
    restored.directory,
    String(fingerprint.items.reduce((sum, { count }) => sum + count, 0)),
    formatDuration(took * 1_000),
  ]);
  return [
    '',
    ...tableLines(['store', 'left', 'state of', 'address', 'directory', 'entries read', 'took'], rows),
    ...stores.flatMap(({ store, checks }) => checks.map((each) => `${store}: check holds: ${checkLine(each)}`)),
    ...stores.flatMap(({ store, elsewhere = [] }) =>
      elsewhere.map((each) => `${store}: NOT AS IT WAS STORED: ${elsewhereLine(each)}`),
    ),
    ...stores.flatMap(({ store, restored }) => restored.notes.map((note) => `${store}: ${note}`)),
    `Restored and read completely in ${formatDuration(seconds * 1_000)}.`,
  ];
}

runAsScript(module, 'restore');
