import { randomUUID } from 'node:crypto';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { failure } from '../../core/errors';
import type { Json } from '../../core/catalog';
import type { RestorePlace } from '../../core/recovery';
import { absent } from '../filesystem/absent';
import { diskFailure, makeDirectory, syncDirectory } from '../filesystem/durable';

/** Lies in every place that a restore made. Without it nothing there is ever removed or replaced. */
export const RESTORE_MARKER = '.drctl-restore.json';

/** Whose place it is; each engine adds what it must find again when a step is repeated. Holds no secret. */
export interface RestoreMarker {
  readonly restoreId: string;
  readonly engine: string;
  readonly store: string;
  /** Of the newest try of a step. One that is believed dead and lives on finds another's here, and ends. */
  readonly tryId: string;
}

/** The marker of the engines that need no more than a few words of their own. */
export interface DetailMarker extends RestoreMarker {
  readonly detail: { readonly [key: string]: Json };
}

export const newTry = (): string => randomUUID();

/** Null where no restore was ever begun. Which fields there are besides the common ones, `engine` says. */
export async function readMarker<M extends RestoreMarker = DetailMarker>(directory: string): Promise<M | null> {
  const text = await fs.readFile(path.join(directory, RESTORE_MARKER), 'utf8').catch(absent);
  return text === null ? null : (JSON.parse(text) as M);
}

/** Atomic and durable: after a crash it is the old one or the new one. For the try that takes the place over. */
export async function writeMarker<M extends RestoreMarker>(directory: string, marker: M): Promise<M> {
  const temporary = path.join(directory, `${RESTORE_MARKER}.${marker.tryId}`);
  await fs.writeFile(temporary, `${JSON.stringify(marker, null, 2)}\n`, { flush: true, mode: 0o640 });
  await fs.rename(temporary, path.join(directory, RESTORE_MARKER));
  await syncDirectory(directory);
  return marker;
}

/** Throws LockHeld when another try has taken the place over since: what is there now is not what this one made. */
export async function advance<M extends RestoreMarker>(directory: string, next: M): Promise<M> {
  const found = await readMarker<RestoreMarker>(directory);
  if (found?.restoreId === next.restoreId && found.tryId === next.tryId) return writeMarker(directory, next);
  throw failure('LockHeld', `a newer try of a restore has taken ${directory} over; this one ends`, {
    data: 'What the newer try makes there was not marked as done.',
  });
}

/**
 * The marker of a place that this restore may take: its own of an earlier try, or with `overwrite` that of another restore
 * of the same engine; null for an empty one. Everything else is TargetNotEmpty, also with `overwrite`: a directory without
 * a marker may be somebody's live data.
 */
export async function requireTakeable<M extends RestoreMarker = RestoreMarker>(
  { directory, overwrite }: Pick<RestorePlace, 'directory' | 'overwrite'>,
  { restoreId, engine, store }: Pick<RestoreMarker, 'restoreId' | 'engine' | 'store'>,
): Promise<M | null> {
  const found = await readMarker<M>(directory);
  const ours = found?.engine === engine;
  if (ours && (found.restoreId === restoreId || overwrite)) return found;
  const names = (await entriesOf(directory)).filter((name) => !name.startsWith(`${RESTORE_MARKER}.`));
  if (names.length === 0) return null;
  const what = `restore of ${store} to ${directory}`;
  if (ours) {
    throw failure('TargetNotEmpty', `${what}: it holds the restore ${found.restoreId} of ${found.store}`, {
      next: 'Choose an empty place, or allow it to be replaced with --overwrite.',
    });
  }
  const holds = found
    ? `the restore ${found.restoreId} of ${found.store} (${found.engine})`
    : `${names.slice(0, 3).join(', ')}${names.length > 3 ? ', …' : ''}, which no restore made`;
  throw failure('TargetNotEmpty', `${what}: it holds ${holds}`, {
    next: 'Choose an empty place. --overwrite replaces only what a restore of the same engine made; remove anything else yourself.',
  });
}

/**
 * Makes the place empty and this restore's own. What an earlier try of the same restore left goes; anything else stays and
 * the call throws TargetNotEmpty (see `requireTakeable`). `stop` ends a server that may still run in a place of ours.
 */
export async function claimPlace(
  place: Pick<RestorePlace, 'directory' | 'overwrite'>,
  marker: DetailMarker,
  stop: () => Promise<void>,
): Promise<void> {
  const { directory } = place;
  try {
    // The way to it is not secret and the server's own user has to pass; the place itself is its alone.
    await fs.mkdir(path.dirname(directory), { recursive: true });
    await makeDirectory(directory);
    const found = await requireTakeable(place, marker);
    // First, so that an earlier try that still runs cannot mark as done what is taken away here.
    await writeMarker(directory, marker);
    if (found) await stop();
    await clearPlace(directory, { keepMarker: true });
  } catch (error) {
    throw diskFailure(error, directory, `restore of ${marker.store}`);
  }
}

/** Throws TargetNotEmpty for a place that this restore did not claim: a step came before its predecessor. */
export async function requireClaim<M extends RestoreMarker = DetailMarker>(
  directory: string,
  restoreId: string,
): Promise<M> {
  const marker = await readMarker<M>(directory);
  if (marker?.restoreId === restoreId) return marker;
  const holds = marker ? ` but to ${marker.restoreId}` : '';
  throw failure('TargetNotEmpty', `${directory} does not belong to the restore ${restoreId}${holds}`);
}

/** False for a place that is empty or not there; throws TargetNotEmpty for one without a marker: no restore made it. */
export async function mayRemove(directory: string): Promise<boolean> {
  if ((await entriesOf(directory)).length === 0) return false;
  if (await readMarker(directory)) return true;
  throw failure('TargetNotEmpty', `${directory} carries no mark of a restore, so that nothing in it is removed`, {
    next: 'Remove it yourself if it is not needed.',
  });
}

/** Removes a restored place; does nothing where there is none, throws TargetNotEmpty for one without a marker. */
export async function removePlace(directory: string, stop: () => Promise<void>): Promise<void> {
  if (!(await mayRemove(directory))) return;
  await stop();
  await clearPlace(directory, { keepMarker: false });
  await fs.rm(directory, { recursive: true, force: true });
}

/**
 * Removes what is in the place, the marker last: a removal that was cut off can be repeated. `keep`: entries of it, by their
 * paths, that stay.
 */
export async function clearPlace(
  directory: string,
  options: { readonly keepMarker: boolean; readonly keep?: readonly string[] },
): Promise<void> {
  for (const name of await entriesOf(directory)) {
    const entry = path.join(directory, name);
    if (name === RESTORE_MARKER || options.keep?.includes(entry)) continue;
    await fs.rm(entry, { recursive: true, force: true });
  }
  if (!options.keepMarker) await fs.rm(path.join(directory, RESTORE_MARKER), { force: true });
}

async function entriesOf(directory: string): Promise<string[]> {
  return (await fs.readdir(directory).catch(absent)) ?? [];
}
