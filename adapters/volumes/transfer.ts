import type { CatalogStore } from '../../core/catalog-store';
import { failure } from '../../core/errors';
import { layout } from '../../core/layout';
import type { Repository } from '../../core/repository';
import type { AttemptRecord, Spool } from '../../core/spool';
import type { AttemptRef, BackupRef, BackupTransfer } from '../../core/transfer';
import { createVolumeSource } from './source';
import { createStreamSink } from './stream-sink';
import { uploadSpooled } from './upload-spooled';
import type { VolumeCodec } from './volume-writer';

export interface TransferOptions {
  readonly repository: Repository;
  readonly catalog: CatalogStore;
  readonly spool: Spool;
  readonly codec: VolumeCodec;
  readonly targetVolumeBytes: number;
}

/** Objects whose heads are asked for at once: each is one small request. */
const PARALLEL_HEADS = 8;

const attemptPrefix = ({ kind, store, backupId }: BackupRef, attempt: number) =>
  layout.attempt(kind, store, backupId, attempt);

/** Spool and stream behind one interface. */
export function createTransfer(options: TransferOptions): BackupTransfer {
  const { repository, catalog, spool, codec, targetVolumeBytes } = options;
  return {
    async beginSpool(ref: AttemptRef, estimatedBytes: number | null) {
      const { store, backupId, kind } = ref;
      const atLeast = Math.max(ref.attempt, await catalog.nextAttempt(kind, store, backupId));
      const request = { store, backupId, atLeast, expectedBytes: estimatedBytes, targetVolumeBytes };
      const attempt = await spool.begin(request);
      return {
        sink: attempt,
        finish: (result) => attempt.finish(result),
        discard: (reason) => attempt.fail(reason),
      };
    },

    uploadSpool(ref, resume, ctx) {
      const { store, backupId } = ref;
      const request = {
        store,
        backupId,
        attemptPrefix: (attempt: number) => attemptPrefix(ref, attempt),
        plan: {},
        resume: resume.state,
        onProgress: resume.keep,
      };
      return uploadSpooled({ repository, catalog, spool }, request, ctx);
    },

    async beginStream(ref: AttemptRef, ctx) {
      const { store, backupId, attempt } = ref;
      const prefix = attemptPrefix(ref, attempt);
      const common = { repository, store, backupId, attempt, attemptPrefix: prefix, targetVolumeBytes, codec };
      const sink = createStreamSink(common, ctx);
      return {
        sink,
        async finish(dump) {
          const { artifacts, early } = sink.stored();
          await catalog.putAttempt(prefix, {
            formatVersion: 1,
            store,
            backupId,
            attempt,
            dump,
            artifacts,
            early,
            plan: {},
          });
        },
        discard: () => sink.discard(),
      };
    },

    stored: (ref: AttemptRef) => catalog.attempt(attemptPrefix(ref, ref.attempt)),

    async verify({ artifacts, early }: AttemptRecord, ctx) {
      const all = [...artifacts, ...early];
      for (let at = 0; at < all.length; at += PARALLEL_HEADS) {
        ctx.signal.throwIfAborted();
        await Promise.all(all.slice(at, at + PARALLEL_HEADS).map((each) => verifyHead(repository, each)));
        ctx.progress({ phase: 'verifying artifacts', doneItems: at, totalItems: all.length });
      }
    },

    removeSpool: ({ store, backupId }: BackupRef) => spool.remove(store, backupId),

    async sweep(ref: BackupRef, keepAttempt: number | null) {
      const { kind, store, backupId } = ref;
      const prefix = layout.backupData(kind, store, backupId);
      if (keepAttempt === null) {
        await catalog.sweep(prefix);
        return;
      }
      for (const attempt of await attemptsBelow(repository, prefix)) {
        if (attempt !== keepAttempt) await catalog.sweep(attemptPrefix(ref, attempt));
      }
    },

    source: (chain) => createVolumeSource(repository, chain),
  };
}

async function verifyHead(
  repository: Repository,
  expected: { readonly key: string; readonly sizeBytes: number; readonly sha256: string },
): Promise<void> {
  const head = await repository.head(expected.key);
  const problem = !head
    ? 'is not there'
    : head.sizeBytes !== expected.sizeBytes
      ? `has ${head.sizeBytes} bytes, not ${expected.sizeBytes}`
      : head.sha256 !== null && head.sha256 !== expected.sha256
        ? `has SHA-256 ${head.sha256}, not ${expected.sha256}`
        : null;
  if (problem === null) return;
  throw failure('BackupCorrupt', `${expected.key} in ${repository.location} ${problem}`, {
    data: 'This backup was not committed; earlier backups are not affected.',
    next: 'The backup is tried again by its schedule; look at the repository if it happens twice.',
  });
}

async function attemptsBelow(repository: Repository, prefix: string): Promise<Set<number>> {
  const attempts = new Set<number>();
  const note = (key: string) => {
    const number = /^attempt-(\d+)\//.exec(key.slice(prefix.length))?.[1];
    if (number !== undefined) attempts.add(Number(number));
  };
  for await (const { key } of repository.list(prefix)) note(key);
  for await (const { key } of repository.unfinishedUploads(prefix)) note(key);
  return attempts;
}
