import { hasCode } from '../core/errors';
import { layout } from '../core/layout';
import {
  askFailuresSince,
  countBackups,
  countFailures,
  EMPTY_TALLY,
  type FailedBackups,
  type Tally,
  tallyOf,
} from '../core/monitoring/tally';
import type { OpenApplication } from './deps';

/** What is counted so far; nothing before the first count. */
export async function readTally({ control }: OpenApplication): Promise<Tally> {
  try {
    return JSON.parse((await control.read(layout.tally())).toString('utf8')) as Tally;
  } catch (error) {
    if (hasCode(error, 'NotFound')) return EMPTY_TALLY;
    throw error;
  }
}

/**
 * Counts what was committed and what failed since it was counted last, and keeps it. Workers that count at the same time write
 * the same; one that writes what is older by then only has the others count that again. `newest`: the newest backup of each
 * store as somebody has just seen it, which spares looking for more where it is counted.
 */
export async function updateTally(
  open: OpenApplication,
  newest: ReadonlyMap<string, string>,
  failedBackups: FailedBackups,
  now: string,
): Promise<Tally> {
  const before = await readTally(open);
  let tally = before;
  for (const { name: store } of open.application.stores) {
    const { countedThrough } = tallyOf(tally, store);
    if (countedThrough !== null && newest.get(store) === countedThrough) continue;
    const added = await open.catalog(store).list(store, countedThrough === null ? {} : { after: countedThrough });
    tally = countBackups(tally, store, added);
  }
  tally = countFailures(tally, await failedBackups(open.application.name, askFailuresSince(tally)), now);
  if (tally !== before) await open.control.put(layout.tally(), Buffer.from(`${JSON.stringify(tally)}\n`));
  return tally;
}
