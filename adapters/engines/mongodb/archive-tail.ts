import type { MongoClient } from 'mongodb';
import * as z from 'zod';
import { failure, reasonOf } from '../../../core/errors';
import type { LogArchive, LogEntry } from '../../../core/log-archive';
import { isUnreadable } from '../opened-pieces';
import { slicesBehind } from '../slices-behind';
import { documentsIn } from './bson-bytes';
import { ByteReader, chunksOf } from './document-stream';
import { currentGeneration, generationOf, lineageOf, noteGeneration } from './lineage';
import { newestCommitted, readEntry } from './oplog';
import { compareOptimes, naming, type Optime, optimeOf, positionOf } from './positions';

/** Where the archive stands: the last entry that is durable in it, whole, to be found again in the oplog. */
export interface Tail {
  readonly lineage: string;
  readonly optime: Optime;
  /** Null where a lineage begins and nothing of it is stored yet. */
  readonly entry: Buffer | null;
  readonly coversUntil: string | null;
}

/** Where archiving goes on; with a gap where that is a lineage of which nothing is stored yet. */
export interface ArchiveStart {
  readonly tail: Tail;
  readonly gap: string | null;
}

/**
 * Resolves where archiving goes on. Where the newest archived piece cannot be read any more, nobody can tell whether the
 * oplog continues it: a new lineage begins, and is told of.
 */
export async function findStart(client: MongoClient, archive: LogArchive, setId: string): Promise<ArchiveStart> {
  const generations = (await archive.lineages())
    .map((each) => generationOf(each, setId))
    .filter((each) => each !== null);
  const archived = Math.max(0, ...generations);
  const noted = await currentGeneration(client, setId);
  if (generations.length > 0 && noted > archived) {
    // Begun by a run that told of it, or that died before it could.
    const begun = await readBegun(archive, setId, noted);
    return begun ?? beginLineage(client, archive, setId, noted, 'the one before was interrupted');
  }
  const tail = generations.length > 0 ? await readTail(archive, lineageOf(setId, archived)) : null;
  if (tail === null) {
    const first = await beginLineage(client, archive, setId, noted, 'the first one that is archived');
    return { ...first, gap: null };
  }
  if ('damage' in tail) return beginLineage(client, archive, setId, archived + 1, tail.damage);
  return { tail, gap: null };
}

/** The last entry of a lineage, read back from the archive; null when nothing is stored of it. */
async function readTail(archive: LogArchive, lineage: string): Promise<Tail | { readonly damage: string } | null> {
  let failed: { readonly key: string; readonly why: string } | null = null;
  for (;;) {
    const newest: LogEntry | null = furthest(await archive.entries(lineage));
    if (!newest) return null;
    // Once more from a new listing: another archiver may just have put a segment in its place.
    const isDamaged: boolean = failed?.key === newest.key;
    const slice: LogEntry | null = isDamaged ? furthest(await slicesBehind(archive, newest, naming)) : null;
    if (failed && isDamaged && (!slice || slice.key === newest.key)) {
      return { damage: `the end of ${lineage} cannot be read: ${failed.why}` };
    }
    const piece: LogEntry = slice ?? newest;
    try {
      const entry = await lastEntryOf(archive, piece);
      const { coversUntil } = await archive.resolve(piece);
      return { lineage, optime: optimeOf(piece.to), entry, coversUntil };
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      if (isDamaged) return { damage: `the end of ${lineage} cannot be read: ${reasonOf(error)}` };
      failed = { key: piece.key, why: reasonOf(error) };
    }
  }
}

/** After two archivers overlapped, the last entry is not always the one that reaches furthest. */
function furthest(entries: readonly LogEntry[]): LogEntry | null {
  return entries.reduce<LogEntry | null>(
    (best, each) => (best && compareOptimes(optimeOf(best.to), optimeOf(each.to)) >= 0 ? best : each),
    null,
  );
}

async function lastEntryOf(archive: LogArchive, newest: LogEntry): Promise<Buffer> {
  const reader = new ByteReader(chunksOf(await archive.open(newest)), newest.key);
  let last: Buffer | null = null;
  for (let documents = await reader.documents(); documents; documents = await reader.documents()) {
    for (const each of documentsIn(documents)) last = each;
  }
  if (!last || compareOptimes(readEntry(last).optime, optimeOf(newest.to)) !== 0) {
    throw failure('BackupCorrupt', `${newest.key} does not end with entry ${newest.to.value}`);
  }
  return Buffer.from(last); // a copy, so that the piece is not kept for it
}

/** What is kept of a lineage for ever, beside the catalogue. */
const description = z.object({ lineage: z.string(), beganAt: z.string(), from: z.string(), why: z.string() });
type Description = z.infer<typeof description>;

/** Begins at the newest committed entry: what came before it belongs to no lineage. */
export async function beginLineage(
  client: MongoClient,
  archive: LogArchive,
  setId: string,
  atLeast: number,
  why: string,
): Promise<ArchiveStart> {
  const generation = Math.max(atLeast, await currentGeneration(client, setId));
  // Noted first: a dump that reads the new number finds its positions in the new lineage.
  await noteGeneration(client, setId, generation);
  const { optime } = await newestCommitted(client);
  const lineage = lineageOf(setId, generation);
  const from = positionOf(optime, lineage).value;
  const about: Description = { lineage, beganAt: new Date().toISOString(), from, why };
  await archive.putHistory(descriptionKey(setId, generation), Buffer.from(JSON.stringify(about)));
  return begunAt(about);
}

/** A lineage that was begun, to go on from the same entry; null where nothing says where that was. */
async function readBegun(archive: LogArchive, setId: string, generation: number): Promise<ArchiveStart | null> {
  const bytes = (await archive.history()).get(descriptionKey(setId, generation));
  // A damaged one says nothing either.
  if (!bytes || bytes instanceof Error) return null;
  const read = description.safeParse(JSON.parse(bytes.toString()));
  return read.success ? begunAt(read.data) : null;
}

function begunAt({ lineage, from, why }: Description): ArchiveStart {
  const optime = optimeOf({ engine: 'mongodb', lineage, value: from });
  return {
    tail: { lineage, optime, entry: null, coversUntil: null },
    gap: `lineage ${lineage} begins at ${from}: ${why}`,
  };
}

const descriptionKey = (setId: string, generation: number) => `${setId}-${generation}.json`;
