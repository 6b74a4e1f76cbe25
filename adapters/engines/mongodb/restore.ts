import { chownSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { MongoClient } from 'mongodb';
import type { CallContext } from '../../../core/call';
import type { Restore, RestoreRequest } from '../../../core/engine';
import { failure } from '../../../core/errors';
import type { LogArchive } from '../../../core/log-archive';
import type { RestoredStore, RestorePlace } from '../../../core/recovery';
import type { VolumeSource } from '../../../core/volumes';
import { ArchiveLoader, createNamespaces } from './archive-loader';
import { readArchive } from './archive-reader';
import { documentsIn } from './bson-bytes';
import { ByteReader, chunksOf } from './document-stream';
import { ARCHIVE_NAME } from './dump';
import { RESTORE_DATABASE } from './index-catalog';
import { chainFrom } from './log-chain';
import { mongoFailure } from './members';
import { OpenTransactions } from './open-transactions';
import { OplogApplier } from './oplog-applier';
import { readEntry } from './oplog';
import { compareOptimes, type Optime, optimeOf, positionOf } from './positions';
import { accountOf, freePort, type ServerMode, startServer, stopServer } from './restored-server';
import {
  clearPlace,
  isEmpty,
  readMarker,
  requireMarker,
  type RestoreMarker,
  type RestorePhase,
  writeMarker,
} from './restore-marker';
import { WireConnection } from './wire';

/** A set of one elects itself within a second or two. */
const ELECTION_MILLISECONDS = 60_000;

export function createRestore(store: string, toolsDirectory: string | undefined): Restore {
  const start = (place: RestorePlace, marker: RestoreMarker, mode: ServerMode) =>
    startServer({ ...place, port: marker.port }, mode, toolsDirectory);

  return {
    async rebuild(request, source, _log, ctx) {
      const { place, restoreId } = request;
      const marker = await claim(request, store);
      if (marker.phase !== 'loading') return;
      await stopServer(place.directory);
      await clearPlace(place.directory, true);
      await start(place, marker, { kind: 'standalone' });
      await connected(marker, (client) => load(client, request, marker, source, ctx));
      await advance(place.directory, restoreId, 'rebuilt');
    },

    async replay(request, log, ctx) {
      const { place, restoreId } = request;
      const before = await requireMarker(place.directory, restoreId);
      if (before.phase === 'loading') throw failure('BackupIncomplete', `restore ${restoreId} was not rebuilt yet`);
      if (before.phase === 'opened') return restored(place, before);
      // A try that died may have left a batch running in the server; after a restart nothing is under way.
      if (before.phase === 'replaying') await stopServer(place.directory);
      const marker = before.phase === 'replayed' ? before : await advance(place.directory, restoreId, 'replaying');
      await start(place, marker, { kind: 'standalone' });
      if (marker.phase === 'replayed') return restored(place, marker);
      const reached = await connected(marker, (client) => replayLog(client, request, marker, log, ctx));
      const position = positionOf(reached, request.plan.lineage ?? '');
      const reachedPosition = { lineage: position.lineage, value: position.value };
      const done = { phase: 'replayed' as const, reachedPosition, reachedTime: request.plan.reaches.time };
      return restored(place, await advance(place.directory, restoreId, 'replayed', done));
    },

    async open(request, ctx) {
      const { place, restoreId } = request;
      const marker = await requireMarker(place.directory, restoreId);
      if (marker.phase !== 'replayed' && marker.phase !== 'opened') {
        throw failure('BackupIncomplete', `restore ${restoreId} has not reached its target yet`);
      }
      if (marker.phase === 'replayed') {
        // Started as a standalone, or as the set by a try that died: both end here, and the data is the same.
        await stopServer(place.directory);
      }
      const name = `restored-${store}`;
      await start(place, marker, { kind: 'set', name });
      await connected(marker, (client) => becomePrimary(client, name, marker, ctx));
      await connected(marker, (client) => client.db(RESTORE_DATABASE).dropDatabase());
      return restored(place, await advance(place.directory, restoreId, 'opened'));
    },

    async discard(place) {
      if (await isEmpty(place.directory)) return;
      if ((await readMarker(place.directory)) === null) {
        throw failure('TargetNotEmpty', `${place.directory} carries no marker of a restore, so that it is not removed`);
      }
      await stopServer(place.directory);
      await clearPlace(place.directory);
    },
  };
}

/** Makes the place ours, or finds that it is. Refuses what something else made, unless told to replace it. */
async function claim({ restoreId, place }: RestoreRequest, store: string): Promise<RestoreMarker> {
  const { directory, host } = place;
  const found = await readMarker(directory);
  if (found?.restoreId === restoreId) return found;
  if (found || !(await isEmpty(directory))) {
    if (!place.overwrite)
      throw failure('TargetNotEmpty', `${directory} is not empty, so that MongoDB is not restored into it`);
    await stopServer(directory);
    await clearPlace(directory);
  }
  // The way to it is not secret and the server's own user has to pass; the place itself is its alone.
  await mkdir(dirname(directory), { recursive: true });
  await mkdir(directory, { recursive: true, mode: 0o700 });
  if (place.osUser !== null) {
    const owner = await accountOf(place.osUser);
    chownSync(directory, owner.uid, owner.gid);
  }
  const port = place.port === 0 ? await freePort(host) : place.port;
  const marker: RestoreMarker = {
    restoreId,
    store,
    phase: 'loading',
    host,
    port,
    reachedTime: null,
    reachedPosition: null,
  };
  await writeMarker(directory, marker);
  return marker;
}

async function advance(
  directory: string,
  restoreId: string,
  phase: RestorePhase,
  more: Partial<RestoreMarker> = {},
): Promise<RestoreMarker> {
  const next = { ...(await requireMarker(directory, restoreId)), ...more, phase };
  await writeMarker(directory, next);
  return next;
}

async function load(
  client: MongoClient,
  request: RestoreRequest,
  address: RestoreMarker,
  source: VolumeSource,
  ctx: CallContext,
): Promise<void> {
  const [manifest] = request.chain;
  const artifact = manifest?.artifacts.find(({ name }) => name === ARCHIVE_NAME);
  if (!manifest || !artifact) throw failure('BackupCorrupt', `backup ${manifest?.backupId} names no ${ARCHIVE_NAME}`);
  await setCompatibility(client, manifest.detail['featureCompatibilityVersion']);
  const loader = await ArchiveLoader.open(address, ctx);
  const wire = await WireConnection.open(address, ctx.signal);
  const applier = new OplogApplier(client, wire, openTransactions(request.place), true);
  const chunks = chunksOf(await source.open(artifact));
  let inOplog = false;
  try {
    for await (const part of readArchive(chunks, artifact.key)) {
      ctx.signal.throwIfAborted();
      if (part.kind === 'head') await createNamespaces(client, part.namespaces, applier.indexes);
      if (part.kind !== 'documents') continue;
      if (part.db !== '') {
        await loader.add(part.db, part.collection, part.documents);
        continue;
      }
      if (!inOplog) {
        // Our archives end with the oplog: everything it changes is loaded by then.
        await loader.finish();
        await applier.resume();
        inOplog = true;
      }
      for (const entry of documentsIn(part.documents)) await applier.apply(readEntry(entry));
      ctx.progress({ phase: 'applying the oplog of the dump', doneItems: applier.applied });
    }
    await loader.finish();
    await applier.flush();
  } catch (error) {
    ctx.signal.throwIfAborted();
    // Damaged bytes may be refused by the server before the digest at the stream's end tells why: that error is the true one.
    while (!(await chunks.next()).done) ctx.signal.throwIfAborted();
    throw error;
  } finally {
    await chunks.return?.();
    loader.close();
    wire.close();
  }
}

/** A set of an older compatibility version keeps it: its data may be read by an older server again. */
async function setCompatibility(client: MongoClient, wanted: unknown): Promise<void> {
  if (typeof wanted !== 'string') return;
  const reply = await client.db('admin').command({ getParameter: 1, featureCompatibilityVersion: 1 });
  if (String(reply['featureCompatibilityVersion']?.['version']) === wanted) return;
  const { version } = await client.db('admin').command({ buildInfo: 1 });
  const confirm = Number(String(version).split('.')[0]) >= 7 ? { confirm: true } : {};
  await client.db('admin').command({ setFeatureCompatibilityVersion: wanted, ...confirm });
}

/** Applies the archived log up to the plan's target, then builds the indexes of that point. Returns the last optime applied. */
async function replayLog(
  client: MongoClient,
  { plan, chain, place }: RestoreRequest,
  address: RestoreMarker,
  log: LogArchive | null,
  ctx: CallContext,
): Promise<Optime> {
  const [manifest] = chain;
  if (!manifest?.stop) throw failure('BackupCorrupt', `backup ${manifest?.backupId} names no position`);
  const wire = await WireConnection.open(address, ctx.signal);
  const applier = new OplogApplier(client, wire, openTransactions(place), false);
  try {
    let reached = (await applier.resume()) ?? optimeOf(manifest.stop);
    if (plan.log && log) {
      const until = plan.log.to ? optimeOf(plan.log.to) : null;
      const untilTime = until ? null : Date.parse(plan.reaches.time);
      let past = false;
      for (const each of (await chainFrom(manifest, log)).entries) {
        if (past || (until && compareOptimes(optimeOf(each.from), until) >= 0)) break;
        if (compareOptimes(optimeOf(each.to), reached) <= 0) continue;
        const reader = new ByteReader(chunksOf(await log.open(each)), each.key);
        let isFirst = true;
        for (let documents = await reader.documents(); documents && !past; documents = await reader.documents()) {
          for (const bytes of documentsIn(documents)) {
            const entry = readEntry(bytes);
            if (isFirst && compareOptimes(entry.optime, reached) > 0) throw gapBefore(entry.optime, reached, each.key);
            isFirst = false;
            past = until
              ? compareOptimes(entry.optime, until) > 0
              : untilTime !== null && compareOptimes(entry.optime, reached) > 0 && entry.wall > untilTime;
            if (past) break;
            await applier.apply(entry);
            if (compareOptimes(entry.optime, reached) > 0) reached = entry.optime;
          }
          ctx.signal.throwIfAborted();
          ctx.progress({ phase: 'replaying the oplog', doneItems: applier.applied, note: each.name });
        }
      }
      const short = until
        ? compareOptimes(reached, until) < 0
        : !past && untilTime !== null && untilTime > Date.parse(manifest.consistentAt);
      if (short) {
        throw failure(
          'LogGap',
          `the archived oplog ends at ${reached.seconds}:${reached.increment}, before the target ${plan.reaches.time}`,
        );
      }
    }
    await applier.flush();
    await applier.indexes.build(ctx);
    return reached;
  } finally {
    wire.close();
  }
}

/** Each slice begins with an entry that is applied already, whatever its name says. */
function gapBefore(found: Optime, reached: Optime, key: string) {
  const [first, last] = [found, reached].map(({ seconds, increment }) => `${seconds}:${increment}`);
  return failure('LogGap', `${key} begins with entry ${first}, and the log before it ended at ${last}`);
}

async function becomePrimary(
  client: MongoClient,
  name: string,
  { host, port }: RestoreMarker,
  ctx: CallContext,
): Promise<void> {
  const admin = client.db('admin');
  const deadline = Date.now() + ELECTION_MILLISECONDS;
  const initiate = { replSetInitiate: { _id: name, members: [{ _id: 0, host: `${host}:${port}` }] } };
  await admin.command(initiate).catch((error: { codeName?: string }) => {
    if (error.codeName !== 'AlreadyInitialized') throw error;
  });
  while ((await admin.command({ hello: 1 }))['isWritablePrimary'] !== true) {
    if (Date.now() > deadline)
      throw failure('TargetUnreachable', `the restored MongoDB set ${name} did not elect itself`);
    await delay(50, undefined, { signal: ctx.signal });
  }
}

async function connected<T>(
  { host, port }: { host: string; port: number },
  use: (client: MongoClient) => Promise<T>,
): Promise<T> {
  const client = new MongoClient(`mongodb://${host}:${port}/`, {
    directConnection: true,
    serverSelectionTimeoutMS: 10_000,
  });
  try {
    return await use(await client.connect());
  } catch (error) {
    throw mongoFailure(error, `restored at ${host}:${port}`);
  } finally {
    await client.close();
  }
}

function openTransactions(place: RestorePlace): OpenTransactions {
  return new OpenTransactions(join(place.directory, 'open-transactions'));
}

function restored(place: RestorePlace, marker: RestoreMarker): RestoredStore {
  const { host, port, reachedPosition, reachedTime } = marker;
  return {
    directory: place.directory,
    address: { host, port },
    reachedPosition: reachedPosition ? { engine: 'mongodb', ...reachedPosition } : null,
    reachedTime,
    notes: ['asks for no password: only this machine can reach it'],
  };
}
