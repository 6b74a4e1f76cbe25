import type { CallContext } from '../core/call';
import { formatDuration } from '../core/clock';
import { failure } from '../core/errors';
import type { ListedEntry } from '../core/retention/log-stretches';
import { planStore, goingBackups, type StorePlan, type StoreState } from '../core/retention/plan-store';
import type { Leftover, LogRun, Mark } from '../core/retention/records';
import { type Amount, NOTHING, plus, type SweptStore } from '../core/retention/runs';
import type { OpenApplication } from './deps';
import { lookAtRetention, renewed, type RetentionLook } from './retention-look';
import { type SweepClaim, underClaim } from './sweep-claim';

/** Holds and running restores are asked for anew before so many are deleted. */
const BACKUPS_AT_ONCE = 20;
/** As many as S3 deletes in one request. */
const PIECES_AT_ONCE = 1_000;

export interface SweepInput {
  readonly store: string;
  readonly runId: string;
  /** What time it is, in milliseconds; the system's clock where it is left out. */
  readonly clock?: () => number;
}

const timeOf = ({ clock = Date.now }: SweepInput) => clock();

/**
 * Deletes what a run marked. What goes is decided anew from what is there now, and only what was marked goes; so a hold, a
 * restore that began, or a policy that became longer keeps it. The order holds whatever ends it: manifests first, those that
 * build on others before these, so that a backup is whole or is not; then their data, as what any crash leaves is removed;
 * then log. A next try finds in the mark what a dead one had begun.
 */
export async function sweepStore(open: OpenApplication, input: SweepInput, ctx: CallContext): Promise<SweptStore> {
  const { store, runId } = input;
  const stored = open.retentionStore(store);
  const mark = await stored.marked(runId);
  const look = await lookAtRetention(open, store, timeOf(input), ctx);
  await underClaim(stored, runId, (claim) => requireSameClock(open, store, claim));
  const swept = mark ? await sweepBackups(open, input, mark, look.state, ctx) : null;
  const backups = swept?.gone ?? NOTHING.backups;
  const leftovers = await sweepLeftovers(open, input, mark, look, ctx);
  const log = mark && swept ? await sweepLog(open, input, mark, swept.state, ctx) : NOTHING.log;
  for (const upload of look.unfinishedUploads) await stored.abortUpload(upload);
  if (look.plan.newest !== null) await requireStillThere(open, store, look.plan.newest);
  await stored.unmark(runId);
  const unfinishedUploads = look.unfinishedUploads.length;
  return { store, backups, leftovers, log, unfinishedUploads, newest: look.plan.newest };
}

/** How far our clock may be ahead of the repository's, by which the age of log is told. */
const CLOCK_AHEAD_MILLISECONDS = 10 * 60_000;

/** Throws DeletionRefused: to a clock that is ahead everything looks older than it is. */
async function requireSameClock(open: OpenApplication, store: string, { name }: SweepClaim): Promise<void> {
  const claimedAt = await open.retentionStore(store).sweepClaimedAt(name);
  const ahead = claimedAt === null ? 0 : Date.now() - claimedAt;
  if (ahead <= CLOCK_AHEAD_MILLISECONDS) return;
  throw failure(
    'DeletionRefused',
    `the clock of this worker is ${formatDuration(ahead)} ahead of the clock of the repository of ${store}`,
    { next: 'Set the clock of the worker (NTP); the next run deletes what is due then.', context: { store } },
  );
}

interface Look {
  readonly state: StoreState;
  readonly plan: StorePlan;
}

/**
 * What is known and planned as of now, and what is deleted by it. In this order: who announced a use before the claim was written
 * knows that it is seen here (`RetentionStore.sweepsUnawareOf`), who announces one behind it waits for its end.
 */
function claimed<T>(
  open: OpenApplication,
  input: SweepInput,
  { before, ctx }: { readonly before: StoreState; readonly ctx: CallContext },
  work: (look: Look, claim: SweepClaim) => Promise<T>,
): Promise<T> {
  ctx.signal.throwIfAborted();
  return underClaim(open.retentionStore(input.store), input.runId, async (claim) => {
    const state = await renewed(open, before, timeOf(input));
    return work({ state, plan: planStore(state) }, claim);
  });
}

/** Throws RepositoryUnavailable: nothing was deleted, and the next look would find the same. */
function tooSlow(store: string): Error {
  return failure(
    'RepositoryUnavailable',
    `it took too long to look at who reads from ${store} to delete anything by it`,
    {
      data: 'Nothing that is kept was touched; what nothing needs is deleted by a later run.',
      next: 'Find out why the repository, or the worker that plans, is that slow.',
    },
  );
}

