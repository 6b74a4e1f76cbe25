import { execFile } from 'node:child_process';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { promisify } from 'node:util';
import type { CallContext } from '../../../core/call';
import type { Manifest } from '../../../core/catalog';
import type { RestoreRequest } from '../../../core/engine';
import type { VolumeSource } from '../../../core/volumes';
import { failure } from '../../../core/errors';
import { absent } from '../../filesystem/absent';
import { type Account, freePort } from '../restore-host';
import { advance, newTry, requireTakeable, writeMarker } from '../restore-marker';
import type { ManifestFile } from './backup-manifest';
import { filesOfChain, type MemberFile } from './chain-files';
import { readChain } from './chain-members';
import { isStoppedDataDirectory, moveDown, systemIdentifierOf } from './data-directory';
import type { BackupDetail } from './dump';
import { keepRightFiles, type WholeFile } from './kept-files';
import { parseLsn } from './lsn';
import { serverOf } from './restored-server';
import { clearRestore, type Marker, ownerOf, pathsOf, type PlacePaths, readMarker } from './restore-place';
import { findTool } from './tools';
import { makeDirectory, unpackBackup, type UnpackTarget } from './unpack';
import { volumesHolding } from './volume-files';
import { writeOwned } from './restore-config';

/** Directories without files, which the volumes that are skipped may name (initdb.c, basebackup.c excludeDirContents). */
const EMPTY_DIRECTORIES = [
  ...['pg_commit_ts', 'pg_dynshmem', 'pg_logical/mappings', 'pg_logical/snapshots', 'pg_notify', 'pg_replslot'],
  ...['pg_serial', 'pg_snapshots', 'pg_stat', 'pg_stat_tmp', 'pg_subtrans', 'pg_tblspc', 'pg_twophase'],
  'pg_wal/archive_status',
];

/**
 * Writes the chain into the place; see core/engine.ts `Restore.rebuild`. A repeated try, and a restore with `delta`, keep the
 * files that are complete and right by their checksum. Every try works in folders of its own name, so that one that is
 * believed dead and lives on writes nowhere.
 */
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
  const { before, takesOver, keeps } = await claimable(request, paths);
  if (before?.restoreId === restoreId && before.phase === 'rebuilt') return;
  const detail = newest.detail as BackupDetail;
  const owner = await ownerOf(place);
  // Before anything is fetched: a worker without the programs should say so now and not after an hour.
  await findTool('postgres', detail.majorVersion, toolsDirectory);
  const members = await readChain(chain, source, ctx);
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
  if (takesOver) {
    await writeMarker(paths.root, { ...marker, takingOver: true });
    await moveDown(paths.root);
  }
  await writeMarker(paths.root, marker);
  const target = {
    data: `${paths.data}.${marker.tryId}`,
    tablespaces: `${paths.tablespaces}.${marker.tryId}`,
    owner,
  };
  if (keeps) await takeParts(paths, target);
  await clearRestore(paths.root, { keepMarker: true, keep: [target.data, target.tablespaces] });
  await unpackChain(chain, members, source, target, keeps, ctx);
  await adopt(paths, target);
  await syncTree(paths.root, ctx);
  await advance(paths.root, marker); // the place is still this try's
  await fs.rename(target.data, paths.data);
  await fs.rename(target.tablespaces, paths.tablespaces).catch(absent); // a cluster may have none
  await advance(paths.root, { ...marker, phase: 'rebuilt', port: await freePort(place.host, place.port) });
}

interface Claim {
  readonly before: Marker | null;
  /** A stopped server's own data directory, named by a person for a delta restore. */
  readonly takesOver: boolean;
  /** Whether files that are right may stay. */
  readonly keeps: boolean;
}

/** Throws TargetNotEmpty for a place that this restore may not take. */
async function claimable({ place, restoreId, chain }: RestoreRequest, paths: PlacePaths): Promise<Claim> {
  const { identity, store } = chain.at(-1) as Manifest;
  const delta = place.delta === true;
  const marked = await readMarker(paths.root);
  if (delta && marked === null && (await isStoppedDataDirectory(paths.root, identity))) {
    return { before: null, takesOver: true, keeps: true };
  }
  const before = await requireTakeable<Marker>(
    { directory: place.directory, overwrite: place.overwrite || delta },
    { restoreId, engine: 'postgresql', store },
  );
  const there = await systemIdentifierOf(paths.data);
  if (delta && !place.overwrite && there !== null && there !== identity) {
    throw failure('TargetNotEmpty', `${paths.root} holds a restore of another cluster than ${store}'s`, {
      next: 'Choose another place, or allow it to be replaced with --overwrite.',
    });
  }
  const keeps = (delta && there === identity) || before?.restoreId === restoreId;
  return { before, takesOver: before?.takingOver === true, keeps: keeps || before?.takingOver === true };
}

