import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { failure } from '../../core/errors';
import type { Json } from '../../core/catalog';
import { diskFailure, makeDirectory, writeFileDurably } from '../filesystem/durable';

/** Lies in every place that a restore made. Without it nothing there is ever removed. */
export const RESTORE_MARKER = '.drctl-restore.json';

/** Whose place it is, and what the engine must find again when a step is repeated. Holds no secret. */
export interface RestoreMarker {
  readonly restoreId: string;
  readonly engine: string;
  readonly store: string;
  readonly detail: { readonly [key: string]: Json };
}

/** Null where no restore was ever begun. */
export async function readMarker(directory: string): Promise<RestoreMarker | null> {
  try {
    return JSON.parse(await fs.readFile(path.join(directory, RESTORE_MARKER), 'utf8')) as RestoreMarker;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR') return null;
    throw error;
  }
}

export async function writeMarker(directory: string, marker: RestoreMarker): Promise<void> {
  await writeFileDurably(path.join(directory, RESTORE_MARKER), `${JSON.stringify(marker, null, 2)}\n`);
}

/**
 * Makes the place empty and this restore's own. What an earlier try of the same restore left goes; anything else stays and
 * the call throws TargetNotEmpty, unless `overwrite`. `stop` ends a server that may still run in a place of ours.
 */
export async function claimPlace(
  directory: string,
  marker: RestoreMarker,
  overwrite: boolean,
  stop: () => Promise<void>,
): Promise<void> {
  try {
    // The way to it is not secret and the server's own user has to pass; the place itself is its alone.
    await fs.mkdir(path.dirname(directory), { recursive: true });
    await makeDirectory(directory);
    const found = await readMarker(directory);
    const names = await fs.readdir(directory);
    if (names.length > 0 && found?.restoreId !== marker.restoreId && !overwrite) {
      const owner = found
        ? `the restore ${found.restoreId} of ${found.store}`
        : `${names.length} entries of someone else`;
      throw failure('TargetNotEmpty', `restore of ${marker.store} to ${directory}: it holds ${owner}`);
    }
    if (found) await stop();
    // The marker goes last, so that a crash in between leaves a place that is still known as ours.
    for (const name of names.toSorted((a, b) => Number(a === RESTORE_MARKER) - Number(b === RESTORE_MARKER))) {
      await fs.rm(path.join(directory, name), { recursive: true, force: true });
    }
    await writeMarker(directory, marker);
  } catch (error) {
    throw diskFailure(error, directory, `restore of ${marker.store}`);
  }
}

/** Throws TargetNotEmpty for a place that this restore did not claim: a step came before its predecessor. */
export async function requireClaim(directory: string, restoreId: string): Promise<RestoreMarker> {
  const marker = await readMarker(directory);
  if (marker?.restoreId === restoreId) return marker;
  throw failure('TargetNotEmpty', `${directory} does not belong to the restore ${restoreId}`);
}

/** Removes a restored place; does nothing where there is none, throws TargetNotEmpty for one without a marker. */
export async function removePlace(directory: string, stop: () => Promise<void>): Promise<void> {
  const names = await fs.readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  if (names === null) return;
  if (!(await readMarker(directory))) {
    throw failure('TargetNotEmpty', `${directory} carries no mark of a restore, so it is not removed`);
  }
  await stop();
  for (const name of names.filter((each) => each !== RESTORE_MARKER)) {
    await fs.rm(path.join(directory, name), { recursive: true, force: true });
  }
  await fs.rm(directory, { recursive: true, force: true });
}
