import { failure } from '../../../core/errors';
import type { LogEntry, LogPiece } from '../../../core/log-archive';
import type { OpenedPiece } from '../opened-pieces';
import type { JoinedPieces, MergeableLog } from '../slice-merger';
import { documentsIn, fieldNamed, fieldsOf } from './bson-bytes';
import { ByteReader, chunksOf } from './document-stream';
import { optimeAt } from './oplog';
import { compareOptimes, naming, type Optime, optimeOf, positionOf, segmentName } from './positions';

/** How slices of an oplog give way to segments. */
export const mergeableOplog: MergeableLog = {
  compare: (a, b) => naming.compare(a, b),
  secondsBetween: (first, last) => optimeOf(last.to).seconds - optimeOf(first.from).seconds,
  join: () => new JoinedSlices(),
};

/** The entries of slices that follow each other, each entry once: what a reader gets of the slices one after the other. */
class JoinedSlices implements JoinedPieces {
  readonly slices: LogEntry[] = [];
  bytes = 0;
  private readonly parts: Buffer[] = [];
  private last: { readonly optime: Optime; readonly entry: Buffer } | null = null;

  async add({ entry: slice, content }: OpenedPiece, limitBytes: number): Promise<boolean> {
    const documents = await documentsOf(content, slice.key);
    const fresh = this.last ? behind(documents, this.last, slice.key) : documents;
    const length = fresh.reduce((sum, each) => sum + each.length, 0);
    if (this.last && this.bytes + length > limitBytes) return false;
    const newest = lastOf(fresh) ?? this.last?.entry;
    const optime = newest && optimeOfEntry(newest);
    if (!optime || (fresh.length > 0 && compareOptimes(optime, optimeOf(slice.to)) !== 0)) {
      throw failure('BackupCorrupt', `${slice.key} does not end with entry ${slice.to.value}`);
    }
    this.last = { optime, entry: newest };
    this.parts.push(...fresh);
    this.bytes += length;
    this.slices.push(slice);
    return true;
  }

  segment(coversUntil: string | null): LogPiece {
    const [first] = this.slices;
    if (!first || !this.last) throw new Error('nothing was joined yet');
    const [{ lineage, from }, end] = [first, this.last.optime];
    return {
      lineage,
      name: segmentName(optimeOf(from), end),
      kind: 'segment',
      from,
      to: positionOf(end, lineage),
      coversUntil,
      content: Buffer.concat(this.parts, this.bytes),
    };
  }
}

/** Whole documents, in as few buffers as they lie in. */
async function documentsOf(content: OpenedPiece['content'], key: string): Promise<Buffer[]> {
  const reader = new ByteReader(chunksOf(content), key);
  const found: Buffer[] = [];
  for (let each = await reader.documents(); each; each = await reader.documents()) found.push(each);
  return found;
}

/** What lies behind the last entry, which must be there, unchanged. */
function behind(parts: readonly Buffer[], last: { optime: Optime; entry: Buffer }, key: string): Buffer[] {
  for (const [index, part] of parts.entries()) {
    let at = 0;
    for (const document of documentsIn(part)) {
      const order = compareOptimes(optimeOfEntry(document), last.optime);
      if (order > 0) throw notContinued(last.optime, key);
      at += document.length;
      if (order < 0) continue;
      if (!document.equals(last.entry)) throw notContinued(last.optime, key);
      return [part.subarray(at), ...parts.slice(index + 1)].filter((each) => each.length > 0);
    }
  }
  // It ended before: two archivers cut the log differently.
  return [];
}

function notContinued({ seconds, increment }: Optime, key: string) {
  return failure('BackupCorrupt', `${key} does not continue entry ${seconds}:${increment}, which lies before it`);
}

function lastOf(parts: readonly Buffer[]): Buffer | undefined {
  let last: Buffer | undefined;
  for (const document of documentsIn(parts.at(-1) ?? Buffer.alloc(0))) last = document;
  return last;
}

function optimeOfEntry(entry: Buffer): Optime {
  const ts = fieldNamed(fieldsOf(entry), 'ts');
  if (!ts) throw failure('BackupCorrupt', 'an oplog entry has no ts');
  return optimeAt(entry, ts.valueAt);
}
