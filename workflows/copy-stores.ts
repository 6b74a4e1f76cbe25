import { executeChild } from '@temporalio/workflow';
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import type { CopiedStore } from '../core/copies';
import type { CopyStoresInput, CopyStoresResult } from '../core/copy-runs';
import { findFailure, reasonOf } from '../core/errors';
import { workflowIds } from '../core/names';
import { copyStore } from './copy-store';
import { StepTable, wasCancelled } from './step-table';

/** Copies made at once: they share one line to the other repository. */
const AT_ONCE = 4;

type Wanted = CopyStoresInput['copies'][number];

/**
 * Started by a schedule or a person. The lock is the child's id, one for each store and copy: one that is being made is skipped, and
 * one that fails leaves the others alone.
 */
export async function copyStores(input: CopyStoresInput): Promise<CopyStoresResult> {
  const { application, requestedBy, wholeListing } = input;
  const steps = new StepTable('copy', application);
  const copied: CopiedStore[] = [];
  const failed: CopyStoresResult['failed'][number][] = [];
  const skipped: Wanted[] = [];
  const idOf = ({ store, copy }: Wanted) => `${store}:${copy}`;
  for (const each of input.copies) steps.announce(idOf(each), `Copy ${each.store} to ${each.copy}`);
  steps.enter('copying');

  const one = async ({ store, copy }: Wanted) => {
    try {
      const start = () =>
        executeChild(copyStore, {
          workflowId: workflowIds.copy(application, copy, store),
          args: [{ application, store, copy, requestedBy, wholeListing }],
          staticSummary: `copy of ${store} to ${copy} (${requestedBy})`,
        });
      const note = ({ completeUntil }: CopiedStore) => `complete until ${completeUntil.slice(0, 19)}Z`;
      copied.push(await steps.run(idOf({ store, copy }), `Copy ${store} to ${copy}`, start, note));
    } catch (error) {
      if (wasCancelled(error)) throw error;
      if (error instanceof WorkflowExecutionAlreadyStartedError) {
        steps.mark(idOf({ store, copy }), 'skipped', 'it is being made already');
        skipped.push({ store, copy });
      } else {
        failed.push({ store, copy, code: findFailure(error)?.code ?? 'Unknown', message: reasonOf(error) });
      }
    }
  };
  const left = [...input.copies];
  const lane = async () => {
    for (let next = left.shift(); next; next = left.shift()) await one(next);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  const isWhole = failed.length === 0 && copied.every(({ notCopied }) => notCopied.length === 0);
  steps.finish(isWhole ? 'completed' : 'completed with failures');
  return { copied, failed, skipped };
}