async function sweepBackups(
  open: OpenApplication,
  input: SweepInput,
  mark: Mark,
  first: StoreState,
  ctx: CallContext,
): Promise<{ readonly gone: Amount; readonly state: StoreState }> {
  const stored = open.retentionStore(input.store);
  const marked = new Set(mark.backups);
  let [gone, before]: [Amount, StoreState] = [NOTHING.backups, first];
  for (;;) {
    const { state, ids } = await claimed(open, input, { before, ctx }, async ({ plan, state: now }, claim) => {
      const batch = goingBackups(plan)
        .filter(({ backupId }) => marked.has(backupId))
        .slice(0, BACKUPS_AT_ONCE);
      const done = new Set<string>();
      for (const { backupId, storedBytes } of batch) {
        if (!claim.isOpen()) break;
        await claim.deleting((signal) => stored.removeManifest(backupId, signal));
        done.add(backupId);
        gone = plus(gone, { objects: 1, sizeBytes: storedBytes });
        ctx.progress({ phase: 'deleting backups', doneItems: gone.objects, totalItems: marked.size, note: backupId });
      }
      if (done.size === 0 && batch.length > 0) throw tooSlow(input.store);
      return { state: now, ids: done };
    });
    if (ids.size === 0) return { gone, state };
    before = { ...state, backups: state.backups.filter(({ backupId }) => !ids.has(backupId)) };
  }
}

/**
 * Data whose manifest is gone: what was just given up, what an earlier try had, and what is older than any run. Nobody begins to
 * read it, so that it needs no claim.
 */
async function sweepLeftovers(
  open: OpenApplication,
  { store }: SweepInput,
  mark: Mark | null,
  look: RetentionLook,
  ctx: CallContext,
): Promise<Amount> {
  const stored = open.retentionStore(store);
  const old = new Set(look.leftovers.map(({ backupId }) => backupId));
  const isOurs = ({ backupId }: Leftover) => old.has(backupId) || (mark?.backups.includes(backupId) ?? false);
  let gone = NOTHING.leftovers;
  for (const each of (await stored.leftovers()).filter(isOurs)) {
    ctx.signal.throwIfAborted();
    // Settles first that it is not to be: one whose commit died on its last step is completed instead.
    await open.transfer(store).sweep({ store, backupId: each.backupId, kind: each.kind }, null);
    gone = plus(gone, each);
    ctx.progress({ phase: 'deleting data', doneItems: gone.objects, doneBytes: gone.sizeBytes, note: each.backupId });
  }
  return gone;
}

async function sweepLog(
  open: OpenApplication,
  input: SweepInput,
  mark: Mark,
  state: StoreState,
  ctx: CallContext,
): Promise<Amount> {
  const stored = open.retentionStore(input.store);
  let gone = NOTHING.log;
  const plan = planStore(state);
  for (const [lineage, runs] of Map.groupBy(mark.log, (run) => run.lineage)) {
    let batch: ListedEntry[] = [];
    const remove = async () => {
      const going = await claimed(open, input, { before: state, ctx }, async (look, claim) => {
        const still = batch.filter((each) => goes(look.plan, each));
        if (still.length === 0) return still;
        if (!claim.isOpen()) throw tooSlow(input.store);
        const keys = still.map(({ key }) => key);
        await claim.deleting((signal) => stored.removeLog(keys, signal));
        return still;
      });
      gone = plus(gone, { objects: going.length, sizeBytes: going.reduce((sum, each) => sum + each.sizeBytes, 0) });
      ctx.progress({ phase: 'deleting log', doneItems: gone.objects, doneBytes: gone.sizeBytes, note: lineage });
      batch = [];
    };
    let next = 0; // Runs were marked in the order of the listing.
    for await (const entry of stored.scan(lineage)) {
      while ((runs[next]?.last ?? '') < entry.key && next < runs.length) next += 1;
      if (!isWithin(entry.key, runs[next]) || !goes(plan, entry)) continue;
      batch.push(entry);
      if (batch.length >= PIECES_AT_ONCE) await remove();
    }
    if (batch.length > 0) await remove();
  }
  return gone;
}

const goes = ({ log }: StorePlan, entry: ListedEntry) => log?.keptFor(entry) === null;

const isWithin = (key: string, run: LogRun | undefined) => run !== undefined && run.first <= key && key <= run.last;

async function requireStillThere(open: OpenApplication, store: string, newest: string): Promise<void> {
  const all = await open.catalog(store).list(store);
  if (all.some(({ backupId }) => backupId === newest)) return;
  throw failure(
    'BackupCorrupt',
    `the manifest of ${newest}, the newest backup of ${store}, was there and is not any more`,
    {
      data: `Somebody else removed it while retention ran: retention deletes it never. Of ${store} ${all.length} backups are left.`,
      next: `Take a full backup of ${store} now, and find out who deletes from the repository.`,
    },
  );
}
