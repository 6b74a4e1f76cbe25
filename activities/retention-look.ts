import type { CallContext } from '../core/call';
import { type Manifest, storedBytes } from '../core/catalog';
import { beganAt, isFullId } from '../core/layout';
import { keptForText, type KeptFor } from '../core/retention/decisions';
import { StretchBuilder, type LogStretch, type ListedEntry } from '../core/retention/log-stretches';
import { type BackupFacts, planStore, type StorePlan, type StoreState } from '../core/retention/plan-store';
import { kindOf } from '../core/retention/policy';
import type { Leftover } from '../core/retention/records';
import type { UnfinishedUpload } from '../core/repository';
import type { OpenApplication } from './deps';

/** Pieces of one lineage that follow each other and share their fate. */
export interface LogGroup {
  readonly lineage: string;
  readonly firstKey: string;
  lastKey: string;
  objects: number;
  sizeBytes: number;
  oldestAt: number;
  newestAt: number;
  /** Null: they go. */
  readonly keptFor: KeptFor | null;
}

/** A store as retention sees it at one moment, and what it makes of it. */
export interface RetentionLook {
  readonly state: StoreState;
  readonly plan: StorePlan;
  readonly log: readonly LogGroup[];
  /** Those that are old enough to go. */
  readonly leftovers: readonly Leftover[];
  readonly unfinishedUploads: readonly UnfinishedUpload[];
}

/** A heartbeat and a breath for other work after so many pieces of log. */
const PROGRESS_EVERY = 20_000;

/**
 * Reads catalogue, holds, runs and log of a store and plans with them. The log is listed twice, once for its gaps and once
 * for the fate of each piece: nothing is kept of a piece in between. Changes nothing.
 */
export async function lookAtRetention(
  open: OpenApplication,
  store: string,
  now: number,
  ctx: CallContext,
): Promise<RetentionLook> {
  const state = await soundState(open, await stateOf(open, store, now, ctx), ctx);
  const plan = planStore(state);
  const stored = open.retentionStore(store);
  const guard = now - open.retention.orphansAfterSeconds * 1_000;
  return {
    state,
    plan,
    log: await groups(open, store, plan, ctx),
    leftovers: (await stored.leftovers()).filter(
      ({ newestAt, backupId }) =>
        Math.max(newestAt, beganAt(backupId)) < guard && !state.uses.some(({ backups }) => backups.includes(backupId)),
    ),
    unfinishedUploads: (await stored.unfinishedUploads()).filter(({ startedAt }) => Date.parse(startedAt) < guard),
  };
}

/** The same state with what people and runs said and committed since, and a later clock. */
export async function renewed(open: OpenApplication, state: StoreState, now: number): Promise<StoreState> {
  const { store } = state;
  const stored = open.retentionStore(store);
  const [holds, uses] = [await stored.holds(), await stored.uses(now)];
  // Behind the uses: a backup withdraws its own when it is committed, and from then on keeps by itself what it builds on.
  const newest = state.backups.reduce((last, { backupId }) => (backupId > last ? backupId : last), '');
  const known = new Set(state.backups.map(({ backupId }) => backupId));
  const added = (await soundBackups(open, store, newest)).filter(({ backupId }) => !known.has(backupId));
  return { ...state, now, holds, uses, backups: [...state.backups, ...added] };
}

/** Those that can be read; `after`: that were begun later than this one. */
async function soundBackups(open: OpenApplication, store: string, after = ''): Promise<BackupFacts[]> {
  const listed = await open.catalog(store).list(store, after === '' ? {} : { after });
  return listed.map((each) => factsOf(open, each));
}

/** Those whose manifest cannot be read: by the text of it that its commit left, or else by their ids alone. */
async function damagedBackups(open: OpenApplication, store: string): Promise<BackupFacts[]> {
  const engine = open.engine(store);
  const found: BackupFacts[] = [];
  for (const { backupId, problem: damage } of await open.catalog(store).damaged(store)) {
    const noted = await open.retentionStore(store).notedManifest(backupId);
    const at = beganAt(backupId);
    const kind = kindOf(engine.artifactKind(isFullId(backupId) ? 'full' : 'incr'));
    const unknown = { parent: null, storedBytes: 0, log: null, isUnreadable: true };
    const byId = { backupId, kind, consistentAt: at, committedAt: at, ...unknown };
    found.push({ ...(noted ? factsOf(open, noted) : byId), damage });
  }
  return found;
}

