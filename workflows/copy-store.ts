import type { CopiedStore } from '../core/copies';
import { countOf, formatBytes } from '../core/clock';
import type { CopyStoreInput } from '../core/copy-runs';
import { reading } from './proxies';
import { StepTable, wasCancelled } from './step-table';

/**
 * Makes one copy of one store complete, without asking the store. Only one of them runs at a time, by its id; a schedule and every
 * backup start it. What was stored meanwhile is for the next one.
 */
export async function copyStore(input: CopyStoreInput): Promise<CopiedStore> {
  const { application, store, copy, wholeListing } = input;
  const steps = new StepTable('copy', application);
  steps.enter('copying');
  try {
    const copied = await steps.run(
      'copy',
      `Copy ${store} to ${copy}`,
      () => reading(application).copyToRepository({ application, store, copy, wholeListing }),
      copiedText,
    );
    for (const { key, problem } of copied.notCopied) steps.say(`NOT COPIED: ${key}: ${problem}`);
    steps.finish(copied.notCopied.length > 0 ? 'completed with failures' : 'completed');
    return copied;
  } catch (error) {
    steps.finish(wasCancelled(error) ? 'cancelled' : 'failed');
    throw error;
  }
}

function copiedText({ backups, log, notCopied }: CopiedStore): string {
  const what = `${countOf(backups.objects, 'backup')}, ${countOf(log.objects, 'piece')} of log`;
  const missed = notCopied.length > 0 ? `; ${countOf(notCopied.length, 'object')} NOT COPIED` : '';
  return `${what}: ${formatBytes(backups.sizeBytes + log.sizeBytes)}${missed}`;
}
