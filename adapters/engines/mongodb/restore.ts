import { chownSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { isIPv4 } from 'node:net';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { MongoClient } from 'mongodb';
import type { CallContext } from '../../../core/call';
import type { Restore, RestoreRequest } from '../../../core/engine';
import { failure } from '../../../core/errors';
import type { RestoredStore, RestorePlace } from '../../../core/recovery';
import { accountOf, freePort } from '../restore-host';
import {
  advance,
  clearPlace,
  mayRemove,
  newTry,
  removePlace,
  requireClaim,
  requireTakeable,
  type RestoreMarker,
  writeMarker,
} from '../restore-marker';
import { RESTORE_DATABASE } from './index-catalog';
import { loadBackup } from './load-backup';
import { positionOf } from './positions';
import { replayLog } from './replay-log';
import { selectPart } from './selection';
import { type ServerMode, serverOf, startServer, withRestored } from './restored-server';

/** A set of one elects itself within a second or two. */
const ELECTION_MILLISECONDS = 60_000;

/**
 * How far a restore has come. `loading`: half written, thrown away by a repeat. `rebuilt`: holds the backup's state.
 * `replaying`: the database itself says up to where. `replayed`: at the target, with every index. `opened`: in use.
 */
type RestorePhase = 'loading' | 'rebuilt' | 'replaying' | 'replayed' | 'opened';

export interface MongodbMarker extends RestoreMarker {
  readonly phase: RestorePhase;
  readonly host: string;
  readonly port: number;
  readonly reachedTime: string | null;
  readonly reachedPosition: { readonly lineage: string; readonly value: string } | null;
}

export function createRestore(store: string, toolsDirectory: string | undefined): Restore {
  const start = (place: RestorePlace, marker: MongodbMarker, mode: ServerMode, ctx: CallContext) =>
    startServer({ ...place, host: marker.host, port: marker.port }, mode, toolsDirectory, ctx);

  return {
    leaves: ['open'],
    select: selectPart,

    async rebuild(request, source, _log, ctx) {
      const { place } = request;
      const marker = await claim(request, store);
      if (marker.phase !== 'loading') return;
      await serverOf(place.directory).stop();
      await clearPlace(place.directory, { keepMarker: true });
      await start(place, marker, { kind: 'standalone' }, ctx);
      await withRestored(marker, (client) => loadBackup(client, request, marker, source, ctx));
      await advance(place.directory, { ...marker, phase: 'rebuilt' });
    },

    async replay(request, log, ctx) {
      const { place, restoreId } = request;
      const before = await requireClaim<MongodbMarker>(place.directory, restoreId);
      if (before.phase === 'loading') throw failure('BackupIncomplete', `restore ${restoreId} was not rebuilt yet`);
      if (before.phase === 'opened') return restored(place, before);
      // A try that died may have left a batch running in the server; after a restart nothing is under way.
      if (before.phase === 'replaying') await serverOf(place.directory).stop();
      const marker =
        before.phase === 'replayed'
          ? before
          : await writeMarker(place.directory, { ...before, tryId: newTry(), phase: 'replaying' as const });
      await start(place, marker, { kind: 'standalone' }, ctx);
      if (marker.phase === 'replayed') return restored(place, marker);
      const reached = await withRestored(marker, (client) => replayLog(client, request, marker, log, ctx));
      const position = positionOf(reached, request.plan.lineage ?? '');
      const reachedPosition = { lineage: position.lineage, value: position.value };
      const done = { phase: 'replayed' as const, reachedPosition, reachedTime: request.plan.reaches.time };
      return restored(place, await advance(place.directory, { ...marker, ...done }));
    },

    async open(request, ctx) {
      const { place, restoreId } = request;
      const before = await requireClaim<MongodbMarker>(place.directory, restoreId);
      if (before.phase !== 'replayed' && before.phase !== 'opened') {
        throw failure('BackupIncomplete', `restore ${restoreId} has not reached its target yet`);
      }
      const marker = await writeMarker(place.directory, { ...before, tryId: newTry() });
      if (marker.phase === 'replayed') {
        // Started as a standalone, or as the set by a try that died: both end here, and the data is the same.
        await serverOf(place.directory).stop();
      }
      const name = `restored-${store}`;
      await start(place, marker, { kind: 'set', name }, ctx);
      await withRestored(marker, (client) => becomePrimary(client, name, marker, ctx));
      await withRestored(marker, (client) => client.db(RESTORE_DATABASE).dropDatabase());
      return restored(place, await advance(place.directory, { ...marker, phase: 'opened' }));
    },

    crash: async ({ directory }) => ((await mayRemove(directory)) ? serverOf(directory).crash() : null),

    async discard(place) {
      await removePlace(place.directory, () => serverOf(place.directory).stop());
    },
  };
}

/** Makes the place ours, or finds that it is. Refuses what something else made, unless told to replace it. */
async function claim({ restoreId, place }: RestoreRequest, store: string): Promise<MongodbMarker> {
  const { directory, host } = place;
  requireLoopback(place);
  const engine = 'mongodb';
  const found = await requireTakeable<MongodbMarker>(place, { restoreId, engine, store });
  if (found?.restoreId === restoreId) {
    return found.phase === 'loading' ? writeMarker(directory, { ...found, tryId: newTry() }) : found;
  }
  // The way to it is not secret and the server's own user has to pass; the place itself is its alone.
  await mkdir(dirname(directory), { recursive: true });
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const account = await accountOf(place.osUser);
  if (account) chownSync(directory, account.uid, account.gid);
  const port = await freePort(host, place.port);
  const marker: MongodbMarker = {
    restoreId,
    engine,
    store,
    tryId: newTry(),
    phase: 'loading',
    host,
    port,
    reachedTime: null,
    reachedPosition: null,
  };
  // What the restore before it left, server included, goes when this one begins to load.
  return writeMarker(directory, marker);
}

/** A restored server runs without access control, so that nobody but this machine may reach it. */
function requireLoopback({ host }: RestorePlace): void {
  if (host === '::1' || (isIPv4(host) && host.startsWith('127.'))) return;
  throw failure('ConfigInvalid', `MongoDB is not restored to ${host}: the restored server asks for no password`, {
    next: 'Set restore.host to an address of this machine alone (127.0.0.0/8 or ::1), and reach it from elsewhere through a tunnel.',
  });
}

async function becomePrimary(
  client: MongoClient,
  name: string,
  { host, port }: MongodbMarker,
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

function restored(place: RestorePlace, marker: MongodbMarker): RestoredStore {
  const { host, port, reachedPosition, reachedTime } = marker;
  return {
    directory: place.directory,
    state: 'open',
    address: { host, port },
    reachedPosition: reachedPosition ? { engine: 'mongodb', ...reachedPosition } : null,
    reachedTime,
    notes: ['asks for no password: only this machine can reach it'],
  };
}
