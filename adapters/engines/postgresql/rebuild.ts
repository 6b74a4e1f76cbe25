import { spawn } from 'node:child_process';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import type { CallContext } from '../../../core/call';
import type { Manifest } from '../../../core/catalog';
import type { RestoreRequest } from '../../../core/engine';
import { failure } from '../../../core/errors';
import type { VolumeSource } from '../../../core/volumes';
import { absent } from '../../filesystem/absent';
import { type Account, freePort } from '../restore-host';
import { advance, newTry, requireTakeable, writeMarker } from '../restore-marker';
import { readBackupManifest } from './backup-manifest';
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
  if (chain.length === 1)
    await unpackMember(newest, source, { data: paths.data, tablespaces: paths.tablespaces }, owner, ctx);
  else await combine(request, source, paths, owner, toolsDirectory, ctx);
  await adopt(paths, owner);
  await advance(paths.root, { ...marker, phase: 'rebuilt', port: await freePort(place.host, place.port) });
}

async function unpackMember(
  member: Manifest,
  source: VolumeSource,
  to: { data: string; tablespaces: string },
  owner: Account,
  ctx: CallContext,
): Promise<void> {
  const bytes = await source.early(member.backupId, 'backup_manifest');
  const files = readBackupManifest(bytes, `backup_manifest of ${member.backupId}`);
  await unpackBackup(member.artifacts, files, source, { ...to, owner }, ctx);
  await writeOwned(path.join(to.data, 'backup_manifest'), bytes.toString('utf8'), owner);
}

/** Unpacks every member of a chain and has PostgreSQL's own program put them together. */
async function combine(
  request: RestoreRequest,
  source: VolumeSource,
  paths: PlacePaths,
  owner: Account,
  toolsDirectory: string | undefined,
  ctx: CallContext,
): Promise<void> {
  const newest = request.chain.at(-1) as Manifest;
  const program = await findTool('pg_combinebackup', (newest.detail as BackupDetail).majorVersion, toolsDirectory);
  await makeDirectory(paths.chain, owner);
  const folders: string[] = [];
  for (const [index, member] of request.chain.entries()) {
    const folder = path.join(paths.chain, String(index));
    if (member.artifacts.some((each) => /^\d+-/.test(each.name))) {
      throw failure(
        'PitrTargetUnreachable',
        `${member.backupId} is a chain with tablespaces, which cannot be put together yet`,
        {
          next: 'Restore from the newest full backup: replay of the log leads to the same target.',
        },
      );
    }
    await unpackMember(member, source, { data: folder, tablespaces: paths.tablespaces }, owner, ctx);
    folders.push(folder);
  }
  ctx.progress({ phase: 'combining the chain' });
  // --copy-file-range would share blocks where the file system can; plain copies work everywhere.
  await runToEnd(program, [...folders, '-o', paths.data, '--no-sync', '--manifest-checksums=CRC32C'], owner, ctx);
  await fs.rm(paths.chain, { recursive: true, force: true });
}

async function runToEnd(program: string, args: string[], owner: Account, ctx: CallContext): Promise<void> {
  const asRoot = process.getuid?.() === 0;
  const child = spawn(program, args, {
    cwd: '/',
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' },
    signal: ctx.signal,
    killSignal: 'SIGKILL',
    ...(asRoot ? { uid: owner.uid, gid: owner.gid } : {}),
  });
  let words = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (words = `${words}${text}`.slice(-4_000)));
  const status = await new Promise<number | null>((resolve, reject) =>
    child.once('error', reject).once('close', resolve),
  );
  ctx.signal.throwIfAborted();
  if (status !== 0) throw failure('BackupCorrupt', `${path.basename(program)} refused the chain: ${words.trim()}`);
}

/** Makes the copied directory a place of its own: no settings of the source, tablespaces beside it, recovery asked for. */
async function adopt(paths: PlacePaths, owner: Account): Promise<void> {
  const inData = (name: string) => path.join(paths.data, name);
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
