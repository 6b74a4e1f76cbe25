import { failure } from '../../../core/errors';
import type { LogArchive, LogEntry } from '../../../core/log-archive';
import type { Tail } from './archive-tail';
import { documentsIn } from './bson-bytes';
import { type OplogEntry, readEntry } from './oplog';
import { compareOptimes, type Optime, positionOf, sliceName } from './positions';
import { unreplayableCommand } from './replayable';

export interface StoredSlice {
  /** Where the archive stands now. */
  readonly tail: Tail;
  /** How many entries are new. */
  readonly entries: number;
  readonly slice: LogEntry;
  readonly contentBytes: number;
}

/** What became of a batch. */
export interface SliceOutcome {
  /** Null when nothing is new. */
  readonly stored: StoredSlice | null;
  /** Why nothing from one entry of the batch on was stored: no replay could repeat that entry. Null where all was. */
  readonly endedBy: string | null;
}

/**
 * Appends one slice that begins with the tail's entry. `overlaps`: the batch is the first of its cursor, so the entry must be
 * in it, unchanged, else LogGap; later batches of the cursor follow on and get it put in front.
 */
export async function storeSlice(
  archive: LogArchive,
  tail: Tail,
  documents: Buffer,
  overlaps: boolean,
): Promise<SliceOutcome> {
  let last: OplogEntry | null = null;
  let endedBy: string | null = null;
  let [newestWall, entries, length] = [tail.coversUntil ? Date.parse(tail.coversUntil) : 0, 0, 0];
  for (const bytes of documentsIn(documents)) {
    const entry = readEntry(bytes);
    if (entries === 0 && overlaps && !sameAs(tail, entry)) throw gap(tail, entry.optime);
    // A lineage may begin with such an entry: its first backup holds what that did.
    endedBy = compareOptimes(entry.optime, tail.optime) > 0 ? unreplayable(entry) : null;
    if (endedBy !== null) break;
    last = entry;
    length += bytes.length;
    // One millisecond less than the newest clock: entries of that very millisecond may still follow.
    newestWall = Math.max(newestWall, last.wall - 1);
    entries += 1;
  }
  if (!last || (overlaps && entries === 1 && tail.entry)) return { stored: null, endedBy };
  const coversUntil = new Date(newestWall).toISOString();
  const fresh = documents.subarray(0, length);
  const content = overlaps || !tail.entry ? fresh : Buffer.concat([tail.entry, fresh]);
  const slice = await archive.append({
    lineage: tail.lineage,
    name: sliceName(tail.optime, last.optime),
    kind: 'slice',
    from: positionOf(tail.optime, tail.lineage),
    to: positionOf(last.optime, tail.lineage),
    coversUntil,
    content,
  });
  const stored = {
    tail: { lineage: tail.lineage, optime: last.optime, entry: Buffer.from(last.bytes), coversUntil },
    entries: overlaps ? entries - 1 : entries,
    slice,
    contentBytes: content.length,
  };
  return { stored, endedBy };
}

function sameAs(tail: Tail, entry: OplogEntry): boolean {
  return compareOptimes(entry.optime, tail.optime) === 0 && (tail.entry === null || entry.bytes.equals(tail.entry));
}

function unreplayable(entry: OplogEntry): string | null {
  const command = unreplayableCommand(entry);
  if (command === null) return null;
  const { seconds, increment } = entry.optime;
  return `entry ${seconds}:${increment} is the command "${command}" in ${entry.namespace}, which no replay can repeat`;
}

function gap(tail: Tail, found: Optime) {
  const { seconds, increment } = tail.optime;
  return failure(
    'LogGap',
    `the oplog has lost entry ${seconds}:${increment}, the last one archived (it goes on at ${found.seconds}:${found.increment})`,
  );
}
