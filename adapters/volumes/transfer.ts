import type { CallContext } from '../../core/call';
import type { ArtifactKind, DumpResult, Manifest } from '../../core/catalog';
import { failure, hasCode, reasonOf } from '../../core/errors';
import { layout } from '../../core/layout';
import type { CatalogStore } from '../../core/catalog-store';
import type { Repository } from '../../core/repository';
import type { AttemptRecord, AttemptRef, BackupRef, BackupTransfer } from '../../core/transfer';
import { decide, requireOpen } from '../catalog/decision';
import { attemptSchema } from '../catalog/manifest-schema';
import { parseStored, sealed, toBytes } from '../catalog/stored-json';
import type { ObjectCipher } from '../encryption/encrypted-object';
import { createVolumeSource, verifyStored } from './source';
import type { Spool } from './spool';
import { uploadSpool } from './spool-upload';
import { createStreamSink } from './stream-sink';
import type { VolumeCodec } from './volume-writer';

/** Beside the artifacts of an attempt: all that verifying and committing it needs, on any host. */
const RECORD = 'artifacts.json';

/** Shop-like data shrink to a quarter at the best: with less room than that a dump cannot fit. */
const BEST_COMPRESSION = 0.25;

export interface TransferOptions {
  readonly repository: Repository;
  readonly catalog: CatalogStore;
  readonly spool: Spool;
  readonly codec: VolumeCodec;
  /** That of the spool; left out: what is stored stays plain, and what is encrypted cannot be read. */
  readonly cipher?: ObjectCipher | null;
  readonly targetVolumeBytes: number;
  /** How long a copy of what was stored stays on this host, in seconds; null: as long as there is room. Left out: not at all. */
  readonly localSeconds?: (kind: ArtifactKind) => number | null;
}

