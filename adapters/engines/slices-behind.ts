import type { LogArchive, LogEntry, LogNaming } from '../../core/log-archive';

/**
 * What can be read in the place of a damaged segment: the slices it was made of, while they are still stored (nobody could
 * prove it yet), and else itself.
 */
export async function slicesBehind(
  log: Pick<LogArchive, 'replaced'>,
  segment: LogEntry,
  order: Pick<LogNaming, 'compare'>,
): Promise<readonly LogEntry[]> {
  const found = (await log.replaced(segment.lineage)).find((each) => each.segment.key === segment.key);
  let end = segment.from;
  for (const { from, to } of found?.slices ?? []) {
    if (order.compare(from, end) > 0) break;
    if (order.compare(to, end) > 0) end = to;
  }
  return found && order.compare(end, segment.to) >= 0 ? found.slices : [segment];
}
