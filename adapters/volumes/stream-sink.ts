import { createHash } from 'node:crypto';
import { PassThrough, type Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import type { CallContext } from '../../core/call';
import type { Artifact, ArtifactKind, EarlyFile } from '../../core/catalog';
import { failure } from '../../core/errors';
import { boundName, layout } from '../../core/layout';
import type { Repository } from '../../core/repository';
import type { VolumeSink } from '../../core/volumes';
import type { ObjectCipher } from '../encryption/encrypted-object';
import { checkVolumeName, earlyKey, encryptionOf, storedName } from './volume-names';
import { type StoredVolume, type VolumeCodec, type VolumeTarget, VolumeWriter } from './volume-writer';

export interface StreamSinkOptions {
  readonly repository: Repository;
  readonly kind: ArtifactKind;
  readonly store: string;
  readonly backupId: string;
  readonly attempt: number;
  readonly targetVolumeBytes: number;
  readonly codec: VolumeCodec;
  readonly cipher: ObjectCipher | null;
}

export interface StreamSink extends VolumeSink {
  /** What was stored. Throws BackupIncomplete while a volume is open or after one failed. */
  stored(): { readonly artifacts: readonly Artifact[]; readonly early: readonly EarlyFile[] };
  /** Ends every upload that is open and leaves no parts behind. */
  discard(): Promise<void>;
}

/** A sink that uploads each volume while it is written: no disk, constant memory; a retry starts again. */
export function createStreamSink(options: StreamSinkOptions, ctx: CallContext): StreamSink {
  const { repository, kind, store, backupId, attempt, codec, cipher } = options;
  const names = new Set<string>();
  const open = new Set<VolumeWriter>();
  const artifacts: Artifact[] = [];
  const early: EarlyFile[] = [];

  return {
    targetVolumeBytes: options.targetVolumeBytes,

    volume(name: string): Writable {
      checkVolumeName(name, names);
      names.add(name);
      const stored = storedName(name, codec.codec, cipher?.keyId ?? null);
      const key = layout.artifact(kind, store, backupId, attempt, stored);
      const complete = (volume: StoredVolume) => void artifacts.push({ name, key, ...volume });
      const target = new UploadTarget(repository, key, complete, ctx);
      const writer = new VolumeWriter(codec, target, encryptionOf(cipher, boundName(key)));
      open.add(writer);
      return writer;
    },

    async early(name, bytes) {
      checkVolumeName(name, names);
      names.add(name);
      const key = earlyKey(store, backupId, attempt, name);
      await repository.put(key, bytes, { ifAbsent: true });
      early.push({ name, key, sizeBytes: bytes.byteLength, sha256: createHash('sha256').update(bytes).digest('hex') });
    },

    stored() {
      const unfinished = [...open].filter((writer) => !writer.writableFinished).length;
      if (unfinished > 0)
        throw failure('BackupIncomplete', `dump of ${store} ${backupId}: ${unfinished} volumes were not stored`);
      return { artifacts: artifacts.toSorted((a, b) => (a.name < b.name ? -1 : 1)), early };
    },

    async discard() {
      const unfinished = [...open].filter((writer) => !writer.closed);
      for (const writer of unfinished) writer.destroy();
      // Their errors were the dump's already; what counts here is that each has ended.
      await Promise.allSettled(unfinished.map((writer) => finished(writer)));
    },
  };
}

class UploadTarget implements VolumeTarget {
  readonly #body = new PassThrough({ highWaterMark: 2 ** 20 });
  readonly #upload: Promise<{ readonly sha256: string; readonly sizeBytes: number }>;
  readonly #key: string;
  readonly #complete: (volume: StoredVolume) => void;

  constructor(repository: Repository, key: string, complete: (volume: StoredVolume) => void, ctx: CallContext) {
    this.#key = key;
    this.#complete = complete;
    this.#upload = repository.uploadStream(key, this.#body, {}, ctx);
    // A failed upload must fail the writer that waits for room in the body; `complete` and `write` report it.
    this.#upload.catch((error: Error) => this.#body.destroy(error));
    this.#body.on('error', () => {});
  }

  async write(stored: Buffer): Promise<void> {
    // The body keeps it until the upload has taken it.
    const kept = Buffer.from(stored);
    await new Promise<void>((resolve, reject) => {
      this.#body.write(kept, (error) => (error ? reject(error) : resolve()));
    }).catch(async (error: unknown) => {
      await this.#upload;
      throw error;
    });
  }

  async complete(volume: StoredVolume): Promise<void> {
    this.#body.end();
    const { sha256, sizeBytes } = await this.#upload;
    if (sha256 !== volume.sha256 || sizeBytes !== volume.sizeBytes) {
      throw failure(
        'BackupCorrupt',
        `${this.#key}: ${sizeBytes} bytes with SHA-256 ${sha256} were stored, not what was written`,
      );
    }
    this.#complete(volume);
  }

  async discard(): Promise<void> {
    this.#body.destroy(failure('Aborted', `the upload of ${this.#key} is not wanted any more`));
    // It fails because its source was destroyed; waiting for it means that its parts are gone.
    await this.#upload.catch(() => {});
  }
}
