import { setTimeout as delay } from 'node:timers/promises';
import type { MongoClient } from 'mongodb';
import type { CallContext } from '../../../core/call';
import type { ArchiveOutcome, ArchiveProgress, ArchiveRequest } from '../../../core/engine';
import { failure, hasCode } from '../../../core/errors';
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
 * or was taken back (a rollback after a forced reconfiguration), and a new lineage begins.
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
    const archived = await readTail(archive, setId);
    const noted = await currentGeneration(client, setId);
    // Noted, but nothing of it stored: a run that began a lineage died before its first slice.
    const isBegun = archived !== null && noted > (generationOf(archived.lineage, setId) ?? 0);
    let needsBase: string | null = isBegun
      ? `lineage ${lineageOf(setId, noted)} was begun after an interruption`
      : null;
    let tail = archived && !isBegun ? archived : await beginLineage(client, archive, setId, noted);
    // A new lineage is told as soon as its first slice is durable, so that the next run finds it.
    while (Date.now() < endAt && !ctx.signal.aborted && !(needsBase !== null && tail.entry)) {
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
        needsBase = error instanceof Error ? error.message : String(error);
        tail = await beginLineage(client, archive, setId, await nextGeneration(archive, setId));
      }
      ctx.progress({
        phase: 'archiving the oplog',
        doneItems: entriesStored,
        note: heartbeat.problem() ?? tail.lineage,
      });
      await pause(Math.max(0, request.sliceMilliseconds - (Date.now() - startedAt)), ctx.signal);
    }
    ctx.signal.throwIfAborted();
    const durable = positionOf(tail.optime, tail.lineage);
    return { lineage: tail.lineage, durable, coversUntil: tail.coversUntil, entriesStored, needsBase };
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

/** Begins at the newest committed entry: what came before it belongs to no lineage. */
async function beginLineage(client: MongoClient, archive: LogArchive, setId: string, atLeast: number): Promise<Tail> {
  const generation = Math.max(atLeast, await currentGeneration(client, setId));
  // Noted first: a dump that reads the new number finds its positions in the new lineage.
  await noteGeneration(client, setId, generation);
  const { optime } = await newestCommitted(client);
  const lineage = lineageOf(setId, generation);
  const description = { lineage, beganAt: new Date().toISOString(), from: positionOf(optime, lineage).value };
  await archive.putHistory(`${setId}-${generation}.json`, Buffer.from(JSON.stringify(description)));
  return { lineage, optime, entry: null, coversUntil: null };
}

async function nextGeneration(archive: LogArchive, setId: string): Promise<number> {
  return Math.max(0, ...(await generationsIn(archive, setId))) + 1;
}

async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  // An abort ends the loop; the caller throws it.
  await delay(milliseconds, undefined, { signal }).catch((error: Error) => {
    if (error.name !== 'AbortError') throw error;
  });
}
