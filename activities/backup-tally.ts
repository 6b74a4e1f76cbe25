import { layout } from '../core/layout';
import {
  askFailuresSince,
  countBackups,
  countFailures,
  EMPTY_TALLY,
  type FailedBackups,
  isTally,
  type Tally,
  tallyOf,
} from '../core/monitoring/tally';
import type { OpenApplication } from './deps';
import { readKept, unlessDamaged } from './kept-state';

/** What is counted so far; nothing before the first count. Throws BackupCorrupt where that is damaged. */
export async function readTally({ control }: OpenApplication): Promise<Tally> {
  return (await readKept(control, layout.tally(), isTally)) ?? EMPTY_TALLY;
}

/**
 * Counts what was committed and what failed since it was counted last, and keeps it. Workers that count at the same time write
 * the same; one that writes what is older by then only has the others count that again. `newest`: the newest backup of each
 * store as somebody has just seen it, which spares looking for more where it is counted. `problem`: what was counted before is
 * damaged, and everything that is still there was counted anew.
 */
export async function updateTally(
  open: OpenApplication,
  newest: ReadonlyMap<string, string>,
  failedBackups: FailedBackups,
  now: string,
): Promise<{ readonly tally: Tally; readonly problem: string | null }> {
  const { value: before, problem } = await unlessDamaged(readTally(open), EMPTY_TALLY);
  let tally = before;
  for (const { name: store } of open.application.stores) {
    const { countedThrough } = tallyOf(tally, store);
    if (countedThrough !== null && newest.get(store) === countedThrough) continue;
    const added = await open.catalog(store).list(store, countedThrough === null ? {} : { after: countedThrough });
    tally = countBackups(tally, store, added);
  }
  tally = countFailures(tally, await failedBackups(open.application.name, askFailuresSince(tally)), now);
  if (tally !== before) await open.control.put(layout.tally(), Buffer.from(`${JSON.stringify(tally)}\n`));
  return { tally, problem };
}
