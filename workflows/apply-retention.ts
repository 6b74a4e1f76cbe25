import { condition, executeChild, setHandler, workflowInfo } from '@temporalio/workflow';
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { countOf, formatBytes } from '../core/clock';
import { findFailure, reasonOf } from '../core/errors';
import { workflowIds } from '../core/names';
import {
  type ApplyRetentionInput,
  type ApplyRetentionResult,
  isNothing,
  type MarkedStore,
  placeText,
  type RetentionAmounts,
  type StorePlace,
  type SweptStore,
} from '../core/retention/runs';
import { commands } from '../core/runs';
import { onCommand, planQuery, refuse } from './commands';
import { sweeping, telling } from './proxies';
import { StepTable } from './step-table';

/**
 * Deletes what nothing needs any more: marks it in the repository, waits out the grace in which a person may put a hold on it
 * or abort, then deletes what is marked and still not needed. One store that is refused or fails leaves the others as they
 * are. Only one of an application runs at a time, whoever starts it.
 */
export async function applyRetention(input: ApplyRetentionInput): Promise<ApplyRetentionResult> {
  // A schedule appends the time to its workflow's id, so that this id is no lock: its child's is (rule 7).
  return input.isOnlyOne ? apply(input) : launch(input);
}

const NOTHING_DONE: ApplyRetentionResult = { swept: [], failed: [], aborted: null, skipped: false };

async function launch(input: ApplyRetentionInput): Promise<ApplyRetentionResult> {
  const { application, requestedBy } = input;
  const steps = new StepTable('retention', application);
  try {
    const staticSummary = `retention of ${application} (${requestedBy})`;
    const workflowId = workflowIds.retention(application);
    const args: [ApplyRetentionInput] = [{ ...input, isOnlyOne: true }];
    const start = () => executeChild(applyRetention, { workflowId, args, staticSummary });
    const result = await steps.run('retention', 'Delete what is not kept any more', start);
    steps.finish(result.failed.length > 0 ? 'completed with failures' : 'completed');
    return result;
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    steps.mark('retention', 'skipped', 'the run before is still at work');
    steps.finish('skipped');
    return { ...NOTHING_DONE, skipped: true };
  }
}

type Failed = ApplyRetentionResult['failed'][number];

async function apply(input: ApplyRetentionInput): Promise<ApplyRetentionResult> {
  const { application, stores, requestedBy: by } = input;
  const { runId } = workflowInfo();
  const steps = new StepTable('retention', application);
  const marked: MarkedStore[] = [];
  const swept: SweptStore[] = [];
  const failed: Failed[] = [];
  const limits = { maxDeleteShare: input.maxDeleteShare ?? null, graceSeconds: input.graceSeconds ?? null };
  /** Who ended it, and why. */
  const abort: { by: string | null } = { by: null };
  const open = () => {
    if (steps.phase !== 'marking' && steps.phase !== 'waiting') throw refuse(`it is ${steps.phase} already`);
  };
  setHandler(planQuery<MarkedStore[]>(), () => marked);
  onCommand(
    commands.abort,
    open,
    (command) => void (abort.by = `${command.by}${command.reason ? `: ${command.reason}` : ''}`),
    (message) => steps.say(message),
  );
  const places: StorePlace[] = [...stores.map((store) => ({ store })), ...(input.copies ?? [])];
  const each = async (id: string, title: (name: string) => string, of: readonly StorePlace[], work: Work) => {
    for (const place of of) {
      const { store, copy } = place;
      const step = copy === undefined ? `${id}:${store}` : `${id}:${copy}:${store}`;
      try {
        await steps.run(
          step,
          title(placeText(place)),
          () => work(place),
          (note) => note,
        );
      } catch (error) {
        failed.push({ store: placeText(place), code: findFailure(error)?.code ?? 'Unknown', message: reasonOf(error) });
      }
    }
  };

  steps.enter('marking');
  await each(
    'mark',
    (name) => `Mark what ${name} does not need any more`,
    places,
    async (place) => {
      const mark = await sweeping(application).markExpired({ application, ...place, runId, by, ...limits });
      for (const problem of mark.problems) steps.say(`${placeText(place)}: ${problem}`);
      if (!isNothing(mark)) marked.push(mark);
      return amountsText(mark);
    },
  );

  steps.enter('waiting');
  const sweepAt = Math.max(...marked.map((mark) => Date.parse(mark.sweepAt)));
  if (marked.length > 0 && sweepAt > Date.now()) {
    steps.waitingFor = `the end of the grace at ${new Date(sweepAt).toISOString()}: until then hold what must stay, or abort`;
    steps.enter('waiting');
    await condition(() => abort.by !== null, sweepAt - Date.now());
    steps.waitingFor = null;
  }
  const going = marked.map(({ store, copy }): StorePlace => ({ store, ...(copy === undefined ? {} : { copy }) }));
  if (abort.by !== null) {
    steps.say(`aborted by ${abort.by}`);
    await each(
      'unmark',
      (name) => `Take the mark of ${name} back`,
      going,
      async (place) => {
        await sweeping(application).unmarkExpired({ application, ...place, runId });
        return 'nothing was deleted';
      },
    );
  } else {
    steps.enter('deleting');
    await each(
      'sweep',
      (name) => `Delete it from ${name}`,
      going,
      async (place) => {
        swept.push(await sweeping(application).sweepExpired({ application, ...place, runId }));
        return amountsText(swept.at(-1) as SweptStore);
      },
    );
  }
  if (failed.length > 0) await tell(steps, application, runId, failed);
  steps.finish(abort.by !== null ? 'aborted' : failed.length > 0 ? 'completed with failures' : 'completed');
  return { ...NOTHING_DONE, swept, failed, aborted: abort.by };
}

type Work = (place: StorePlace) => Promise<string>;

/** What is not deleted costs money and nothing else, so that it is no more than a warning. */
async function tell(steps: StepTable, application: string, runId: string, failed: readonly Failed[]): Promise<void> {
  await steps.run('tell', 'Tell people what was not deleted', () =>
    telling(application).notify({
      id: `retention:${application}:${runId}`,
      application,
      severity: 'warning',
      title: `retention failed for ${failed.map(({ store }) => store).join(', ')}`,
      lines: failed.map(({ store, message }) => `${store}: ${message}`),
      at: new Date().toISOString(),
      fields: { stores: failed.map(({ store }) => store).join(',') },
    }),
  );
}

function amountsText(amounts: RetentionAmounts): string {
  const { backups, log, leftovers, unfinishedUploads } = amounts;
  if (isNothing(amounts)) return 'nothing';
  const parts = [
    backups.objects > 0 ? countOf(backups.objects, 'backup') : null,
    log.objects > 0 ? `${countOf(log.objects, 'piece')} of log` : null,
    leftovers.objects > 0 ? countOf(leftovers.objects, 'leftover object') : null,
    unfinishedUploads > 0 ? countOf(unfinishedUploads, 'unfinished upload') : null,
  ];
  const bytes = Math.max(backups.sizeBytes, leftovers.sizeBytes) + log.sizeBytes;
  return `${parts.filter((part) => part !== null).join(', ')}: ${formatBytes(bytes)}`;
}
