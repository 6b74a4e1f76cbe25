import { ARTIFACT_KINDS, type ArtifactKind } from '../../core/catalog';
import { hasCode } from '../../core/errors';
import { isBackupId, layout } from '../../core/layout';
import type { LogNaming } from '../../core/log-archive';
import type { Repository, UnfinishedUpload } from '../../core/repository';
import type { Leftover, RetentionStore } from '../../core/retention/records';
import { decided, giveUp } from '../catalog/decision';
import { LogListing } from '../repository/log-listing';
import { createRetentionRecords } from './records';

/** What a stored piece of log ends with; see adapters/repository/log-archive.ts. */
const SUFFIX = '.zst';

/** `naming` null: a store without a log. */
export function createRetentionStore(repository: Repository, store: string, naming: LogNaming | null): RetentionStore {
  return {
    ...createRetentionRecords(repository, store),

    lineages: () => (naming ? new LogListing(repository, layout.logs(store)).folders() : Promise.resolve([])),

    async *scan(lineage) {
      const folder = layout.log(store, lineage);
      for await (const { key, sizeBytes, modifiedAt } of repository.list(folder)) {
        const name = key.slice(folder.length);
        const read = name.endsWith(SUFFIX) ? naming?.read(lineage, name.slice(0, -SUFFIX.length)) : null;
        if (read) yield { key, lineage, from: read.from, to: read.to, sizeBytes, storedAt: Date.parse(modifiedAt) };
      }
    },

    removeLog: (keys, signal) => repository.delete(keys, signal),

    async notedManifest(backupId) {
      try {
        return (await decided(repository, store, backupId))?.manifest ?? null;
      } catch (error) {
        // Damaged as well, or of a later format.
        if (hasCode(error, 'BackupCorrupt') || hasCode(error, 'ConfigInvalid')) return null;
        throw error;
      }
    },

    async removeManifest(backupId, signal) {
      await giveUp(repository, store, backupId);
      signal.throwIfAborted();
      await repository.delete([layout.manifest(store, backupId)], signal);
    },

    leftovers: () => leftovers(repository, store),

    async unfinishedUploads() {
      const found: UnfinishedUpload[] = [];
      const folders = [layout.manifests(store), ...ARTIFACT_KINDS.map((kind) => layout.storeData(kind, store))];
      for (const folder of folders) {
        for await (const upload of repository.unfinishedUploads(folder)) found.push(upload);
      }
      return found;
    },

    abortUpload: ({ key, uploadId }) => repository.abortUpload(key, uploadId),
  };
}

/** Folders of backups in `data/` and beside the catalogue whose manifest is not there, the decision about them left out. */
async function leftovers(repository: Repository, store: string): Promise<Leftover[]> {
  const committed = new Set<string>();
  const early = new Map<string, Found>();
  const catalog = layout.manifests(store);
  for await (const { key, sizeBytes, modifiedAt } of repository.list(catalog)) {
    const [id = '', ...rest] = key.slice(catalog.length).split('/');
    if (rest.length === 0 && id.endsWith('.json')) committed.add(id.slice(0, -'.json'.length));
    else if (isBackupId(id) && key !== layout.decision(store, id)) count(early, id, sizeBytes, modifiedAt);
  }
  const found: Leftover[] = [];
  for (const kind of ARTIFACT_KINDS) {
    const objects = new Map<string, Found>();
    const { names } = await repository.folders(`data/${kind}/${store}/`);
    for (const id of names) {
      if (!isBackupId(id) || committed.has(id)) continue;
      for await (const { sizeBytes, modifiedAt } of repository.list(layout.backupData(kind, store, id))) {
        count(objects, id, sizeBytes, modifiedAt);
      }
    }
    for (const [backupId, each] of objects) {
      const beside = early.get(backupId);
      early.delete(backupId);
      found.push({ kind, backupId, ...(beside ? joined(each, beside) : each) });
    }
  }
  for (const [backupId, each] of early) {
    if (!committed.has(backupId)) found.push({ kind: kindByType(backupId), backupId, ...each });
  }
  return found;
}

type Found = Omit<Leftover, 'kind' | 'backupId'>;

const joined = (a: Found, b: Found): Found => ({
  objects: a.objects + b.objects,
  sizeBytes: a.sizeBytes + b.sizeBytes,
  newestAt: Math.max(a.newestAt, b.newestAt),
});

function count(all: Map<string, Found>, id: string, sizeBytes: number, modifiedAt: string): void {
  const one = { objects: 1, sizeBytes, newestAt: Date.parse(modifiedAt) };
  const before = all.get(id);
  all.set(id, before ? joined(before, one) : one);
}

/** Early files alone: any kind leads to them. */
const kindByType = (backupId: string): ArtifactKind => (backupId.includes('-incr-') ? 'incr' : 'full');