/** Gives this try's names to what an earlier one, or an earlier restore, left. */
async function takeParts(paths: PlacePaths, target: UnpackTarget): Promise<void> {
  const names = await fs.readdir(paths.root);
  for (const [from, to] of [
    [paths.data, target.data],
    [paths.tablespaces, target.tablespaces],
  ] as const) {
    const base = path.basename(from);
    const found = names.find((name) => name === base) ?? names.find((name) => name.startsWith(`${base}.`));
    if (found) await fs.rename(path.join(paths.root, found), to);
  }
}

/**
 * The newest state of the chain, each file from the last backup that holds all of it, the changed blocks of those after it
 * written over it. The server's manifests say which those are, and every byte that is used is checked against them.
 */
async function unpackChain(
  chain: readonly Manifest[],
  manifests: readonly Files[],
  source: VolumeSource,
  target: UnpackTarget,
  keeps: boolean,
  ctx: CallContext,
): Promise<void> {
  const wanted = filesOfChain(manifests, (chain.at(-1) as Manifest).backupId);
  if (keeps) await keep(chain, manifests, wanted, target, ctx);
  // In order: blocks are written over what the backup before them gave.
  for (const [index, { artifacts }] of chain.entries()) {
    const [files, ofMember] = [manifests[index] as Files, wanted[index] as Map<string, MemberFile>];
    // All of them otherwise: what is damaged in what a restore reads is found, also where nothing is taken from it.
    const needed = keeps ? volumesHolding(artifacts, files, (name) => ofMember.has(name)) : artifacts;
    const member = { artifacts, needed, files, wanted: ofMember, newest: index === chain.length - 1 };
    await unpackBackup(member, source, target, ctx);
  }
  if (!keeps) return;
  for (const name of EMPTY_DIRECTORIES) await makeDirectories(target.data, name, target.owner);
}

type Files = ReadonlyMap<string, ManifestFile>;

/**
 * Takes out of `wanted` what is there and right: as the last backup that holds all of a file has it, the only checksum of
 * it that there is. Blocks that changed since then are written over it as over one that was unpacked.
 */
async function keep(
  chain: readonly Manifest[],
  manifests: readonly Files[],
  wanted: readonly Map<string, MemberFile>[],
  target: UnpackTarget,
  ctx: CallContext,
): Promise<void> {
  const whole = new Map<string, WholeFile>();
  for (const [index, ofMember] of wanted.entries()) {
    const stop = parseLsn(((chain[index] as Manifest).stop as NonNullable<Manifest['stop']>).value);
    for (const [name, { kind }] of ofMember) {
      if (kind === 'whole') whole.set(name, { ...(manifests[index]?.get(name) as ManifestFile), stop });
    }
  }
  const kept = await keepRightFiles(target, whole, ctx);
  for (const name of kept.names) for (const ofMember of wanted) ofMember.delete(name);
  const { keptBytes, removedFiles } = kept;
  ctx.log.info({ keptFiles: kept.names.size, keptBytes, removedFiles }, 'files that are right already were kept');
}

async function makeDirectories(root: string, name: string, owner: Account): Promise<void> {
  const parts = name.split('/');
  for (let depth = 0; depth <= parts.length; depth += 1) {
    await makeDirectory(path.join(root, ...parts.slice(0, depth)), owner);
  }
}

/** One syncfs(2), which Node cannot call itself: after it the marker may promise that everything is there. */
async function syncTree(directory: string, ctx: CallContext): Promise<void> {
  ctx.progress({ phase: 'syncing the disk' });
  await promisify(execFile)('sync', ['-f', directory], { signal: ctx.signal });
}

/** Makes the copied directory a place of its own: no settings of the source, tablespaces beside it, recovery asked for. */
async function adopt(paths: PlacePaths, { data, owner }: UnpackTarget): Promise<void> {
  const inData = (name: string) => path.join(data, name);
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
