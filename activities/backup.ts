import { randomBytes } from 'node:crypto';
import { activityInfo } from '@temporalio/activity';
import type { CallContext } from '../core/call';
import type { BackupType, Manifest } from '../core/catalog';
import { chainOf, storedBytes } from '../core/catalog';
import type { DumpPlan } from '../core/engine';
import { failure } from '../core/errors';
import type { MirrorResult } from '../core/mirror';
import { backupIdOf } from '../core/layout';
import { taskQueues } from '../core/names';
import { sealedDump } from '../core/sealed-log';
import type { AttemptRecord, AttemptRef, BackupRef, DumpAttempt } from '../core/transfer';
import { requireEpoch } from './application';
import { withCallContext } from './context';
import type { ActivityDeps, OpenApplication } from './deps';
import { requireRestorable, waitForLogTo } from './log-position';
import { insteadOfIncremental, planSound } from './plan-backup';
import { announceUse, requireNoSweep, requireThere, withdrawUse } from './uses';

/** A backup that was planned; every later step gets it unchanged. */
export interface PreparedBackup {
  readonly application: string;
  readonly ref: BackupRef;
  readonly plan: DumpPlan;
  /** The queue of the host that holds the spool. */
  readonly hostQueue: string;
}

export interface UploadedBackup {
  readonly attempt: number;
  readonly artifacts: number;
  readonly storedBytes: number;
  readonly contentBytes: number;
}

export interface CommittedBackup {
  readonly consistentAt: string;
  readonly storedBytes: number;
}

export type MirrorSummary = Pick<MirrorResult, 'from' | 'to' | 'uploaded' | 'unchanged' | 'deleted'>;

/**
 * A sequence is one pass of the workflow over dump and upload (a new one starts when a host was lost); Temporal counts
 * attempts within it. Together they give each attempt a number of its own for ever.
 */
const ATTEMPTS_PER_SEQUENCE = 100;

export function createBackupActivities(deps: ActivityDeps) {
  const attemptOf = (ref: BackupRef, sequence: number): AttemptRef => ({
    ...ref,
    attempt: sequence * ATTEMPTS_PER_SEQUENCE + activityInfo().attempt,
  });

  return {
    /**
     * Settles what will be dumped, from where, and on which host, and keeps retention from what it builds on; waits for a sweep
     * that may be deleting that already. `refused`: why the incremental that was planned before could not be taken; the full in
     * its place then says so.
     */
    async prepareBackup(input: {
      application: string;
      store: string;
      type: BackupType;
      site: string;
      refused?: string;
    }): Promise<PreparedBackup> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        const engine = open.engine(input.store);
        const existing = await open.catalog(input.store).list(input.store);
        const backupId = backupIdOf(new Date().toISOString(), input.type, randomBytes(4).toString('hex'));
        const request = { backupId, type: input.type, site: input.site, existing };
        const planned = await planSound(open, request, input.store, ctx);
        const plan = input.refused === undefined ? planned : insteadOfIncremental(planned, input.refused);
        const parent = existing.find((each) => each.backupId === plan.parent);
        const builtOn = parent ? (chainOf(parent, existing) ?? [parent]).map((each) => each.backupId) : [];
        await announceUse(open, input.store, { kind: 'backup', backups: [plan.backupId, ...builtOn] }, ctx);
        if (builtOn.length > 0) {
          await requireNoSweep(open, input.store, ctx);
          await requireThere(input.store, builtOn, open.catalog(input.store));
        }
        return {
          application: input.application,
          ref: { store: input.store, backupId: plan.backupId, kind: engine.artifactKind(plan.type) },
          plan,
          hostQueue: taskQueues.host(input.application, deps.site, deps.hostId),
        };
      });
    },

    /** Copies the store into this host's spool. A try that died is swept by the next one, which starts again. */
    async dumpVolumes(input: { prepared: PreparedBackup; sequence: number }): Promise<{ attempt: number }> {
      const { application, ref, plan } = input.prepared;
      return withCallContext(async (ctx) => {
        const open = deps.open(application);
        const attempt = attemptOf(ref, input.sequence);
        const dump = await open.transfer(ref.store).beginSpool(attempt, plan.estimatedBytes);
        await fill(open, plan, ref.store, dump, ctx);
        return { attempt: attempt.attempt };
      });
    },

    /** Uploads volumes while `dumpVolumes` makes them; resumes by volume and part. */
    async uploadVolumes(input: { prepared: PreparedBackup }): Promise<UploadedBackup> {
      const { application, ref } = input.prepared;
      return withCallContext(async (ctx) => {
        const stored = await deps.open(application).transfer(ref.store).uploadSpool(ref, ctx);
        return summary(stored.attempt, stored.artifacts);
      });
    },

    /** Dump and upload in one, without a spool: constant memory and no disk; a retry starts again. */
    async streamVolumes(input: { prepared: PreparedBackup; sequence: number }): Promise<UploadedBackup> {
      const { application, ref, plan } = input.prepared;
      return withCallContext(async (ctx) => {
        const open = deps.open(application);
        const attempt = attemptOf(ref, input.sequence);
        const dump = await open.transfer(ref.store).beginStream(attempt, ctx);
        await fill(open, plan, ref.store, dump, ctx);
        const stored = await open.transfer(ref.store).stored(attempt);
        return summary(stored.attempt, stored.artifacts);
      });
    },

    /** Asks the repository for the size and digest of every artifact and compares them with what was sent. */
    async verifyArtifacts(input: { prepared: PreparedBackup; attempt: number }): Promise<void> {
      const { application, ref } = input.prepared;
      await withCallContext(async (ctx) => {
        const transfer = deps.open(application).transfer(ref.store);
        await transfer.verify(await transfer.stored({ ...ref, attempt: input.attempt }), ctx);
      });
    },

    /** A backup is consistent only once the archived log reaches its stop position: waits for that. */
    async waitForLog(input: { prepared: PreparedBackup; attempt: number }): Promise<void> {
      const { application, ref } = input.prepared;
      await withCallContext(async (ctx) => {
        const open = deps.open(application);
        const stored = await open.transfer(ref.store).stored({ ...ref, attempt: input.attempt });
        await waitForLogTo(open, ref.store, stored.dump, ctx);
        await requireRestorable(open, manifestOf(open, input.prepared, stored), ctx);
      });
    },

    /** Writes the manifest, last: from now on the backup exists. */
    async commitManifest(input: { prepared: PreparedBackup; attempt: number }): Promise<CommittedBackup> {
      const { application, ref } = input.prepared;
      return withCallContext(async () => {
        const open = deps.open(application);
        const stored = await open.transfer(ref.store).stored({ ...ref, attempt: input.attempt });
        const manifest = manifestOf(open, input.prepared, stored);
        await open.catalog(ref.store).commit(manifest);
        return { consistentAt: manifest.consistentAt, storedBytes: storedBytes(manifest) };
      });
    },

    /** Brings the public copies of the store's directories up to date, deletions included. */
    async mirrorAssets(input: {
      application: string;
      store: string;
      site: string;
      epoch: number;
    }): Promise<MirrorSummary[]> {
      return withCallContext(async (ctx) => {
        // A backup that outlives a role change must not put the old site's tree over the new one's.
        await requireEpoch(deps.open(input.application), input.epoch);
        const summaries: MirrorSummary[] = [];
        for (const mirror of deps.open(input.application).mirrors(input.store)) {
          const result = await mirror.sync({ site: input.site, dryRun: false, maxDeleteShare: null }, ctx);
          const { from, to, uploaded, unchanged, deleted } = result;
          summaries.push({ from, to, uploaded, unchanged, deleted });
        }
        return summaries;
      });
    },

    /** Removes this host's spool of the backup. */
    async removeSpool(input: { prepared: PreparedBackup }): Promise<void> {
      const { application, ref } = input.prepared;
      await withCallContext(() => deps.open(application).transfer(ref.store).removeSpool(ref));
    },

    /** Removes what other attempts left in the repository: all of them when nothing was committed. */
    async sweepAttempts(input: { prepared: PreparedBackup; keepAttempt: number | null }): Promise<void> {
      const { application, ref } = input.prepared;
      await withCallContext(async (ctx) => {
        const open = deps.open(application);
        await open.transfer(ref.store).sweep(ref, input.keepAttempt);
        await withdrawUse(open, ref.store, ctx);
      });
    },
  };
}

