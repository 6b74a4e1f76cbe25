import type { CallContext } from '../../../core/call';
import type { Manifest } from '../../../core/catalog';
import { reasonOf } from '../../../core/errors';
import type { LogArchive, LogEntry } from '../../../core/log-archive';
import { askLog } from '../listed-log';
import { isUnreadable, openedAhead, type OpenedPiece } from '../opened-pieces';
import { slicesBehind } from '../slices-behind';
import { chainFrom } from './log-chain';
import { compareOptimes, naming, type Optime, optimeOf } from './positions';

/**
 * The pieces of the log that lead on from `reached()`, in order, until one begins at or behind `until`. While they are read
 * the archiver goes on: what gave way to a segment meanwhile is read from there. Throws BackupCorrupt where neither can be read.
 */
export async function* logFeed(
  log: LogArchive,
  backup: Manifest,
  reached: () => Optime,
  until: Optime | null,
  ctx: CallContext,
): AsyncGenerator<OpenedPiece> {
  const isNeeded = (entry: LogEntry) =>
    compareOptimes(optimeOf(entry.to), reached()) > 0 &&
    (until === null || compareOptimes(optimeOf(entry.from), until) < 0);
  const failed = new Map<string, LogEntry>();
  for (;;) {
    const chain = await askLog(log, ctx, (listed) => chainFrom(backup, listed));
    const needed: LogEntry[] = [];
    // A segment that cannot be read though it was listed again: its slices are still there where nobody could prove it.
    for (const entry of chain.entries) {
      needed.push(...(failed.has(entry.key) ? await slicesBehind(log, entry, naming) : [entry]).filter(isNeeded));
    }
    let given = 0;
    try {
      for await (const piece of openedAhead(log, needed, ctx.signal)) {
        given += 1;
        yield piece;
      }
      return;
    } catch (error) {
      const entry = needed[given];
      if (!entry || !isUnreadable(error) || failed.has(entry.key)) throw error;
      failed.set(entry.key, entry);
      ctx.log.warn({ error: reasonOf(error) }, 'the log is listed again after a piece of it could not be read');
    }
  }
}
