import type { Document, MongoClient, Timestamp } from 'mongodb';
import type { CallContext } from '../../../core/call';
import type { DumpResult } from '../../../core/catalog';
import { failure } from '../../../core/errors';
import type { VolumeSink } from '../../../core/volumes';
import { ArchiveWriter } from './archive-writer';
import { documentsIn } from './bson-bytes';
import { type DumpNamespace, dumpNamespaces, isAboutUsers, refuseSharded } from './dump-namespaces';
import { currentGeneration, lineageOf } from './lineage';
import { codeNameOf } from './members';
import { commandName, newestCommitted, oplogBatches, optimeFrom, readEntry, replicaSetId } from './oplog';
import { compareOptimes, type Optime, positionOf } from './positions';
import { rawBatches } from './raw-batches';
import { unreplayableCommand } from './replayable';

export const ARCHIVE_NAME = 'dump.archive';

/** What the archive names as its tool: the mongodump whose format and oplog rules it follows. */
const TOOL_VERSION = '100.9.4';

/** Four cursors keep a small server's two cores busy; more would only take memory (some 20 MB each). */
const PARALLEL_COLLECTIONS = 4;

/** A dump that reads by name cannot be made one point in time across these (mongodump refuses it, too). */
const UNREPEATABLE = ['renameCollection'];

/**
 * Copies everything a member holds into one archive, with the part of the oplog that was written meanwhile: replayed over
 * the copy it gives the state at the dump's end. Reads what a majority has. One point in time for the whole replica set.
 */
export async function dumpMember(
  client: MongoClient,
  source: { readonly store: string; readonly site: string; readonly member: string },
  sink: VolumeSink,
  ctx: CallContext,
): Promise<DumpResult> {
  const startedAt = new Date().toISOString();
  await refuseSharded(client, source.store);
  const [{ id: setId }, build, rollbackBefore, fcv] = await Promise.all([
    replicaSetId(client),
    client.db('admin').command({ buildInfo: 1 }),
    rollbackId(client),
    client.db('admin').command({ getParameter: 1, featureCompatibilityVersion: 1 }),
  ]);
  const lineage = lineageOf(setId, await currentGeneration(client, setId));
  const start = await oldestNeeded(client);
  const namespaces = await dumpNamespaces(client);
  const out = sink.volume(ARCHIVE_NAME);
  // Whoever waits for a write sees the error; without a listener the process would end first.
  out.on('error', () => {});
  try {
    const archive = new ArchiveWriter(out, ctx.signal);
    const oplog: DumpNamespace = { db: '', collection: 'oplog', type: '', metadata: '', source: null };
    await archive.head({ server: build['version'], tool: TOOL_VERSION }, PARALLEL_COLLECTIONS, [...namespaces, oplog]);
    // What mongorestore wants whole before anything else begins; and it makes a view when it comes to its end.
    await copyCollections(client, namespaces.filter(isAboutUsers), archive, ctx);
    for (const { db, collection, type } of namespaces) if (type === 'view') await archive.end(db, collection);
    await copyCollections(
      client,
      namespaces.filter((each) => !isAboutUsers(each)),
      archive,
      ctx,
    );
    const { optime: stop } = await newestCommitted(client);
    const consistentAt = await copyOplog(client, start, stop, archive, ctx);
    if ((await rollbackId(client)) !== rollbackBefore) {
      throw failure('BackupIncomplete', `MongoDB ${source.member} rolled back while it was dumped`);
    }
    await archive.close();
    return {
      start: positionOf(start, lineage),
      stop: positionOf(stop, lineage),
      startedAt,
      consistentAt: new Date(consistentAt).toISOString(),
      identity: setId,
      lineage,
      serverVersion: String(build['version']),
      toolVersions: { archive: `mongodump ${TOOL_VERSION} format 0.1` },
      source: { site: source.site, member: source.member },
      warnings: [],
      detail: { featureCompatibilityVersion: String((fcv['featureCompatibilityVersion'] as Document)['version']) },
    };
  } catch (error) {
    out.destroy();
    throw error;
  }
}

/**
 * Where the oplog of the dump must begin: at the oldest transaction that is still open, because its first entries lie
 * before "now" and its commit after it (mongodump, oplog_dump.go).
 */
