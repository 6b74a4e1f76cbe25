import * as fs from 'node:fs/promises';
import type { CallContext } from '../../core/call';
import type { Artifact, DumpResult, EarlyFile } from '../../core/catalog';
import { failure } from '../../core/errors';
import { layout } from '../../core/layout';
import type { Repository } from '../../core/repository';
import type { BackupRef, AttemptRecord } from '../../core/transfer';
import { GrowingVolume } from './growing-volume';
import { compositeOf } from './piece-digests';
import type { Spool } from './spool';
import type { SpooledEarly, SpooledPiece, SpooledVolume } from './spool-attempt';
import type { SpoolEvent } from './spool-follower';
import { earlyKey, storedName } from './volume-names';

/** Volumes uploaded at once; the repository bounds their parts, so that more would only wait. */
const PARALLEL_VOLUMES = 2;

/**
 * Uploads a backup out of the spool while it is still being dumped. May be repeated: volumes that the repository has are
 * not sent again, one that was in flight goes on from its last part. When a newer attempt begins, that is uploaded instead.
 */
export async function uploadSpool(
  repository: Repository,
  spool: Spool,
  ref: BackupRef,
  ctx: CallContext,
): Promise<AttemptRecord> {
  let current: AttemptUpload | null = null;
  let failed: string | null = null;
  try {
    for await (const event of spool.follow(ref.store, ref.backupId, ctx.signal)) {
      failed = event.kind === 'failed' ? event.reason : null;
      if (event.kind === 'attempt') {
        await current?.stop();
        current = new AttemptUpload(repository, ref, event.attempt, ctx);
      } else if (current) {
        const result = await current.take(event);
        if (result) return await current.finish(result);
      }
    }
    throw new Error('the spool was followed to an end without a result');
  } catch (error) {
    await current?.stop();
    if (failed === null || !ctx.signal.aborted) throw error;
    throw failure(
      'BackupIncomplete',
      `the dump of ${ref.store} ${ref.backupId} failed and no newer one began: ${failed}`,
      { cause: error },
    );
  }
}

/** The uploads of one attempt: a few at once, each of whose errors ends the whole at the next event. */
class AttemptUpload {
  readonly #attempt: number;
  readonly #repository: Repository;
  readonly #ref: BackupRef;
  readonly #ctx: CallContext;
  readonly #stopping = new AbortController();
  readonly #running = new Set<Promise<void>>();
  readonly #artifacts: Artifact[] = [];
  readonly #early: EarlyFile[] = [];
  /** At most one, so that of two uploads one never waits for the dump: what follows in the spool is always taken up. */
  #growing: { readonly name: string; readonly volume: GrowingVolume } | null = null;
  #error: unknown = null;

  constructor(repository: Repository, ref: BackupRef, attempt: number, ctx: CallContext) {
    this.#repository = repository;
    this.#ref = ref;
    this.#attempt = attempt;
    const signal = AbortSignal.any([ctx.signal, this.#stopping.signal]);
    this.#ctx = { log: ctx.log, progress: (report) => ctx.progress(report), signal };
  }

  /** Answers the dump's result when there is nothing more to come. */
  async take(event: SpoolEvent): Promise<DumpResult | null> {
    if (event.kind === 'done') return event.dump;
    if (event.kind === 'early') await this.#start(() => this.#uploadEarly(event.early));
    if (event.kind === 'piece') await this.#grow(event.piece);
    if (event.kind === 'volume') await this.#takeVolume(event.volume);
    return null;
  }

  /** Begins with a volume that is still open, where there is nothing else to send. */
  async #grow({ name, codec, encryptionKeyId = null, number, paths, ...piece }: SpooledPiece): Promise<void> {
    if (this.#growing === null && number === 1 && this.#running.size < PARALLEL_VOLUMES) {
      const volume = new GrowingVolume(paths, this.#ctx.signal);
      this.#growing = { name, volume };
      await this.#start(async () => {
        await this.#repository.uploadGrowing(this.#keyOf(name, codec, encryptionKeyId), volume, {}, this.#ctx);
      });
    }
    if (this.#growing?.name === name) this.#growing.volume.add(number, piece);
  }

  async #takeVolume(spooled: SpooledVolume): Promise<void> {
    if (this.#growing?.name !== spooled.name) return this.#start(() => this.#uploadVolume(spooled));
    const { volume } = this.#growing;
    this.#growing = null;
    volume.complete(spooled.sizeBytes, spooled.sha256, spooled.pieces);
    this.#artifacts.push(this.#artifactOf(spooled));
  }

  async finish(dump: DumpResult): Promise<AttemptRecord> {
    await Promise.all(this.#running);
    if (this.#error !== null) throw this.#error;
    const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1);
    return {
      formatVersion: 1,
      store: this.#ref.store,
      backupId: this.#ref.backupId,
      attempt: this.#attempt,
      dump,
      artifacts: this.#artifacts.toSorted(byName),
      early: this.#early.toSorted(byName),
    };
  }

  /** Ends what is running; its errors no longer matter. */
  async stop(): Promise<void> {
    this.#stopping.abort(new DOMException('this attempt is not uploaded any more', 'AbortError'));
    await Promise.all(this.#running);
  }

  async #start(work: () => Promise<void>): Promise<void> {
    while (this.#running.size >= PARALLEL_VOLUMES) await Promise.race(this.#running);
    // A file that vanished belongs to an attempt that a newer one replaced: the follower is about to say so.
    if (this.#error !== null && (this.#error as NodeJS.ErrnoException).code !== 'ENOENT') throw this.#error;
    const running = work()
      .catch((error: unknown) => {
        this.#error ??= error;
      })
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  async #uploadVolume(spooled: SpooledVolume): Promise<void> {
    const { path, sha256, pieces } = spooled;
    const artifact = this.#artifactOf(spooled);
    await this.#repository.uploadFile(artifact.key, path, { sha256, pieces }, this.#ctx);
    this.#artifacts.push(artifact);
  }

  #artifactOf(spooled: SpooledVolume): Artifact {
    const { name, sizeBytes, contentBytes, sha256, contentSha256, codec, encryptionKeyId, pieces } = spooled;
    const composite = pieces.sha256.length > 0 ? { composite: compositeOf(pieces.sha256) } : {};
    const key = this.#keyOf(name, codec, encryptionKeyId);
    return { name, key, sizeBytes, contentBytes, sha256, ...composite, contentSha256, codec, encryptionKeyId };
  }

  #keyOf(name: string, codec: Artifact['codec'], encryptionKeyId: string | null): string {
    const { kind, store, backupId } = this.#ref;
    return layout.artifact(kind, store, backupId, this.#attempt, storedName(name, codec, encryptionKeyId));
  }

  async #uploadEarly({ path, ...early }: SpooledEarly): Promise<void> {
    const key = earlyKey(this.#ref.store, this.#ref.backupId, this.#attempt, early.name);
    await this.#repository.put(key, await fs.readFile(path), { ifAbsent: true });
    this.#early.push({ ...early, key });
  }
}