export function createTransfer(options: TransferOptions): BackupTransfer {
  const { repository, catalog, spool, codec, cipher = null, targetVolumeBytes, localSeconds = () => 0 } = options;
  const prefixOf = ({ kind, store, backupId, attempt }: AttemptRef) => layout.attempt(kind, store, backupId, attempt);

  async function keep(ref: BackupRef, stored: AttemptRecord): Promise<AttemptRecord> {
    const key = `${prefixOf({ ...ref, attempt: stored.attempt })}${RECORD}`;
    try {
      await repository.put(key, sealed(stored), { ifAbsent: true });
    } catch (error) {
      // Stored by an earlier try, perhaps of a version of drctl that wrote the same record otherwise.
      if (!hasCode(error, 'LockHeld')) throw error;
      const there = parseStored(repository, key, await repository.read(key), attemptSchema);
      if (!toBytes(there).equals(toBytes(attemptSchema.parse(stored)))) throw error;
    }
    return stored;
  }

  /** The greatest number whose folder has anything in it; 0 when none has. */
  async function newestStored({ kind, store, backupId }: BackupRef): Promise<number> {
    let newest = 0;
    const prefix = layout.backupData(kind, store, backupId);
    for await (const { key } of repository.list(prefix)) {
      newest = Math.max(newest, Number(/^attempt-(\d+)\//.exec(key.slice(prefix.length))?.[1] ?? 0));
    }
    return newest;
  }

  /** The attempt that stays, null for none. From here on no other one can be committed. */
  async function settle({ store, backupId }: BackupRef, keepAttempt: number | null): Promise<number | null> {
    const committed = await committedAttempt(catalog, store, backupId);
    const { attempt, manifest } =
      committed !== null
        ? { attempt: committed, manifest: null }
        : await decide(repository, store, backupId, { attempt: keepAttempt, manifest: null });
    if (keepAttempt !== null && attempt !== keepAttempt) throw notKept(store, backupId, attempt);
    // Its commit died between the decision and the manifest: only the manifest was missing.
    if (manifest !== null) await catalog.commit(manifest);
    return attempt;
  }

  return {
    async beginSpool(ref, estimatedBytes) {
      const { store, backupId } = ref;
      await requireOpen(repository, store, backupId);
      await cipher?.ready();
      // A workflow that was reset counts from the start again, perhaps on another host: stored names are not used twice.
      const atLeast = Math.max(ref.attempt, (await newestStored(ref)) + 1);
      const leastBytes = codec.codec === 'zstd' ? (estimatedBytes ?? 0) * BEST_COMPRESSION : (estimatedBytes ?? 0);
      const sink = await spool.begin({ store, backupId, atLeast, leastBytes, targetVolumeBytes });
      return { sink, finish: (dump) => sink.finish(dump), discard: (reason) => sink.fail(reason) };
    },

    async uploadSpool(ref, ctx) {
      return keep(ref, await uploadSpool(repository, spool, ref, ctx));
    },

    async beginStream(ref, ctx) {
      const { kind, store, backupId, attempt } = ref;
      await requireOpen(repository, store, backupId);
      await cipher?.ready();
      const sink = createStreamSink(
        { repository, kind, store, backupId, attempt, targetVolumeBytes, codec, cipher },
        ctx,
      );
      const finish = async (dump: DumpResult) =>
        void (await keep(ref, { formatVersion: 1, store, backupId, attempt, dump, ...sink.stored() }));
      return { sink, finish, discard: () => sink.discard() };
    },

    async stored(ref) {
      const key = `${prefixOf(ref)}${RECORD}`;
      try {
        return parseStored(repository, key, await repository.read(key), attemptSchema);
      } catch (error) {
        if (!hasCode(error, 'NotFound')) throw error;
        throw failure(
          'BackupIncomplete',
          `attempt ${ref.attempt} of ${ref.store} ${ref.backupId} is not wholly stored: ${key} is missing`,
          {
            cause: error,
          },
        );
      }
    },

    async verify({ artifacts, early }, ctx) {
      for (const [index, object] of [...artifacts, ...early].entries()) {
        ctx.signal.throwIfAborted();
        await verifyObject(repository, object, ctx);
        ctx.progress({ phase: 'verifying', doneItems: index + 1, totalItems: artifacts.length + early.length });
      }
    },

    async removeSpool({ store, backupId, kind }) {
      const seconds = localSeconds(kind);
      const attempt = seconds === 0 ? null : await committedAttempt(catalog, store, backupId);
      if (attempt === null) return spool.remove(store, backupId);
      const now = Date.now();
      const until = seconds === null ? null : new Date(now + seconds * 1_000).toISOString();
      await spool.copies.keep(store, backupId, attempt, until);
      await spool.copies.prune(now);
    },

    async sweep(ref, keepAttempt) {
      const attempt = await settle(ref, keepAttempt);
      const { kind, store, backupId } = ref;
      const kept = attempt === null ? null : `attempt-${attempt}/`;
      // It stays for ever, a few hundred bytes: a commit may come however late.
      const decision = layout.decision(store, backupId);
      for (const prefix of [layout.backupData(kind, store, backupId), layout.early(store, backupId, '')]) {
        const isKept = (key: string) => key === decision || (kept !== null && key.startsWith(`${prefix}${kept}`));
        for await (const { key, uploadId } of repository.unfinishedUploads(prefix)) {
          if (!isKept(key)) await repository.abortUpload(key, uploadId);
        }
        const gone: string[] = [];
        for await (const { key } of repository.list(prefix)) if (!isKept(key)) gone.push(key);
        await repository.delete(gone);
      }
    },

    source: (chain, { fromLocalTier } = { fromLocalTier: false }) =>
      createVolumeSource(repository, chain, cipher, fromLocalTier ? spool.copies : null),

    async whyUnusable(artifact, how) {
      const { key, sizeBytes, sha256, composite } = artifact;
      const where = `${key} in ${repository.location}`;
      const head = await repository.head(key);
      if (!head) return `${where} is not there`;
      if (head.sizeBytes !== sizeBytes) return `${where} has ${head.sizeBytes} bytes instead of ${sizeBytes}`;
      if (how === 'read') {
        const read = verifyStored(repository, artifact, () => undefined);
        return read.then(() => null, reasonOfDamage);
      }
      const isConfirmed = head.composite !== null && head.composite === composite;
      if (isConfirmed || head.sha256 === null || head.sha256 === sha256) return null;
      return `${where} has SHA-256 ${head.sha256} instead of ${sha256}`;
    },

    async whyIncomplete({ artifacts, early }) {
      const objects = [...artifacts, ...early];
      const folders = new Set(objects.map(({ key }) => key.slice(0, key.lastIndexOf('/') + 1)));
      const stored = new Map<string, number>();
      for (const folder of folders) {
        for await (const { key, sizeBytes } of repository.list(folder)) stored.set(key, sizeBytes);
      }
      for (const { key, sizeBytes } of objects) {
        const found = stored.get(key);
        if (found === undefined) return `${key} is not in ${repository.location} any more`;
        if (found !== sizeBytes) return `${key} in ${repository.location} has ${found} bytes instead of ${sizeBytes}`;
      }
      return null;
    },
  };
}

type StoredObject = AttemptRecord['artifacts'][number] | AttemptRecord['early'][number];

/** Trusts digests that the repository computed or confirmed itself; where it has none, the bytes are read. */
export async function verifyObject(repository: Repository, object: StoredObject, ctx: CallContext): Promise<void> {
  const head = await repository.head(object.key);
  const where = `${object.key} in ${repository.location}`;
  const context = { key: object.key, repository: repository.name };
  if (!head) throw failure('BackupCorrupt', `${where} was stored and is not there any more`, { context });
  if (head.sizeBytes !== object.sizeBytes) {
    throw failure('BackupCorrupt', `${where} has ${head.sizeBytes} bytes, ${object.sizeBytes} were sent`, { context });
  }
  if (head.composite !== null && 'composite' in object && head.composite === object.composite) return;
  if (head.sha256 === null) {
    await verifyStored(repository, object, (doneBytes) =>
      ctx.progress({ phase: 'verifying', doneBytes, note: object.key }),
    );
  } else if (head.sha256 !== object.sha256) {
    throw failure('BackupCorrupt', `${where} has SHA-256 ${head.sha256}, ${object.sha256} was sent`, { context });
  }
}

function reasonOfDamage(error: unknown): string {
  if (hasCode(error, 'BackupCorrupt')) return reasonOf(error);
  throw error;
}

/** Where the record of the attempt that was committed lies, with its volumes; null for a backup without artifacts. */
export function recordKeyOf({ artifacts }: Pick<Manifest, 'artifacts'>): string | null {
  const first = artifacts.find(({ key }) => key.startsWith('data/'));
  return first ? `${first.key.slice(0, first.key.lastIndexOf('/') + 1)}${RECORD}` : null;
}

async function committedAttempt(catalog: CatalogStore, store: string, backupId: string): Promise<number | null> {
  try {
    return (await catalog.get(store, backupId)).attempt;
  } catch (error) {
    if (hasCode(error, 'NotFound')) return null;
    throw error;
  }
}

/** A sweep that came late, or with a wrong number, must not take the data of a backup that exists. */
function notKept(store: string, backupId: string, attempt: number | null): Error {
  const what = attempt === null ? 'was given up and swept' : `is committed from attempt ${attempt}`;
  return failure('UsageInvalid', `backup ${backupId} of ${store} ${what}: only other attempts may be swept`);
}
