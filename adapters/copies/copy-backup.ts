import type { CallContext } from '../../core/call';
import type { Manifest } from '../../core/catalog';
import { hasCode } from '../../core/errors';
import { isBackupId, layout } from '../../core/layout';
import type { Repository } from '../../core/repository';
import { decided, givenUp } from '../catalog/decision';
import { manifestSchema } from '../catalog/manifest-schema';
import { parseStored, unreadable } from '../catalog/stored-json';
import { recordKeyOf } from '../volumes/transfer';
import { copyArtifact, copyEarly, readOrNull, type Route } from './copy-objects';

/** Volumes copied at once: while one is looked up the other is sent. Parts in flight are bounded by the repository. */
const AT_ONCE = 2;

export interface StoredManifest {
  readonly manifest: Manifest;
  readonly bytes: Buffer;
}

/** Null where there is none. Throws BackupCorrupt. */
export async function readManifest(from: Repository, store: string, id: string): Promise<StoredManifest | null> {
  const key = layout.manifest(store, id);
  const bytes = await readOrNull(from, key);
  if (bytes === null) return null;
  const manifest = parseStored(from, key, bytes, manifestSchema);
  const own = layout.manifest(manifest.store, manifest.backupId);
  if (own !== key) throw unreadable(from, key, `it is the manifest of ${own}`);
  return { manifest, bytes };
}

/** Ids of the backups whose manifest is there, in order; `from`: only those with a greater id. */
export async function backupIds(repository: Repository, store: string, after: string | null): Promise<string[]> {
  const prefix = layout.manifests(store);
  const ids: string[] = [];
  const options = after === null ? {} : { after: layout.manifest(store, after) };
  for await (const { key } of repository.list(prefix, options)) {
    const name = key.slice(prefix.length);
    const id = name.replace(/\.json$/, '');
    if (id !== name && isBackupId(id)) ids.push(id);
  }
  return ids.toSorted();
}

/** Retention removed it from the copy, where it is not to come back. */
export async function isGivenUp(to: Repository, store: string, id: string): Promise<boolean> {
  return (await decided(to, store, id))?.attempt === null;
}

/**
 * Everything of a backup, its manifest last, so that in the copy too a backup is whole or is not. Answers the bytes sent; null
 * where the source does not have it any more, and then the copy does not get it either.
 */
export async function copyBackup(
  route: Route,
  { manifest, bytes }: StoredManifest,
  onBytes: (bytes: number) => void,
  ctx: CallContext,
): Promise<number | null> {
  const { from, to } = route;
  const { store, backupId } = manifest;
  let sent = 0;
  const count = (more: number) => {
    sent += more;
    onBytes(more);
  };
  const left = [...manifest.artifacts];
  const lane = async () => {
    for (let next = left.shift(); next; next = left.shift()) {
      ctx.signal.throwIfAborted();
      count(await copyArtifact(route, next, ctx));
    }
  };
  await allOf(Array.from({ length: AT_ONCE }, lane));
  for (const file of manifest.early) count(await copyEarly(route, file, ctx));
  const record = recordKeyOf(manifest);
  if (record !== null) await copyIfThere(route, record);
  // Retention of the source may have removed it meanwhile: its data in the copy are leftovers then.
  if ((await from.head(layout.manifest(store, backupId))) === null) return null;
  await settle(route, store, backupId);
  await to.put(layout.manifest(store, backupId), bytes, { ifAbsent: true });
  return sent;
}

/** The decision, as a commit writes it before the manifest: retention of the copy may have given the backup up just now. */
async function settle({ from, to }: Route, store: string, backupId: string): Promise<void> {
  const bytes = await readOrNull(from, layout.decision(store, backupId));
  // Manifests written before there were decisions have none.
  if (bytes === null) return;
  try {
    await to.put(layout.decision(store, backupId), bytes, { ifAbsent: true });
  } catch (error) {
    if (!hasCode(error, 'LockHeld')) throw error;
    if (await isGivenUp(to, store, backupId)) throw givenUp(store, backupId);
  }
}

/** What no restore needs: its absence, or another one that is there already, is nobody's loss. */
async function copyIfThere({ from, to }: Route, key: string): Promise<void> {
  const bytes = await readOrNull(from, key);
  if (bytes === null) return;
  try {
    await to.put(key, bytes, { ifAbsent: true });
  } catch (error) {
    if (!hasCode(error, 'LockHeld')) throw error;
  }
}

/** Throws the first error once all have ended: none goes on writing behind the caller's back. */
export async function allOf(work: readonly Promise<void>[]): Promise<void> {
  const failed = (await Promise.allSettled(work)).find((end) => end.status === 'rejected');
  if (failed) throw failed.reason;
}
