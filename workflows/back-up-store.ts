import { CancellationScope, isCancellation } from '@temporalio/workflow';
import { ActivityFailure, TimeoutFailure, TimeoutType } from '@temporalio/common';
import { formatBytes } from '../core/clock';
import type { BackUpStoreInput, BackUpStoreResult } from '../core/runs';
import type { PreparedBackup, UploadedBackup } from '../activities/backup';
import { atSite, control, onHost } from './proxies';
import { StepTable } from './step-table';

/** A host that vanishes three times in a row is not bad luck. */
const MAXIMUM_SEQUENCES = 3;

/**
 * Backs one store up: plan, dump and upload side by side, verify, wait until the log reaches the backup's end, commit the
 * manifest, clean up. Nothing is a backup until the manifest is written; what a failed run left is removed.
 */
export async function backUpStore(input: BackUpStoreInput): Promise<BackUpStoreResult> {
  const { application, store } = input;
  const steps = new StepTable('backup', application);
  const startedAt = Date.now();

  const state = await control.describeApplication({ application });
  const site = state.activeSite;
  const prepared = await steps.run(
    'prepare',
    `Plan the backup of ${store}`,
    () => atSite(application, site).prepareBackup({ application, store, type: input.type, site }),
    ({ plan }) => `${plan.backupId} from ${plan.source.member}${plan.typeReason ? `: ${plan.typeReason}` : ''}`,
  );
  const anywhere = atSite(application, site);

  let committedAttempt: number | null = null;
  try {
    steps.enter('copying');
    const { uploaded, sequencePrepared } = await copy(steps, prepared, state.application.backup.mode, input, site);
    const { attempt } = uploaded;

    steps.enter('verifying');
    await steps.run('verify', 'Verify every stored artifact', () =>
      anywhere.verifyArtifacts({ prepared: sequencePrepared, attempt }),
    );
    await steps.run('log', 'Wait until the log reaches the end of the backup', () =>
      anywhere.waitForLog({ prepared: sequencePrepared, attempt }),
    );

    steps.enter('committing');
    const committed = await steps.run('commit', 'Write the manifest', () =>
      anywhere.commitManifest({ prepared: sequencePrepared, attempt }),
    );
    committedAttempt = attempt;
    await steps.run('clean', 'Remove the spool and what earlier attempts left', () =>
      cleanUp(sequencePrepared, attempt, site),
    );
    if (state.application.stores.find((each) => each.name === store)?.hasMirrors) {
      await mirror(steps, application, store, sequencePrepared.hostQueue, site);
    }
    steps.finish('completed');
    return {
      backupId: prepared.plan.backupId,
      store,
      type: prepared.plan.type,
      typeReason: prepared.plan.typeReason,
      consistentAt: committed.consistentAt,
      storedBytes: uploaded.storedBytes,
      contentBytes: uploaded.contentBytes,
      seconds: (Date.now() - startedAt) / 1_000,
    };
  } catch (error) {
    steps.enter(isCancellation(error) ? 'cancelled' : 'failed');
    await CancellationScope.nonCancellable(() =>
      steps.run('clean', 'Remove what this run left', () => cleanUp(prepared, committedAttempt, site)),
    );
    steps.finish(isCancellation(error) ? 'cancelled' : 'failed');
    throw error;
  }
}

/** Dump and upload. A host that is lost loses its spool: the sequence starts again on another one. */
async function copy(
  steps: StepTable,
  first: PreparedBackup,
  mode: 'spool' | 'stream',
  input: BackUpStoreInput,
  site: string,
): Promise<{ uploaded: UploadedBackup; sequencePrepared: PreparedBackup }> {
  let prepared = first;
  for (let sequence = 0; ; sequence += 1) {
    try {
      return { uploaded: await copyOnHost(steps, prepared, mode, sequence), sequencePrepared: prepared };
    } catch (error) {
      if (!isHostLost(error) || sequence + 1 >= MAXIMUM_SEQUENCES) throw error;
      steps.say(`the host of ${prepared.hostQueue} took no work: starting again on another one`);
      const again = await atSite(input.application, site).prepareBackup({ ...input, site });
      prepared = { ...prepared, hostQueue: again.hostQueue };
    }
  }
}

async function copyOnHost(
  steps: StepTable,
  prepared: PreparedBackup,
  mode: 'spool' | 'stream',
  sequence: number,
): Promise<UploadedBackup> {
  const host = onHost(prepared.hostQueue);
  const size = ({ artifacts, storedBytes, contentBytes }: UploadedBackup) =>
    `${formatBytes(contentBytes)} in ${artifacts} artifacts, ${formatBytes(storedBytes)} stored`;
  if (mode === 'stream') {
    return steps.run('stream', 'Dump and upload in one stream', () => host.streamVolumes({ prepared, sequence }), size);
  }
  // Side by side in one scope: when the dump fails for good, the upload, which waits for more volumes, is cancelled.
  const scope = new CancellationScope();
  return scope.run(async () => {
    const dump = steps.run('dump', `Dump ${prepared.ref.store} into the spool`, () =>
      host.dumpVolumes({ prepared, sequence }),
    );
    const upload = steps.run('upload', 'Upload the volumes', () => host.uploadVolumes({ prepared }), size);
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

/** The public's copy of static assets, made equal after their backup, so that what a mirror deletes was backed up before. */
async function mirror(
  steps: StepTable,
  application: string,
  store: string,
  hostQueue: string,
  site: string,
): Promise<void> {
  await steps.run(
    'mirror',
    `Mirror the static assets of ${store}`,
    () => onHost(hostQueue).mirrorAssets({ application, store, site }),
    (mirrors) =>
      mirrors
        .map(({ to, uploaded, unchanged, deleted }) => `${to}: ${uploaded} new, ${unchanged} equal, ${deleted} deleted`)
        .join('; '),
  );
}

async function cleanUp(prepared: PreparedBackup, keepAttempt: number | null, site: string): Promise<string> {
  await atSite(prepared.application, site).sweepAttempts({ prepared, keepAttempt });
  try {
    await onHost(prepared.hostQueue).removeSpool({ prepared });
    return 'clean';
  } catch (error) {
    // The host is gone and its spool with it; a host that returns sweeps spools without a running backup at its start.
    if (isHostLost(error)) return `the spool of ${prepared.hostQueue} could not be reached`;
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
