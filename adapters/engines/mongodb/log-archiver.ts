import { setTimeout as delay } from 'node:timers/promises';
import type { MongoClient } from 'mongodb';
import * as z from 'zod';
import type { CallContext } from '../../../core/call';
import type { ArchiveOutcome, ArchiveProgress, ArchiveRequest } from '../../../core/engine';
import { failure, hasCode, reasonOf } from '../../../core/errors';
import type { LogArchive, LogEntry } from '../../../core/log-archive';
import { documentsIn } from './bson-bytes';
import { ByteReader, chunksOf } from './document-stream';
import { startHeartbeat } from './heartbeat';
import { currentGeneration, generationOf, lineageOf, noteGeneration } from './lineage';
import { newestCommitted, oplogBatches, type OplogEntry, readEntry, replicaSetId } from './oplog';
import { compareOptimes, type Optime, optimeOf, positionOf, sliceName } from './positions';

/** Where the archive stands: the last entry that is durable in it, whole, to be found again in the oplog. */
interface Tail {
  readonly lineage: string;
  readonly optime: Optime;
  readonly entry: Buffer | null;
  readonly coversUntil: string | null;
}

/**
 * Follows the majority-committed oplog and stores it in slices. Each slice begins with the last entry of its predecessor,
 * byte for byte: when the oplog does not have that entry any more, something is missing between (the oplog wrapped around)
 * or was taken back (a rollback after a forced reconfiguration), and a new lineage begins. It is told of before anything of it
 * is stored, and goes on from where it began once the caller has taken that up.
 */
export async function archiveLog(
  client: MongoClient,
  request: ArchiveRequest,
  archive: LogArchive,
  onDurable: (progress: ArchiveProgress) => void,
  ctx: CallContext,
): Promise<ArchiveOutcome> {
  const { id: setId } = await replicaSetId(client);
  const heartbeat = startHeartbeat(client, ctx);
  const endAt = Date.now() + request.runForMilliseconds;
  let entriesStored = 0;
  try {
    const outcome = (tail: Tail, needsBase: string | null): ArchiveOutcome => {
      const durable = positionOf(tail.optime, tail.lineage);
      return { lineage: tail.lineage, durable, coversUntil: tail.coversUntil, entriesStored, needsBase };
    };
    const start = await findStart(client, archive, setId);
    if (start.gap !== null && !request.answeredGaps?.includes(start.gap)) return outcome(start.tail, start.gap);
    let { tail } = start;
    while (Date.now() < endAt && !ctx.signal.aborted) {
      const startedAt = Date.now();
      try {
        let overlaps = true;
        for await (const { documents } of oplogBatches(client, tail.optime, null)) {
          const next = await store(archive, tail, documents, overlaps);
          overlaps = false;
          if (next === null) continue;
          entriesStored += next.entries;
          tail = next.tail;
          onDurable({ durable: positionOf(tail.optime, tail.lineage), coversUntil: tail.coversUntil, entriesStored });
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
        note: heartbeat.problem() ?? tail.lineage,
      });
      await pause(Math.max(0, request.sliceMilliseconds - (Date.now() - startedAt)), ctx.signal);
    }
    ctx.signal.throwIfAborted();
    return outcome(tail, null);
  } finally {
    await heartbeat.stop();
  }
}

/**
 * Appends one slice that begins with the tail's entry. `overlaps`: the batch is the first of its cursor, so the entry must be
 * in it, unchanged; later batches of the cursor follow on and get it put in front. Null when nothing is new.
 */
async function store(
  archive: LogArchive,
  tail: Tail,
  documents: Buffer,
  overlaps: boolean,
): Promise<{ tail: Tail; entries: number } | null> {
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
  await archive.append({
    lineage: tail.lineage,
    name: sliceName(tail.optime, last.optime),
    kind: 'slice',
    from: positionOf(tail.optime, tail.lineage),
    to: positionOf(last.optime, tail.lineage),
    coversUntil,
    content,
  });
  const next = { lineage: tail.lineage, optime: last.optime, entry: Buffer.from(last.bytes), coversUntil };
  return { tail: next, entries: overlaps ? entries - 1 : entries };
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

/** Where archiving goes on; with a gap where that is a lineage of which nothing is stored yet. */
async function findStart(client: MongoClient, archive: LogArchive, setId: string): Promise<Start> {
  const archived = await readTail(archive, setId);
  const noted = await currentGeneration(client, setId);
  if (archived === null) {
    const first = await beginLineage(client, archive, setId, noted, 'the first one that is archived');
    return { ...first, gap: null };
  }
  if (noted <= (generationOf(archived.lineage, setId) ?? 0)) return { tail: archived, gap: null };
  // Begun by a run that told of it, or that died before it could.
  const begun = await readBegun(archive, setId, noted);
  return begun ?? (await beginLineage(client, archive, setId, noted, 'the one before was interrupted'));
}

/** The newest lineage of this set and its last entry, read back from the archive; null when nothing was archived yet. */
async function readTail(archive: LogArchive, setId: string): Promise<Tail | null> {
  const generations = await generationsIn(archive, setId);
  const lineage = lineageOf(setId, Math.max(0, ...generations));
  const newest = generations.length === 0 ? undefined : (await archive.entries(lineage)).at(-1);
  if (!newest) return null;
  const { coversUntil } = await archive.resolve(newest);
  return { lineage, optime: optimeOf(newest.to), entry: await lastEntryOf(archive, newest), coversUntil };
}

async function lastEntryOf(archive: LogArchive, newest: LogEntry): Promise<Buffer | null> {
  const reader = new ByteReader(chunksOf(await archive.open(newest)), newest.key);
  let last: Buffer | null = null;
  for (let documents = await reader.documents(); documents; documents = await reader.documents()) {
    for (const each of documentsIn(documents)) last = Buffer.from(each);
  }
  return last;
}

async function generationsIn(archive: LogArchive, setId: string): Promise<number[]> {
  return (await archive.lineages()).map((each) => generationOf(each, setId)).filter((each) => each !== null);
}

/** What is kept of a lineage for ever, beside the catalogue. */
const description = z.object({ lineage: z.string(), beganAt: z.string(), from: z.string(), why: z.string() });
type Description = z.infer<typeof description>;

interface Start {
  readonly tail: Tail;
  readonly gap: string | null;
}

/** Begins at the newest committed entry: what came before it belongs to no lineage. */
async function beginLineage(
  client: MongoClient,
  archive: LogArchive,
  setId: string,
  atLeast: number,
  why: string,
): Promise<Start> {
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
async function readBegun(archive: LogArchive, setId: string, generation: number): Promise<Start | null> {
  const bytes = (await archive.history()).get(descriptionKey(setId, generation));
  if (!bytes) return null;
  const read = description.safeParse(JSON.parse(bytes.toString()));
  return read.success ? begunAt(read.data) : null;
}

function begunAt({ lineage, from, why }: Description): Start {
  const optime = optimeOf({ engine: 'mongodb', lineage, value: from });
  return {
    tail: { lineage, optime, entry: null, coversUntil: null },
    gap: `lineage ${lineage} begins at ${from}: ${why}`,
  };
}

const descriptionKey = (setId: string, generation: number) => `${setId}-${generation}.json`;

async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  // An abort ends the loop; the caller throws it.
  await delay(milliseconds, undefined, { signal }).catch((error: Error) => {
    if (error.name !== 'AbortError') throw error;
  });
}
