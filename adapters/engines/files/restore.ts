import { execFile } from 'node:child_process';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { promisify } from 'node:util';
import type { Restore, RestoreRequest } from '../../../core/engine';
import { failure } from '../../../core/errors';
import type { RestoredStore } from '../../../core/recovery';
import { requireFreeBytes } from '../../filesystem/durable';
import { advance, claimPlace, newTry, readMarker, removePlace, requireClaim } from '../restore-marker';
import { unpackVolumes, volumesOf } from './unpacking';
import { WantedMembers } from './wanted-members';

/**
 * Unpacks the trees below the place, each under its full path (`<place>/opt/ultramarket/…`). Owners are those of the
 * archive when the worker is root, else the worker; `osUser` is for engines with a server and does not matter here.
 */
export function filesRestore(store: string, devices: boolean, liveRoots: readonly string[]): Restore {
  return {
    leaves: ['open'],

    async rebuild({ restoreId, chain, place }, source, _log, ctx) {
      const manifest = chain.at(-1);
      if (!manifest) throw failure('NotFound', 'the restore names no backup');
      const { roots } = manifest.detail as { roots?: string[] };
      const marker = { restoreId, engine: 'files', store, tryId: newTry(), detail: {} };
      await requireApart(place.directory, liveRoots);
      await claimPlace(place, marker, () => allowRemoval(place.directory));
      // A full is unpacked whole; of a chain what its last state names.
      const wanted = chain.length === 1 ? null : await WantedMembers.read(chain, source, ctx);
      const volumes = volumesOf(chain, wanted);
      await requireFreeBytes(
        place.directory,
        Math.min(volumes.contentBytes, wanted?.contentBytes ?? volumes.contentBytes),
        `restore of ${store}`,
      );
      await unpackVolumes(volumes, source, { directory: place.directory, devices }, ctx);
      await advance(place.directory, { ...marker, detail: { roots: roots ?? [], rebuilt: true } });
    },

    async replay(request) {
      return restored(request);
    },

    async open(request) {
      return restored(request);
    },

    async discard(place) {
      await removePlace(place.directory, () => allowRemoval(place.directory));
    },
  };
}

/** The roots that a restored place holds; throws BackupIncomplete for one that was not unpacked to its end. */
export async function restoredRoots(directory: string): Promise<string[]> {
  const marker = await readMarker(directory);
  const { roots, rebuilt } = (marker?.detail ?? {}) as { roots?: string[]; rebuilt?: boolean };
  if (!rebuilt || !roots) throw failure('BackupIncomplete', `${directory} was not unpacked to its end`);
  return roots;
}

/** Rule 5: neither over the live tree, which `overwrite` would empty, nor inside it, where the next backup would find it. */
async function requireApart(directory: string, liveRoots: readonly string[]): Promise<void> {
  const place = await resolved(directory);
  for (const root of await Promise.all(liveRoots.map(resolved))) {
    if (`${place}/`.startsWith(`${root}/`) || `${root}/`.startsWith(place === '/' ? '/' : `${place}/`)) {
      throw failure('TargetNotEmpty', `restore to ${directory}: it overlaps the live directory ${root}`);
    }
  }
}

/** With links followed as far as the path exists. */
async function resolved(directory: string): Promise<string> {
  const parent = path.dirname(directory);
  return fs.realpath(directory).catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT' || parent === directory) throw error;
    return path.join(await resolved(parent), path.basename(directory));
  });
}

async function restored({ restoreId, plan, place }: RestoreRequest): Promise<RestoredStore> {
  await requireClaim(place.directory, restoreId);
  await restoredRoots(place.directory);
  return {
    directory: place.directory,
    state: 'open',
    address: null,
    reachedPosition: null,
    reachedTime: plan.reaches.time,
    notes: plan.notes,
  };
}

/** Restored directories may forbid their owner to change them; root may anyway. */
async function allowRemoval(directory: string): Promise<void> {
  if (process.getuid?.() === 0) return;
  await promisify(execFile)('chmod', ['-R', 'u+rwX', '--', directory]);
}
