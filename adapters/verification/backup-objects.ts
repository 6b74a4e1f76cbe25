import type { CallContext } from '../../core/call';
import type { Artifact, EarlyFile, Manifest } from '../../core/catalog';
import { failure, hasCode } from '../../core/errors';
import { layout } from '../../core/layout';
import type { Repository } from '../../core/repository';
import type { Finding } from '../../core/verification';
import { createCatalog } from '../catalog/catalog';
import { decided } from '../catalog/decision';
import { attemptSchema } from '../catalog/manifest-schema';
import { parseStored, toBytes } from '../catalog/stored-json';
import type { ObjectCipher } from '../encryption/encrypted-object';
import { createVolumeSource } from '../volumes/source';
import { recordKeyOf } from '../volumes/transfer';

interface Sealed {
  readonly repository: Repository;
  readonly cipher: ObjectCipher | null;
}

interface ReadableObject {
  readonly key: string;
  readonly severity: Finding['severity'];
  readonly readBytes: number;
  read(): Promise<void>;
}

/** Everything that is stored of a backup, in the order in which a restore wants it. */
export function objectsOf({ repository, cipher }: Sealed, manifest: Manifest, ctx: CallContext): ReadableObject[] {
  const { store, backupId } = manifest;
  const source = createVolumeSource(repository, [manifest], cipher);
  const objects: ReadableObject[] = [
    {
      ...{ key: layout.manifest(store, backupId), severity: 'damage', readBytes: 0 },
      read: async () =>
        requireEqual(layout.manifest(store, backupId), await freshManifest(repository, manifest), manifest),
    },
    {
      ...{ key: layout.decision(store, backupId), severity: 'notice', readBytes: 0 },
      read: () => readDecision(repository, manifest),
    },
    ...manifest.early.map((file: EarlyFile): ReadableObject => ({
      ...{ key: file.key, severity: 'damage', readBytes: file.sizeBytes },
      read: async () => void (await source.early(backupId, file.name)),
    })),
    ...manifest.artifacts.map((artifact: Artifact): ReadableObject => ({
      ...{ key: artifact.key, severity: 'damage', readBytes: artifact.sizeBytes },
      read: async () => {
        for await (const _ of await source.open(artifact)) ctx.signal.throwIfAborted();
      },
    })),
  ];
  const record = recordKeyOf(manifest);
  if (record !== null)
    objects.push({
      key: record,
      severity: 'notice',
      readBytes: 0,
      read: () => readRecord(repository, record, manifest),
    });
  return objects;
}

async function freshManifest(repository: Repository, { store, backupId }: Manifest): Promise<Manifest> {
  return createCatalog(repository).get(store, backupId);
}

async function readDecision(repository: Repository, manifest: Manifest): Promise<void> {
  const { store, backupId, attempt } = manifest;
  const key = layout.decision(store, backupId);
  const decision = await decided(repository, store, backupId);
  // Manifests written before there were decisions have none; that it is gone is what the look says.
  if (decision === null) return;
  const { manifest: text, ...rest } = decision;
  requireEqual(key, rest, { formatVersion: 1, store, backupId, attempt });
  if (text !== null) requireEqual(key, described(text), described(manifest));
}

async function readRecord(repository: Repository, key: string, manifest: Manifest): Promise<void> {
  const bytes = await repository.read(key).catch((error: unknown) => {
    if (hasCode(error, 'NotFound')) return null;
    throw error;
  });
  if (bytes === null) return;
  const { store, backupId, attempt, artifacts, early } = parseStored(repository, key, bytes, attemptSchema);
  const { store: ours, backupId: id, attempt: tried, artifacts: volumes, early: files } = manifest;
  requireEqual(
    key,
    { store, backupId, attempt, artifacts, early },
    { store: ours, backupId: id, attempt: tried, artifacts: volumes, early: files },
  );
}

/** A commit that is repeated has another time and run; what it describes is the same. */
function described({ committedAt: _at, runId: _run, workflowId: _id, ...rest }: Manifest): object {
  return rest;
}

function requireEqual(key: string, found: object, expected: object): void {
  if (toBytes(found).equals(toBytes(expected))) return;
  throw failure('BackupCorrupt', `${key} is that of another backup, or of another state of this one`, {
    context: { key },
  });
}