async function oldestNeeded(client: MongoClient): Promise<Optime> {
  const { optime: now } = await newestCommitted(client);
  const [oldest] = await client
    .db('config')
    .collection('transactions')
    // By a majority, as the collections are read behind this: what is not open any more is in them as a whole.
    .find(
      { state: { $in: ['prepared', 'inProgress'] }, startOpTime: { $exists: true } },
      { readConcern: { level: 'majority' } },
    )
    .sort({ 'startOpTime.ts': 1 })
    .limit(1)
    .toArray();
  if (!oldest) return now;
  const began = optimeFrom((oldest['startOpTime'] as { ts: Timestamp }).ts);
  return compareOptimes(began, now) < 0 ? began : now;
}

/** Grows with each rollback of the member. From serverStatus, because only members may ask replSetGetRBID. */
async function rollbackId(client: MongoClient): Promise<number> {
  const { repl } = await client.db('admin').command({ serverStatus: 1, repl: 1, wiredTiger: 0, tcmalloc: 0 });
  return Number((repl as Document)['rbid']);
}

async function copyCollections(
  client: MongoClient,
  namespaces: readonly DumpNamespace[],
  archive: ArchiveWriter,
  ctx: CallContext,
): Promise<void> {
  const queue = namespaces.filter((each) => each.source !== null);
  let [doneBytes, doneItems] = [0, 0];
  const totalItems = queue.length;
  const failed = new AbortController();
  const copyNext = async () => {
    for (let each = queue.shift(); each && !failed.signal.aborted; each = queue.shift()) {
      for await (const batch of collectionBatches(client, each.db, each.source as string)) {
        if (failed.signal.aborted) return;
        await archive.block(each.db, each.source as string, batch.documents);
        doneBytes += batch.documents.length;
        ctx.progress({
          phase: 'copying collections',
          doneBytes,
          doneItems,
          totalItems,
          note: `${each.db}.${each.collection}`,
        });
      }
      await archive.end(each.db, each.source as string);
      doneItems += 1;
    }
  };
  const copies = Array.from({ length: PARALLEL_COLLECTIONS }, () =>
    copyNext().catch((error: unknown) => {
      failed.abort();
      throw error;
    }),
  );
  const results = await Promise.allSettled(copies);
  const broken = results.find((result) => result.status === 'rejected');
  if (broken) throw broken.reason;
}

async function* collectionBatches(client: MongoClient, db: string, collection: string) {
  try {
    // A slow sink may leave a cursor alone for longer than the ten minutes that the server grants by default.
    yield* rawBatches(client, db, { find: collection, readConcern: { level: 'majority' }, noCursorTimeout: true });
  } catch (error) {
    // Dropped while it was read: what was read goes again when the drop, which is in the dump's oplog, is replayed.
    if (['QueryPlanKilled', 'NamespaceNotFound'].includes(codeNameOf(error) ?? '')) return;
    if (codeNameOf(error) === 'CappedPositionLost') {
      throw failure('BackupIncomplete', `the capped collection ${db}.${collection} wrapped around while it was read`);
    }
    throw error;
  }
}

/** Writes the entries from `start` to `stop` and returns the newest clock seen in them. */
async function copyOplog(
  client: MongoClient,
  start: Optime,
  stop: Optime,
  archive: ArchiveWriter,
  ctx: CallContext,
): Promise<number> {
  let newest = 0;
  let first: Optime | null = null;
  for await (const { documents } of oplogBatches(client, start, stop)) {
    for (const bytes of documentsIn(documents)) {
      const entry = readEntry(bytes);
      first ??= entry.optime;
      newest = Math.max(newest, entry.wall);
      const command = commandName(entry);
      const unreplayable = unreplayableCommand(entry);
      if ((command !== null && UNREPEATABLE.includes(command)) || unreplayable !== null) {
        const what = `${unreplayable ?? command} in ${entry.namespace}`;
        throw failure('BackupIncomplete', `${what} happened while the dump ran`, {
          data: 'No backup was committed: a dump across it would not be one point in time.',
        });
      }
    }
    await archive.block('', 'oplog', documents);
    ctx.progress({ phase: 'copying the oplog of the dump', doneBytes: documents.length });
  }
  if (first === null || compareOptimes(first, start) !== 0) {
    throw failure('BackupIncomplete', 'the oplog no longer reaches back to the start of the dump', {
      next: 'Enlarge the oplog (replSetResizeOplog) or set minRetentionHours, then try again.',
    });
  }
  await archive.end('', 'oplog');
  return newest;
}
