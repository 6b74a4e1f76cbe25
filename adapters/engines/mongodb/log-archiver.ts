import { setTimeout as delay } from 'node:timers/promises';
import type { MongoClient } from 'mongodb';
import type { CallContext } from '../../../core/call';
import type { ArchiveOutcome, ArchiveProgress, ArchiveRequest } from '../../../core/engine';
import { failure, hasCode, reasonOf } from '../../../core/errors';
import type { LogArchive } from '../../../core/log-archive';
import { MERGE_BOUNDS, type MergeBounds, SliceMerger } from '../slice-merger';
import { beginLineage, findStart, type Tail } from './archive-tail';
import { startHeartbeat } from './heartbeat';
import { mergeableOplog } from './joined-slices';
import { generationOf } from './lineage';
import { oplogBatches, replicaSetId } from './oplog';
import { positionOf } from './positions';
import { storeSlice } from './slice-writer';

/**
 * Follows the majority-committed oplog and stores it in slices. Each slice begins with the last entry of its predecessor,
 * byte for byte: when the oplog does not have that entry any more, something is missing between (the oplog wrapped around)
 * or was taken back (a rollback after a forced reconfiguration), and a new lineage begins; so it does behind an entry that no
 * replay could repeat, because nothing behind that can be reached from a backup before it. It is told of before anything of it is stored, and goes on from where it began once the caller has taken that up. Beside it slices give way to segments.
 */
export async function archiveLog(
  client: MongoClient,
  request: ArchiveRequest,
  archive: LogArchive,
  onDurable: (progress: ArchiveProgress) => void,
  ctx: CallContext,
  bounds: MergeBounds = MERGE_BOUNDS,
): Promise<ArchiveOutcome> {
  const { id: setId } = await replicaSetId(client);
  const heartbeat = startHeartbeat(client, ctx);
  const endAt = Date.now() + request.runForMilliseconds;
  let entriesStored = 0;
  let merger: SliceMerger | null = null;
  try {
    const outcome = (tail: Tail, needsBase: string | null): ArchiveOutcome => {
      const durable = positionOf(tail.optime, tail.lineage);
      return { lineage: tail.lineage, durable, coversUntil: tail.coversUntil, entriesStored, needsBase };
    };
    const start = await findStart(client, archive, setId);
    if (start.gap !== null && !request.answeredGaps?.includes(start.gap)) return outcome(start.tail, start.gap);
    let { tail } = start;
    merger = new SliceMerger(archive, tail.lineage, mergeableOplog, bounds, ctx);
    void merger.begin();
    while (Date.now() < endAt && !ctx.signal.aborted) {
      const startedAt = Date.now();
      try {
        let overlaps = true;
        for await (const { documents } of oplogBatches(client, tail.optime, null)) {
          const { stored, endedBy } = await storeSlice(archive, tail, documents, overlaps);
          overlaps = false;
          if (stored !== null) {
            entriesStored += stored.entries;
            tail = stored.tail;
            onDurable({ durable: positionOf(tail.optime, tail.lineage), coversUntil: tail.coversUntil, entriesStored });
            merger.stored(stored.slice, stored.contentBytes);
          }
          if (endedBy !== null) throw failure('LogGap', endedBy);
          if (ctx.signal.aborted || Date.now() >= endAt) break;
        }
      } catch (error) {
        if (!hasCode(error, 'LogGap')) throw error;
        const next = (generationOf(tail.lineage, setId) ?? 0) + 1;
        const begun = await beginLineage(client, archive, setId, next, reasonOf(error));
        return outcome(begun.tail, begun.gap);
      }
      ctx.progress({
        phase: 'archiving the oplog',
        doneItems: entriesStored,
        note: heartbeat.problem() ?? merger.problem() ?? tail.lineage,
      });
      await pause(Math.max(0, request.sliceMilliseconds - (Date.now() - startedAt)), ctx.signal);
    }
    ctx.signal.throwIfAborted();
    return outcome(tail, null);
  } finally {
    await Promise.all([heartbeat.stop(), merger?.stop()]);
  }
}

async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  // An abort ends the loop; the caller throws it.
  await delay(milliseconds, undefined, { signal }).catch((error: Error) => {
    if (error.name !== 'AbortError') throw error;
  });
}
