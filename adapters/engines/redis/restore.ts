import * as fs from 'node:fs/promises';
import { createWriteStream } from 'node:fs';
import * as path from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { CallContext } from '../../../core/call';
import type { Manifest } from '../../../core/catalog';
import type { Restore, RestoreRequest } from '../../../core/engine';
import { failure } from '../../../core/errors';
import type { LogArchive } from '../../../core/log-archive';
import type { RestoredStore } from '../../../core/recovery';
import type { Secret } from '../../../core/secret';
import type { VolumeSource } from '../../../core/volumes';
import { diskFailure, requireFreeBytes, syncDirectory } from '../../filesystem/durable';
import { findProgram } from '../restore-host';
import { advance, claimPlace, mayRemove, newTry, removePlace, requireClaim, writeMarker } from '../restore-marker';
import { type StreamPart, writeAppendOnly } from './append-only-writer';
import { ACL_VOLUME, RDB_VOLUME, STATE_FILE } from './dump';
import { askStream, linksTo, stopOf } from './log-chain';
import { offsetOf } from './positions';
import {
  aclFileFor,
  RESTORED_ACL_FILE,
  runningServer,
  serverOf,
  startRestoredServer,
  switchAppendOnlyOn,
  writePrivately,
} from './restored-server';

const RDB_FILE = 'dump.rdb';

export interface RestoreOptions {
  readonly store: string;
  readonly toolsDirectory: string | undefined;
  readonly password: Secret | undefined;
}

/**
 * Puts the RDB in place, with the stream behind it as an append-only file where the target lies there, and lets a server of its
 * own load it: no `replicaof`, nothing of the source's network.
 */
export function redisRestore({ store, toolsDirectory, password }: RestoreOptions): Restore {
  return {
    leaves: ['open'],

    async rebuild({ restoreId, chain, place }, source, _log, ctx) {
      const manifest = fullIn(chain);
      const directory = place.directory;
      const marker = { restoreId, engine: 'redis', store, tryId: newTry(), detail: {} };
      await claimPlace(place, marker, async () => (await serverOf(directory)).stop());
      const rdb = volumeOf(manifest, RDB_VOLUME);
      await requireFreeBytes(directory, rdb.contentBytes, `restore of ${store}`);
      await writeVolume(source, rdb, path.join(directory, RDB_FILE), (doneBytes) =>
        ctx.progress({ phase: 'fetching RDB', doneBytes, totalBytes: rdb.contentBytes }),
      );
      const hasAclFile = manifest.artifacts.some((each) => each.name === ACL_VOLUME);
      if (hasAclFile) {
        const captured = path.join(directory, 'users.captured.acl');
        await writeVolume(source, volumeOf(manifest, ACL_VOLUME), captured, () => undefined);
        const rules = aclFileFor(await fs.readFile(captured, 'utf8'), password);
        await writePrivately(path.join(directory, RESTORED_ACL_FILE), rules);
        await fs.rm(captured);
      }
      const state = JSON.parse((await source.early(manifest.backupId, STATE_FILE)).toString('utf8')) as {
        settings: Record<string, string>;
      };
      await advance(directory, { ...marker, detail: { hasAclFile, settings: state.settings, rebuilt: true } });
    },

    async replay(request, log, ctx) {
      const { directory } = request.place;
      const marker = await requireClaim(directory, request.restoreId);
      const detail = marker.detail as RestoreDetail;
      if (!detail.rebuilt) throw failure('BackupIncomplete', `${directory} was not rebuilt to its end`);
      if (!request.plan.log || detail.replayed) return restored(request, null);
      const trying = await writeMarker(directory, { ...marker, tryId: newTry() });
      await writeAppendOnly(directory, RDB_FILE, streamPartOf(request, log, ctx), log as LogArchive, ctx);
      await advance(directory, { ...trying, detail: { ...marker.detail, replayed: true } });
      return restored(request, null);
    },

    async open(request, ctx) {
      const { directory, host } = request.place;
      const marker = await requireClaim(directory, request.restoreId);
      const detail = marker.detail as RestoreDetail;
      if (!detail.rebuilt) throw failure('BackupIncomplete', `${directory} was not rebuilt to its end`);
      if (request.plan.log && !detail.replayed)
        throw failure('BackupIncomplete', `${directory} was not replayed to its target`);
      const running = await runningServer(directory);
      if (running) return restored(request, { host, port: running.port });
      const settings = detail.settings ?? {};
      const program = await findServer(toolsDirectory, fullIn(request.chain).serverVersion);
      const { place } = request;
      const appendOnly = detail.replayed ?? false;
      const port = await startRestoredServer(
        { place, program, password, settings, hasAclFile: detail.hasAclFile ?? false, appendOnly },
        ctx,
      );
      if (settings['appendonly'] === 'yes' && !appendOnly)
        await switchAppendOnlyOn(place, { host, port, password }, ctx);
      return restored(request, { host, port });
    },

    crash: async ({ directory }) => ((await mayRemove(directory)) ? (await serverOf(directory)).crash() : null),

    async discard(place) {
      await removePlace(place.directory, async () => (await serverOf(place.directory)).stop());
    },
  };
}

