import type { LogArchive, LogEntry } from '../../../core/log-archive';
import { compareOptimes, optimeOf } from './positions';

/**
 * What can be read in the place of a damaged segment: the slices it was made of, while they are still stored (nobody could
 * prove it yet), and else itself.
 */
export async function slicesBehind(log: Pick<LogArchive, 'replaced'>, segment: LogEntry): Promise<readonly LogEntry[]> {
  const found = (await log.replaced(segment.lineage)).find((each) => each.segment.key === segment.key);
  let end = optimeOf(segment.from);
  for (const { from, to } of found?.slices ?? []) {
    if (compareOptimes(optimeOf(from), end) > 0) break;
    if (compareOptimes(optimeOf(to), end) > 0) end = optimeOf(to);
  }
  return found && compareOptimes(end, optimeOf(segment.to)) >= 0 ? found.slices : [segment];
}
