import { setTimeout as sleep } from 'node:timers/promises';
import { activityInfo } from '@temporalio/activity';
import type { CallContext } from '../core/call';
import type { CatalogStore } from '../core/catalog-store';
import { failure, hasCode, reasonOf } from '../core/errors';
import type { Use } from '../core/retention/records';
import type { OpenApplication } from './deps';

/**
 * A run renews its word with each step, and a day is the longest that a step takes or an approval is waited for: of a run that
 * died this is how long its word counts.
 */
const BELIEVED_MILLISECONDS = 36 * 3_600_000;

/** The workflow that the activity works for: what it reads is named by this. */
const runName = () => activityInfo().workflowExecution?.workflowId ?? activityInfo().activityId;

/**
 * Keeps retention from deleting the backups, and the log behind them, until `withdrawUse`. May be repeated. A restore comes
 * before it: where nothing can be written (rights, a full disk) it goes on without.
 */
export async function announceUse(
  open: OpenApplication,
  store: string,
  { kind, backups }: Pick<Use, 'kind' | 'backups'>,
  ctx: CallContext,
): Promise<void> {
  const since = new Date();
  const until = new Date(since.getTime() + BELIEVED_MILLISECONDS);
  const times = { since: since.toISOString(), until: until.toISOString() };
  const use = { store, kind, by: runName(), backups, ...times };
  await unlessForbidden(store, ctx, () => open.retentionStore(store).announce(use));
}

/** Nothing is believed of a sweep for as long as this without a new look at who reads (core/retention/sweep-claim.ts). */
const SEEN_WITHIN_MILLISECONDS = 90_000;
const LOOK_MILLISECONDS = 1_000;

/**
 * What the run announced is respected by a sweep that looks later; one that deletes what it decided before is waited for, which
 * takes seconds: not until its end, which may be hours away, and of one that died until its claim is not believed any more. Throws
 * LockHeld.
 */
export async function requireNoSweep(
  open: OpenApplication,
  store: string,
  ctx: CallContext,
  waitMilliseconds = SEEN_WITHIN_MILLISECONDS,
): Promise<void> {
  const stored = open.retentionStore(store);
  const since = performance.now();
  const waited = () => performance.now() - since;
  while ((await stored.sweepsUnawareOf({ useBy: runName() }, waited())).length > 0) {
    if (waited() >= waitMilliseconds) {
      throw failure('LockHeld', `retention is deleting old backups of ${store} at the moment`, {
        next: 'The step is tried again by itself until that is over, which takes seconds to minutes.',
      });
    }
    ctx.progress({ phase: 'waiting', note: `retention of ${store} has to see what is read` });
    await sleep(LOOK_MILLISECONDS, undefined, { signal: ctx.signal });
  }
}

/**
 * The same in the repository of the store and in all its copies: which of them will be read is seen only on the way. Of several
 * one that does not answer sweeps nothing, and keeps nobody from reading the others.
 */
export async function announceReading(
  open: OpenApplication,
  store: string,
  backups: readonly string[],
  ctx: CallContext,
): Promise<void> {
  await atEach(open, store, ctx, (side) => announceUse(side, store, { kind: 'restore', backups }, ctx));
}

export async function withdrawReading(open: OpenApplication, store: string, ctx: CallContext): Promise<void> {
  await atEach(open, store, ctx, (side) => withdrawUse(side, store, ctx));
}

/** Before a run reads what it was planned to read, and has announced. Throws LockHeld, for the step to be tried again with a new plan. */
export async function requireNotSwept(
  open: OpenApplication,
  store: string,
  backups: readonly string[],
  catalog: CatalogStore,
  ctx: CallContext,
  waitMilliseconds = SEEN_WITHIN_MILLISECONDS,
): Promise<void> {
  await atEach(open, store, ctx, (side) => requireNoSweep(side, store, ctx, waitMilliseconds));
  await requireThere(store, backups, catalog);
}

/** Throws LockHeld where a backup was deleted since it was listed, for the step to be tried again with a new plan. */
export async function requireThere(store: string, backups: readonly string[], catalog: CatalogStore): Promise<void> {
  const there = new Set((await catalog.list(store)).map(({ backupId }) => backupId));
  const gone = backups.find((each) => !there.has(each));
  if (gone === undefined) return;
  throw failure('LockHeld', `${gone} of ${store} was deleted by retention while it was planned with`, {
    next: 'The step is tried again by itself, with what is there now.',
  });
}

async function atEach(
  open: OpenApplication,
  store: string,
  ctx: CallContext,
  work: (side: OpenApplication) => Promise<void>,
): Promise<void> {
  const copies = open.copies(store).map(({ name }) => open.copy(name));
  if (copies.length === 0) return work(open);
  for (const side of [open, ...copies]) {
    try {
      await work(side);
    } catch (error) {
      if (!hasCode(error, 'RepositoryUnavailable') && !hasCode(error, 'ConfigInvalid')) throw error;
      ctx.log.warn({ store, error: reasonOf(error) }, 'a repository does not answer: another copy is read');
    }
  }
}

export async function withdrawUse(open: OpenApplication, store: string, ctx: CallContext): Promise<void> {
  await unlessForbidden(store, ctx, () => open.retentionStore(store).withdraw(runName()));
}

async function unlessForbidden(store: string, ctx: CallContext, write: () => Promise<void>): Promise<void> {
  try {
    await write();
  } catch (error) {
    if (!hasCode(error, 'AccessDenied') && !hasCode(error, 'DiskFull')) throw error;
    ctx.log.warn({ store, error: reasonOf(error) }, 'retention cannot be told what is read: a sweep may take it away');
  }
}
