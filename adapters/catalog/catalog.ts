import type { Manifest } from '../../core/catalog';
import type { CatalogStore, DamagedManifest } from '../../core/catalog-store';
import { failure, findFailure, hasCode } from '../../core/errors';
import { backupIdOf, isBackupId, isFullId, layout, startOfBackup } from '../../core/layout';
import type { Repository, StoredObject } from '../../core/repository';
import { decide, givenUp } from './decision';
import { manifestSchema } from './manifest-schema';
import { parseStored, sealed, toBytes, unreadable } from './stored-json';

/** Manifests read at once by a listing that has none of them cached. */
const PARALLEL_READS = 8;

/** Most stores have several backups in so much time; of the others everything is listed, which is little. */
const LATELY_MILLISECONDS = 4 * 86_400_000;

/** The catalogue is the listing of `catalog/<store>/`; manifests never change, so each is read once. */
export function createCatalog(repository: Repository): CatalogStore {
  const cache = new Map<string, { readonly version: string; readonly manifest: Manifest }>();

  /** `version`: what a listing tells of the object; another one means that somebody replaced it. */
  async function manifestAt(key: string, version: string): Promise<Manifest> {
    const cached = cache.get(key);
    if (cached?.version === version) return cached.manifest;
    const manifest = parseStored(repository, key, await repository.read(key), manifestSchema);
    const expected = layout.manifest(manifest.store, manifest.backupId);
    if (expected !== key) throw unreadable(repository, key, `it is the manifest of ${expected}`);
    cache.set(key, { version, manifest });
    return manifest;
  }

  async function listed(store: string, after?: string): Promise<StoredObject[]> {
    const objects: StoredObject[] = [];
    const options = after === undefined ? {} : { after: layout.manifest(store, after) };
    for await (const object of repository.list(layout.manifests(store), options)) {
      if (manifestIdOf(store, object.key) !== null) objects.push(object);
    }
    return objects.toSorted((a, b) => (a.key < b.key ? -1 : 1));
  }

  async function readAll(store: string, objects: readonly StoredObject[]): Promise<(Manifest | DamagedManifest)[]> {
    const read: (Manifest | DamagedManifest)[] = [];
    for (let at = 0; at < objects.length; at += PARALLEL_READS) {
      const batch = objects.slice(at, at + PARALLEL_READS);
      const found = await Promise.all(batch.map((object) => manifestOrDamage(store, object)));
      read.push(...found.filter((each) => each !== null));
    }
    return read;
  }

  /** Those that are wanted of the objects, and what they build on, which may be older than all of them. */
  async function readChains(store: string, objects: readonly StoredObject[], first: readonly StoredObject[]) {
    const known = new Map(objects.map((object) => [object.key, object]));
    const read: (Manifest | DamagedManifest)[] = [];
    const asked = new Set<string>();
    let wanted = [...new Set(first.map(({ key }) => key))];
    while (wanted.length > 0) {
      for (const key of wanted) asked.add(key);
      const there = await Promise.all(wanted.map(async (key) => known.get(key) ?? (await repository.head(key))));
      const found = await readAll(
        store,
        there.filter((each) => each !== null),
      );
      read.push(...found);
      const parents = readable(found).flatMap(({ parent }) =>
        parent === null ? [] : [layout.manifest(store, parent)],
      );
      wanted = [...new Set(parents)].filter((key) => !asked.has(key));
    }
    const backups = readable(read).toSorted((a, b) => (a.backupId < b.backupId ? -1 : 1));
    return { backups, damaged: damagedOf(read) };
  }

  /** Null for one that retention removed after it was listed. */
  async function manifestOrDamage(store: string, object: StoredObject): Promise<Manifest | DamagedManifest | null> {
    try {
      return await manifestAt(object.key, versionOf(object));
    } catch (error) {
      if (hasCode(error, 'NotFound')) return null;
      // Only what was read and not understood (BackupCorrupt; ConfigInvalid: a later format) is about the object itself.
      const found = findFailure(error);
      const isUnreadable = found?.code === 'BackupCorrupt' || found?.code === 'ConfigInvalid';
      if (!isUnreadable || found.details.context?.['key'] !== object.key) throw error;
      return { store, backupId: manifestIdOf(store, object.key)!, problem: found.message };
    }
  }

  async function get(store: string, backupId: string): Promise<Manifest> {
    const key = layout.manifest(store, backupId);
    const head = isBackupId(backupId) ? await repository.head(key) : null;
    if (head) return manifestAt(key, versionOf(head));
    const ids = (await listed(store)).map((each) => manifestIdOf(store, each.key)!);
    const existing = ids.length === 0 ? 'the store has no backup yet' : `the newest are ${ids.slice(-3).join(', ')}`;
    throw failure(
      'NotFound',
      `there is no backup ${backupId} of store "${store}" in ${repository.location}: ${existing}`,
      {
        next: 'List the backups with `drctl backups list`.',
        context: { store, backupId, repository: repository.name },
      },
    );
  }

  return {
    get,

    async stores() {
      const stores = new Set<string>();
      for await (const { key } of repository.list('catalog/')) {
        const [, store = '', file = ''] = key.split('/');
        if (manifestIdOf(store, `catalog/${store}/${file}`) !== null) stores.add(store);
      }
      return [...stores].toSorted();
    },

    list: async (store, options = {}) => readable(await readAll(store, await listed(store, options.after))),
    damaged: async (store) => damagedOf(await readAll(store, await listed(store))),

    async survey(store, newest) {
      const objects = await listed(store);
      const ids = objects.map(({ key }) => manifestIdOf(store, key)!);
      return { ids, ...(await readChains(store, objects, objects.slice(-newest))) };
    },

    async newest(store, newest, { fullBefore } = {}) {
      const lately = new Date(Date.now() - LATELY_MILLISECONDS).toISOString();
      const some = await listed(store, backupIdOf(lately, 'full', '00000000'));
      const objects = some.length < newest ? await listed(store) : some;
      const isOlderFull = ({ key }: StoredObject) => {
        const id = manifestIdOf(store, key);
        return fullBefore !== undefined && id !== null && isFullId(id) && startOfBackup(id) < fullBefore;
      };
      const older = objects.findLast(isOlderFull);
      return readChains(store, objects, [...(older ? [older] : []), ...objects.slice(-newest)]);
    },

    async oldest(store) {
      for await (const { key } of repository.list(layout.manifests(store))) {
        const id = manifestIdOf(store, key);
        if (id !== null) return id;
      }
      return null;
    },

    async commit(manifest) {
      const { store, backupId } = manifest;
      const key = layout.manifest(store, backupId);
      const checked = parseStored(repository, key, toBytes(manifest), manifestSchema);
      if (await repository.head(key)) return sameOrRefused(checked, await get(store, backupId));
      const { attempt } = await decide(repository, store, backupId, { attempt: checked.attempt, manifest: checked });
      if (attempt === null) throw givenUp(store, backupId);
      if (attempt !== checked.attempt) throw committedOtherwise(checked, `attempt ${attempt}`);
      try {
        await repository.put(key, sealed(checked), { ifAbsent: true });
        return checked;
      } catch (error) {
        if (!hasCode(error, 'LockHeld')) throw error;
        return sameOrRefused(checked, await get(store, backupId));
      }
    },
  };
}

