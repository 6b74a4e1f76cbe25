import { execFile } from 'node:child_process';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { promisify } from 'node:util';
import type { CallContext } from '../../../core/call';
import type { Manifest } from '../../../core/catalog';
import type { RestoreRequest } from '../../../core/engine';
import type { VolumeSource } from '../../../core/volumes';
import { absent } from '../../filesystem/absent';
import { type Account, freePort } from '../restore-host';
import { advance, newTry, requireTakeable, writeMarker } from '../restore-marker';
import { type ManifestFile, readBackupManifest } from './backup-manifest';
import { filesOfChain, type MemberFiles } from './chain-files';
import type { BackupDetail } from './dump';
import { serverOf } from './restored-server';
import { clearRestore, type Marker, ownerOf, pathsOf, type PlacePaths } from './restore-place';
import { findTool } from './tools';
import { makeDirectory, unpackBackup } from './unpack';
import { writeOwned } from './restore-config';

/** Writes the chain into the place; see core/engine.ts `Restore.rebuild`. Starts again from nothing unless it was complete. */
export async function rebuild(
  request: RestoreRequest,
  source: VolumeSource,
  toolsDirectory: string | undefined,
  ctx: CallContext,
): Promise<void> {
  const { place, restoreId, chain } = request;
  const paths = pathsOf(place.directory);
  const newest = chain.at(-1) as Manifest;
  const owned = { engine: 'postgresql', restoreId, store: newest.store } as const;
  const before = await requireTakeable<Marker>(place, owned);
  if (before?.restoreId === restoreId && before.phase === 'rebuilt') return;
  const detail = newest.detail as BackupDetail;
  const owner = await ownerOf(place);
  // Before anything is fetched: a worker without the programs should say so now and not after an hour.
  await findTool('postgres', detail.majorVersion, toolsDirectory);
  if (before) await serverOf(paths).stop();
  await fs.mkdir(path.dirname(paths.root), { recursive: true }); // of ours, but the server's user has to pass through
  await makeDirectory(paths.root, owner);
  const marker: Marker = {
    ...owned,
    tryId: newTry(),
    phase: 'rebuilding',
    majorVersion: detail.majorVersion,
    user: detail.user,
    database: detail.database,
    host: place.host,
    port: 0,
    reachedPosition: null,
    reachedTime: null,
  };
  await writeMarker(paths.root, marker);
  await clearRestore(paths.root, { keepMarker: true });
  await unpackChain(chain, source, paths, owner, ctx);
  await adopt(paths, owner);
  await advance(paths.root, { ...marker, phase: 'rebuilt', port: await freePort(place.host, place.port) });
}

/**
 * The newest state of the chain, each file from the last backup that holds all of it, the changed blocks of those after it
 * written over it. The server's manifests say which those are, and every byte that is used is checked against them.
 */
async function unpackChain(
  chain: readonly Manifest[],
  source: VolumeSource,
  paths: PlacePaths,
  owner: Account,
  ctx: CallContext,
): Promise<void> {
  const early = await Promise.all(chain.map(({ backupId }) => source.early(backupId, 'backup_manifest')));
  const manifests = early.map((bytes, index) =>
    readBackupManifest(bytes, `backup_manifest of ${(chain[index] as Manifest).backupId}`),
  );
  const wanted = filesOfChain(manifests, (chain.at(-1) as Manifest).backupId);
  // In order: blocks are written over what the backup before them gave.
  for (const [index, { artifacts }] of chain.entries()) {
    const member = {
      artifacts,
      files: manifests[index] as ReadonlyMap<string, ManifestFile>,
      wanted: wanted[index] as MemberFiles,
      newest: index === chain.length - 1,
    };
    await unpackBackup(member, source, { data: paths.data, tablespaces: paths.tablespaces, owner }, ctx);
  }
  await syncTree(paths.root, ctx);
}

/** One syncfs(2), which Node cannot call itself: after it the marker may promise that everything is there. */
async function syncTree(directory: string, ctx: CallContext): Promise<void> {
  ctx.progress({ phase: 'syncing the disk' });
  await promisify(execFile)('sync', ['-f', directory], { signal: ctx.signal });
}

/** Makes the copied directory a place of its own: no settings of the source, tablespaces beside it, recovery asked for. */
async function adopt(paths: PlacePaths, owner: Account): Promise<void> {
  const inData = (name: string) => path.join(paths.data, name);
  // The server refuses to start from a label of an incremental backup, which this is no more.
  const label = await fs.readFile(inData('backup_label'), 'utf8');
  await writeOwned(inData('backup_label'), label.replaceAll(/^INCREMENTAL FROM .*\n/gm, ''), owner);
  await fs.rm(inData('standby.signal'), { force: true });
  await fs.rm(inData('postmaster.pid'), { force: true });
  const auto = inData('postgresql.auto.conf');
  // Read by every server, whatever its config file: it may hold a fence, a primary's address, an archive command.
  await fs.rename(auto, `${auto}.source`).catch(absent); // a cluster may have none
  const map = await fs.readFile(inData('tablespace_map'), 'utf8').catch(absent);
  if (map !== null) {
    const lines = map.split('\n').flatMap((line) => /^(\d+) /.exec(line)?.[1] ?? []);
    const own = lines.map((oid) => `${oid} ${path.join(paths.tablespaces, oid)}\n`).join('');
    await writeOwned(inData('tablespace_map'), own, owner);
  }
  await writeOwned(inData('recovery.signal'), '', owner);
  await makeDirectory(paths.socket, owner);
}
