import { CancellationScope, isCancellation, ParentClosePolicy, startChild } from '@temporalio/workflow';
import { ActivityFailure, TimeoutFailure, TimeoutType, WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { hasCode, reasonOf } from '../core/errors';
import { formatBytes } from '../core/clock';
import { workflowIds } from '../core/names';
import type { BackUpStoreInput, BackUpStoreResult } from '../core/runs';
import type { PreparedBackup, UploadedBackup } from '../activities/backup';
import { copyStore } from './copy-store';
import { anywhere, atSite, finishing, onHost, uploadingFrom } from './proxies';
import { StepTable } from './step-table';

/** A host that vanishes three times in a row is not bad luck. */
const MAXIMUM_SEQUENCES = 3;

/** One run, and its backup as it is planned now: on another host where the first was lost, as a full where no incremental can be. */
interface Run {
  readonly input: BackUpStoreInput;
  readonly site: string;
  readonly mode: 'spool' | 'stream';
  readonly steps: StepTable;
  prepared: PreparedBackup;
}

/**
 * Backs one store up: plan, dump and upload side by side, verify, wait until the log reaches the backup's end, commit the
 * manifest, clean up. Nothing is a backup until the manifest is written; what a failed run left is removed.
 */
export async function backUpStore(input: BackUpStoreInput): Promise<BackUpStoreResult> {
  const { application, store } = input;
  const steps = new StepTable('backup', application);
  const startedAt = Date.now();
  const finish = finishing(application);

  const {
    application: described,
    activeSite: site,
    epoch,
  } = await anywhere(application).describeApplication({ application });
  const { mode } = described.backup;
  const run: Run = { input, site, mode, steps, prepared: await plan(steps, site, input) };

  let uploaded: UploadedBackup;
  let consistentAt: string;
  try {
    steps.enter('copying');
    uploaded = await copy(run);
    const { prepared } = run;
    const { attempt } = uploaded;

    steps.enter('verifying');
    await steps.run('verify', 'Verify every stored artifact', () => finish.verifyArtifacts({ prepared, attempt }));
    await steps.run('log', 'Wait until the log reaches the end of the backup', () =>
      finish.waitForLog({ prepared, attempt }),
    );

    steps.enter('committing');
    const commit = () => finish.commitManifest({ prepared, attempt });
    ({ consistentAt } = await steps.run('commit', 'Write the manifest', commit));
  } catch (error) {
    const ending = isCancellation(error) ? 'cancelled' : 'failed';
    steps.enter(ending);
    await CancellationScope.nonCancellable(() =>
      afterwards(steps, 'clean', 'Remove what this run left', () => cleanUp(run.prepared, null)),
    );
    steps.finish(ending);
    throw error;
  }

  // The backup exists. What goes wrong from here on is a warning: it takes nothing away from it.
  const { plan: taken, hostQueue } = run.prepared;
  const warnings = await CancellationScope.nonCancellable(async () => [
    ...(await afterwards(steps, 'clean', 'Remove the spool and what earlier attempts left', () =>
      cleanUp(run.prepared, uploaded.attempt),
    )),
    ...(described.stores.find((each) => each.name === store)?.hasMirrors
      ? await afterwards(steps, 'mirror', `Mirror the static assets of ${store}`, () =>
          mirror({ application, store, site, epoch }, hostQueue),
        )
      : []),
    ...(await beginCopies(steps, input, described.stores.find((each) => each.name === store)?.copies ?? [])),
  ]);
  steps.finish('completed');
  return {
    backupId: taken.backupId,
    store,
    type: taken.type,
    typeReason: taken.typeReason,
    consistentAt,
    storedBytes: uploaded.storedBytes,
    contentBytes: uploaded.contentBytes,
    seconds: (Date.now() - startedAt) / 1_000,
    warnings,
  };
}

/** `refused`: why the incremental that was planned before cannot be. */
function plan(
  steps: StepTable,
  site: string,
  { application, store, type }: Pick<BackUpStoreInput, 'application' | 'store' | 'type'>,
  refused?: string,
): Promise<PreparedBackup> {
  return steps.run(
    'prepare',
    `Plan the backup of ${store}`,
    () => atSite(application, site).prepareBackup({ application, store, type, site, ...(refused ? { refused } : {}) }),
    (prepared) => {
      const { backupId, source, typeReason } = prepared.plan;
      return `${backupId} from ${source.member}${typeReason ? `: ${typeReason}` : ''}`;
    },
  );
}

/** Dump and upload, again on another host where one was lost with its spool, and as a full where the server takes no incremental. */
async function copy(run: Run): Promise<UploadedBackup> {
  const { input, site, steps } = run;
  for (let sequence = 0; ; sequence += 1) {
    try {
      return await copyOnHost(run, sequence);
    } catch (error) {
      if (run.prepared.plan.type === 'incr' && hasCode(error, 'IncrementalRefused')) {
        await planFull(run, reasonOf(error));
      } else if (isHostLost(error) && sequence + 1 < MAXIMUM_SEQUENCES) {
        steps.say(`the host of ${run.prepared.hostQueue} took no work: starting again on another one`);
        const { hostQueue } = await atSite(input.application, site).prepareBackup({ ...input, site });
        run.prepared = { ...run.prepared, hostQueue };
      } else {
        throw error;
      }
    }
  }
}

/** What the plan did not foresee: summaries that went meanwhile, for one. Waiting for the next run would not bring them back. */
async function planFull(run: Run, why: string): Promise<void> {
  const { input, site, steps } = run;
  steps.say(`${why}: a full is taken instead`);
  const remove = () => cleanUp(run.prepared, null);
  await steps.run('refused', `Remove what ${run.prepared.plan.backupId} left`, remove, (note) => note);
  run.prepared = await plan(steps, site, { ...input, type: 'full' }, why);
}

async function copyOnHost({ steps, prepared, mode }: Run, sequence: number): Promise<UploadedBackup> {
  const { hostQueue } = prepared;
  const host = onHost(hostQueue);
  const size = ({ artifacts, storedBytes, contentBytes }: UploadedBackup) =>
    `${formatBytes(contentBytes)} in ${artifacts} artifacts, ${formatBytes(storedBytes)} stored`;
  if (mode === 'stream') {
    return steps.run('stream', 'Dump and upload in one stream', () => host.streamVolumes({ prepared, sequence }), size);
  }
  // Side by side in one scope: when the dump fails for good, the upload, which waits for more volumes, is cancelled.
  const scope = new CancellationScope();
  return scope.run(async () => {
    const dumpVolumes = () => host.dumpVolumes({ prepared, sequence });
    const dump = steps.run('dump', `Dump ${prepared.ref.store} into the spool`, dumpVolumes);
    const uploadVolumes = () => uploadingFrom(hostQueue).uploadVolumes({ prepared });
    const upload = steps.run('upload', 'Upload the volumes', uploadVolumes, size);
    try {
      const [, uploaded] = await Promise.all([dump, upload]);
      return uploaded;
    } catch (error) {
      scope.cancel();
      await Promise.allSettled([dump, upload]);
      throw error;
    }
  });
}

/** A step after the outcome is settled: its failure is told and changes nothing. Answers what to warn of. */
async function afterwards(steps: StepTable, id: string, title: string, work: () => Promise<string>): Promise<string[]> {
  try {
    await steps.run(id, title, work, (note) => note);
    return [];
  } catch (error) {
    const warning = `${title}: ${reasonOf(error)}`;
    steps.say(warning);
    return [warning];
  }
}

/** To each further repository, without waiting for it: the schedule makes up for one that does not begin. */
async function beginCopies(
  steps: StepTable,
  { application, store }: Pick<BackUpStoreInput, 'application' | 'store'>,
  copies: readonly string[],
): Promise<string[]> {
  const warnings: string[] = [];
  for (const to of copies) {
    const begin = async () => {
      try {
        await startChild(copyStore, {
          workflowId: workflowIds.copy(application, to, store),
          args: [{ application, store, copy: to, requestedBy: 'backup', wholeListing: false }],
          parentClosePolicy: ParentClosePolicy.ABANDON,
          staticSummary: `copy of ${store} to ${to} (backup)`,
        });
        return 'begun';
      } catch (error) {
        if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
        return 'an earlier one is under way: the next one takes this backup along';
      }
    };
    warnings.push(...(await afterwards(steps, `copy:${to}`, `Begin to copy it to ${to}`, begin)));
  }
  return warnings;
}

/** The public's copy of static assets, made equal after their backup: what a mirror deletes was backed up before. */
async function mirror(
  input: { application: string; store: string; site: string; epoch: number },
  hostQueue: string,
): Promise<string> {
  const mirrors = await onHost(hostQueue).mirrorAssets(input);
  return mirrors
    .map(({ to, uploaded, unchanged, deleted }) => `${to}: ${uploaded} new, ${unchanged} equal, ${deleted} deleted`)
    .join('; ');
}

async function cleanUp(prepared: PreparedBackup, keepAttempt: number | null): Promise<string> {
  const { hostQueue } = prepared;
  await anywhere(prepared.application).sweepAttempts({ prepared, keepAttempt });
  try {
    await onHost(hostQueue).removeSpool({ prepared });
    return 'clean';
  } catch (error) {
    // The host is gone and its spool with it; one that returns sweeps its spool before it takes work (workers/main.ts).
    if (isHostLost(error)) return `the spool of ${hostQueue} could not be reached`;
    throw error;
  }
}

function isHostLost(error: unknown): boolean {
  return (
    error instanceof ActivityFailure &&
    error.cause instanceof TimeoutFailure &&
    error.cause.timeoutType === TimeoutType.SCHEDULE_TO_START
  );
}