/** What the steps of a restore leave to each other in its marker. */
interface RestoreDetail {
  readonly hasAclFile?: boolean;
  readonly settings?: Record<string, string>;
  readonly rebuilt?: boolean;
  /** An append-only directory holds the RDB and the stream up to the target. */
  readonly replayed?: boolean;
}

/** The way to the plan's target as it is archived now: since the plan was made, slices may have given way to segments. */
function streamPartOf({ plan, chain }: RestoreRequest, log: LogArchive | null, ctx: CallContext): StreamPart {
  const [target, backup] = [plan.log?.to, fullIn(chain)];
  if (!log || !target) throw failure('LogGap', `the log that the restore of ${plan.store} needs is not there`);
  const links = () => askStream(log, ctx, (known) => linksTo(backup, known, target));
  return { links, from: offsetOf(stopOf(backup)), to: offsetOf(target) };
}

/** All that is rebuilt: an incremental behind it is a position of the log. */
function fullIn([manifest]: readonly Manifest[]): Manifest {
  if (!manifest) throw failure('NotFound', 'the restore names no backup');
  return manifest;
}

function volumeOf(manifest: Manifest, name: string) {
  const artifact = manifest.artifacts.find((each) => each.name === name);
  if (artifact) return artifact;
  throw failure('BackupCorrupt', `backup ${manifest.backupId} of ${manifest.store} names no ${name}`);
}

/** Writes one volume; its name appears only after the source has confirmed every digest. */
async function writeVolume(
  source: VolumeSource,
  artifact: Manifest['artifacts'][number],
  file: string,
  onBytes: (doneBytes: number) => void,
): Promise<void> {
  const partial = `${file}.${newTry()}.partial`; // an earlier try that is not dead yet writes its own
  let doneBytes = 0;
  const counted = async function* (content: AsyncIterable<Buffer>) {
    for await (const part of content) {
      onBytes((doneBytes += part.length));
      yield part;
    }
  };
  try {
    await pipeline(await source.open(artifact), counted, createWriteStream(partial, { mode: 0o600, flush: true }));
    await fs.rename(partial, file);
    await syncDirectory(path.dirname(file));
  } catch (error) {
    throw diskFailure(error, file, 'writing a restored file');
  }
}

function restored({ plan, place }: RestoreRequest, address: RestoredStore['address']): RestoredStore {
  return {
    directory: place.directory,
    state: 'open',
    address,
    reachedPosition: plan.reaches.position,
    reachedTime: plan.reaches.time,
    notes: plan.notes,
  };
}

/** The server program of the backup's own flavour: Redis and Valkey refuse each other's newer files. */
async function findServer(toolsDirectory: string | undefined, serverVersion: string): Promise<string> {
  const name = serverVersion.startsWith('valkey') ? 'valkey-server' : 'redis-server';
  const program = await findProgram(name, toolsDirectory);
  if (program !== null) return program;
  const where = toolsDirectory ?? 'the PATH';
  throw failure('ToolMissing', `${name} was not found in ${where}; the backup is of ${serverVersion}`);
}
