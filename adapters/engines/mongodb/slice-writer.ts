import { failure } from '../../../core/errors';
import type { LogArchive, LogEntry } from '../../../core/log-archive';
import type { Tail } from './archive-tail';
import { documentsIn } from './bson-bytes';
import { type OplogEntry, readEntry } from './oplog';
import { compareOptimes, type Optime, positionOf, sliceName } from './positions';

export interface StoredSlice {
  /** Where the archive stands now. */
  readonly tail: Tail;
  /** How many entries are new. */
  readonly entries: number;
  readonly slice: LogEntry;
  readonly contentBytes: number;
}

/**
 * Appends one slice that begins with the tail's entry. `overlaps`: the batch is the first of its cursor, so the entry must be
 * in it, unchanged, else LogGap; later batches of the cursor follow on and get it put in front. Null when nothing is new.
 */
export async function storeSlice(
  archive: LogArchive,
  tail: Tail,
  documents: Buffer,
  overlaps: boolean,
): Promise<StoredSlice | null> {
  let last: OplogEntry | null = null;
  let [newestWall, entries] = [tail.coversUntil ? Date.parse(tail.coversUntil) : 0, 0];
  for (const bytes of documentsIn(documents)) {
    last = readEntry(bytes);
    if (entries === 0 && overlaps && !sameAs(tail, last)) throw gap(tail, last.optime);
    // One millisecond less than the newest clock: entries of that very millisecond may still follow.
    newestWall = Math.max(newestWall, last.wall - 1);
    entries += 1;
  }
  if (!last || (overlaps && entries === 1 && tail.entry)) return null;
  const coversUntil = new Date(newestWall).toISOString();
  const content = overlaps || !tail.entry ? documents : Buffer.concat([tail.entry, documents]);
  const slice = await archive.append({
    lineage: tail.lineage,
    name: sliceName(tail.optime, last.optime),
    kind: 'slice',
    from: positionOf(tail.optime, tail.lineage),
    to: positionOf(last.optime, tail.lineage),
    coversUntil,
    content,
  });
  return {
    tail: { lineage: tail.lineage, optime: last.optime, entry: Buffer.from(last.bytes), coversUntil },
    entries: overlaps ? entries - 1 : entries,
    slice,
    contentBytes: content.length,
  };
}

function sameAs(tail: Tail, entry: OplogEntry): boolean {
  return compareOptimes(entry.optime, tail.optime) === 0 && (tail.entry === null || entry.bytes.equals(tail.entry));
}

function gap(tail: Tail, found: Optime) {
  const { seconds, increment } = tail.optime;
  return failure(
    'LogGap',
    `the oplog has lost entry ${seconds}:${increment}, the last one archived (it goes on at ${found.seconds}:${found.increment})`,
  );
}
