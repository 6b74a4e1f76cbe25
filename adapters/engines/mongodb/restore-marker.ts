import { open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { failure } from '../../../core/errors';

/**
 * How far a restore has come. `loading`: half written, thrown away by a repeat. `rebuilt`: holds the backup's state.
 * `replaying`: the database itself says up to where. `replayed`: at the target, with every index. `opened`: in use.
 */
export type RestorePhase = 'loading' | 'rebuilt' | 'replaying' | 'replayed' | 'opened';

/** `drctl-restore.json` in the place: says that a restore of ours made what lies beside it, and which one. */
export interface RestoreMarker {
  readonly restoreId: string;
  readonly store: string;
  readonly phase: RestorePhase;
  readonly host: string;
  readonly port: number;
  readonly reachedTime: string | null;
  readonly reachedPosition: { readonly lineage: string; readonly value: string } | null;
}

const MARKER = 'drctl-restore.json';

export async function readMarker(directory: string): Promise<RestoreMarker | null> {
  try {
    return JSON.parse(await readFile(join(directory, MARKER), 'utf8')) as RestoreMarker;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/** Atomic and durable: after a crash it is either the old one or the new one. */
export async function writeMarker(directory: string, marker: RestoreMarker): Promise<void> {
  const temporary = join(directory, `${MARKER}.new`);
  const file = await open(temporary, 'w', 0o600);
  try {
    await file.writeFile(JSON.stringify(marker, null, 2));
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, join(directory, MARKER));
  const folder = await open(directory, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** The marker of this very restore; throws when the place belongs to something else. */
export async function requireMarker(directory: string, restoreId: string): Promise<RestoreMarker> {
  const marker = await readMarker(directory);
  if (marker?.restoreId === restoreId) return marker;
  throw failure(
    'TargetNotEmpty',
    `${directory} does not hold restore ${restoreId}${marker ? ` but ${marker.restoreId}` : ''}`,
  );
}

export async function isEmpty(directory: string): Promise<boolean> {
  try {
    return (await readdir(directory)).length === 0;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return true;
    throw error;
  }
}

/** Removes what is in the directory; the marker last, so that a removal cut short can be repeated. */
export async function clearPlace(directory: string, keepMarker = false): Promise<void> {
  for (const name of await readdir(directory)) {
    if (name !== MARKER) await rm(join(directory, name), { recursive: true, force: true });
  }
  if (!keepMarker) await rm(join(directory, MARKER), { force: true });
}