async function stateOf(open: OpenApplication, store: string, now: number, ctx: CallContext): Promise<StoreState> {
  const engine = open.engine(store);
  const stored = open.retentionStore(store);
  // Those of runs that end before `now` count as well: nobody knows beforehand when they do. Before the backups: see `renewed`.
  const uses = await stored.uses(Math.min(now, Date.now()));
  const sound = await soundBackups(open, store);
  const damaged = await damagedBackups(open, store);
  const archive = open.logArchive(store);
  const history = archive ? await archive.history() : null;
  const reach = engine.log?.reach;
  const naming = engine.log?.naming;
  return {
    store,
    now,
    policy: open.retention.policy,
    backups: [...sound, ...damaged],
    log:
      reach && naming && history
        ? {
            stretches: await stretchesOf(open, store, (a, b) => naming.compare(a, b), ctx),
            parentOf: (lineage) => reach.parentOf(lineage, history),
            compare: (a, b) => naming.compare(a, b),
          }
        : null,
    holds: await stored.holds(),
    uses,
  };
}

function factsOf(open: OpenApplication, manifest: Manifest): BackupFacts {
  const engine = open.engine(manifest.store);
  const early = manifest.early.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  return {
    backupId: manifest.backupId,
    kind: kindOf(engine.artifactKind(manifest.type)),
    parent: manifest.parent,
    consistentAt: Date.parse(manifest.consistentAt),
    committedAt: Date.parse(manifest.committedAt),
    storedBytes: storedBytes(manifest) + early,
    log: engine.log?.reach.needs(manifest) ?? null,
    damage: null,
  };
}

async function stretchesOf(
  open: OpenApplication,
  store: string,
  compare: ConstructorParameters<typeof StretchBuilder>[0],
  ctx: CallContext,
): Promise<LogStretch[]> {
  const stored = open.retentionStore(store);
  const found: LogStretch[] = [];
  for (const lineage of await stored.lineages()) {
    const builder = new StretchBuilder(compare);
    for await (const entry of counted(stored.scan(lineage), `reading the log of ${store}`, ctx)) builder.add(entry);
    found.push(...builder.stretches());
  }
  return found;
}

async function groups(open: OpenApplication, store: string, { log }: StorePlan, ctx: CallContext): Promise<LogGroup[]> {
  if (!log) return [];
  const stored = open.retentionStore(store);
  const found: LogGroup[] = [];
  for (const lineage of await stored.lineages()) {
    for await (const entry of counted(stored.scan(lineage), `judging the log of ${store}`, ctx)) {
      const keptFor = log.keptFor(entry);
      const last = found.at(-1);
      if (last && last.lineage === lineage && sharesFate(last.keptFor, keptFor)) join(last, entry);
      else found.push(groupOf(entry, keptFor));
    }
  }
  return found;
}

/** For one reason, though each has a time of its own. */
function sharesFate(a: KeptFor | null, b: KeptFor | null): boolean {
  if (a === b) return true;
  if (a === null || b === null || (a.why === 'age' && b.why === 'age')) return a?.why === b?.why;
  return keptForText(a) === keptForText(b);
}

function groupOf({ lineage, key, sizeBytes, storedAt }: ListedEntry, keptFor: KeptFor | null): LogGroup {
  const once = { oldestAt: storedAt, newestAt: storedAt };
  return { lineage, firstKey: key, lastKey: key, objects: 1, sizeBytes, ...once, keptFor };
}

function join(group: LogGroup, { key, sizeBytes, storedAt }: ListedEntry): void {
  group.lastKey = key;
  group.objects += 1;
  group.sizeBytes += sizeBytes;
  group.oldestAt = Math.min(group.oldestAt, storedAt);
  group.newestAt = Math.max(group.newestAt, storedAt);
}

async function* counted<T>(all: AsyncIterable<T>, phase: string, ctx: CallContext): AsyncGenerator<T> {
  let done = 0;
  for await (const each of all) {
    if (++done % PROGRESS_EVERY === 0) {
      ctx.signal.throwIfAborted();
      ctx.progress({ phase, doneItems: done });
    }
    yield each;
  }
}

/**
 * The newest backup stays for ever, so it must be one that is there: where a listing shows that a part of it is gone, the one
 * before it is the newest.
 */
async function soundState(open: OpenApplication, state: StoreState, ctx: CallContext): Promise<StoreState> {
  const { store } = state;
  for (let checked = state; ;) {
    ctx.signal.throwIfAborted();
    const { newest } = planStore(checked);
    const broken = newest === null ? null : await firstIncomplete(open, checked, newest);
    if (broken === null) return checked;
    ctx.log.warn({ store, ...broken }, 'a backup cannot be restored: something of it is missing');
    const backups = checked.backups.map((each) =>
      each.backupId === broken.backupId ? { ...each, damage: broken.why } : each,
    );
    checked = { ...checked, backups };
  }
}

async function firstIncomplete(
  open: OpenApplication,
  { store, backups }: StoreState,
  newest: string,
): Promise<{ backupId: string; why: string } | null> {
  const byId = new Map(backups.map((each) => [each.backupId, each]));
  for (let each = byId.get(newest); each; each = byId.get(each.parent ?? '')) {
    const manifest = await open.catalog(store).get(store, each.backupId);
    const why = await open.transfer(store).whyIncomplete(manifest);
    if (why !== null) return { backupId: each.backupId, why };
  }
  return null;
}