/** What is committed. The same for every try: a repeated commit must write the same bytes. */
function manifestOf(
  open: OpenApplication,
  { application, ref, plan }: PreparedBackup,
  stored: AttemptRecord,
): Manifest {
  const { workflowExecution, scheduledTimestampMs } = activityInfo();
  if (!workflowExecution) throw failure('UsageInvalid', 'a backup is committed only as part of its workflow');
  return {
    ...stored.dump,
    formatVersion: 1,
    backupId: plan.backupId,
    application,
    store: ref.store,
    engine: open.engine(ref.store).kind,
    type: plan.type,
    parent: plan.parent,
    typeReason: plan.typeReason,
    // The attempt's own time, not the clock.
    committedAt: new Date(scheduledTimestampMs).toISOString(),
    artifacts: stored.artifacts,
    early: stored.early,
    attempt: stored.attempt,
    workflowId: workflowExecution.workflowId,
    runId: workflowExecution.runId,
  };
}

/** Lets the engine fill the attempt, and ends it one way or the other. */
async function fill(
  open: OpenApplication,
  plan: DumpPlan,
  store: string,
  dump: DumpAttempt,
  ctx: CallContext,
): Promise<void> {
  try {
    const chain = plan.parent === null ? null : await chainTo(open, store, plan.parent);
    const engine = open.engine(store);
    if (chain && engine.log?.end) {
      const end = await engine.log.end(plan.source.site, ctx);
      return await dump.finish(sealedDump(chain.at(-1) as Manifest, end, engine.log.naming));
    }
    const parent = chain && { chain, source: open.transfer(store).source(chain) };
    await dump.finish(await engine.dump(plan, parent, dump.sink, ctx));
  } catch (error) {
    await dump.discard(error);
    throw error;
  }
}

/** Throws NotFound for a parent that is not there any more, or not whole. */
async function chainTo(open: OpenApplication, store: string, backupId: string): Promise<readonly Manifest[]> {
  const all = await open.catalog(store).list(store);
  const parent = all.find((each) => each.backupId === backupId);
  const chain = parent && chainOf(parent, all);
  if (chain) return chain;
  throw failure('NotFound', `${store} has no backup ${backupId} with all that it builds on`);
}

function summary(attempt: number, artifacts: readonly { sizeBytes: number; contentBytes: number }[]): UploadedBackup {
  return {
    attempt,
    artifacts: artifacts.length,
    storedBytes: artifacts.reduce((sum, each) => sum + each.sizeBytes, 0),
    contentBytes: artifacts.reduce((sum, each) => sum + each.contentBytes, 0),
  };
}