const readable = (read: readonly (Manifest | DamagedManifest)[]) =>
  read.flatMap((each) => ('problem' in each ? [] : [each]));
const damagedOf = (read: readonly (Manifest | DamagedManifest)[]) =>
  read.flatMap((each) => ('problem' in each ? [each] : []));

function manifestIdOf(store: string, key: string): string | null {
  const prefix = layout.manifests(store);
  const name = key.slice(prefix.length);
  if (!key.startsWith(prefix) || !name.endsWith('.json')) return null;
  const id = name.slice(0, -'.json'.length);
  return isBackupId(id) ? id : null;
}

/** Size and time are what both a listing and a head tell; S3 gives whole seconds in the one and not in the other. */
function versionOf(object: StoredObject): string {
  return `${object.sizeBytes} ${object.modifiedAt.slice(0, 19)}`;
}

function sameOrRefused(manifest: Manifest, existing: Manifest): Manifest {
  if (isSameBackup(existing, manifest)) return existing;
  throw committedOtherwise(manifest, `attempt ${existing.attempt} of run ${existing.runId}`);
}

function committedOtherwise({ store, backupId, attempt }: Manifest, by: string): Error {
  return failure('LockHeld', `attempt ${attempt} of ${store} ${backupId} cannot be committed: ${by} was`, {
    data: 'The backup that was committed first stays as it is.',
    context: { store, backupId, attempt },
  });
}

/** A commit is repeated with another run id or time when its answer was lost; what it describes is the same. */
function isSameBackup(a: Manifest, b: Manifest): boolean {
  const described = ({ committedAt: _at, runId: _run, workflowId: _id, ...rest }: Manifest) => toBytes(rest);
  return described(a).equals(described(b));
}
