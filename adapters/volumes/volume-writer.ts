import { createHash } from 'node:crypto';
import { Writable } from 'node:stream';
import { callbackify } from 'node:util';
import type { Artifact } from '../../core/catalog';
import type { Encryptor } from '../encryption/encrypted-object';
import { FrameCompressor } from './zstd-frames';

export type VolumeCodec = { readonly codec: 'zstd'; readonly level: number } | { readonly codec: 'none' };

/** How one volume is encrypted: after the codec, so that nothing plain reaches a disk or a repository. */
export interface VolumeEncryption {
  readonly keyId: string;
  start(emit: (stored: Buffer) => Promise<void>): Encryptor;
}

/** What is known of a volume once all of it was stored. */
export type StoredVolume = Omit<Artifact, 'name' | 'key' | 'composite'>;

/** Where the stored bytes of one volume go. Calls come one after the other. */
export interface VolumeTarget {
  /** The bytes hold until it resolves. */
  write(stored: Buffer): Promise<void>;
  /** Makes the volume durable and known; the Writable finishes after it. */
  complete(volume: StoredVolume): Promise<void>;
  /** The volume is not wanted: stop and leave nothing. */
  discard(): Promise<void>;
}

/** The Writable of `VolumeSink.volume`: content in, both digests taken on the way, stored bytes out to the target. */
export class VolumeWriter extends Writable {
  readonly #target: VolumeTarget;
  readonly #codec: VolumeCodec;
  readonly #frames: FrameCompressor | null;
  readonly #keyId: string | null;
  readonly #encryptor: Encryptor | null;
  readonly #contentHash = createHash('sha256');
  readonly #storedHash = createHash('sha256');
  #contentBytes = 0;
  #storedBytes = 0;
  #completed = false;

  constructor(codec: VolumeCodec, target: VolumeTarget, encryption: VolumeEncryption | null = null) {
    super({ highWaterMark: 256 * 1024 });
    this.#codec = codec;
    this.#target = target;
    this.#frames = codec.codec === 'zstd' ? new FrameCompressor(codec, (frame) => this.#pack(frame)) : null;
    this.#keyId = encryption?.keyId ?? null;
    this.#encryptor = encryption?.start((stored) => this.#store(stored)) ?? null;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    callbackify(() => this.#accept(chunk))(done);
  }

  override _final(done: (error?: Error | null) => void): void {
    callbackify(() => this.#finish())(done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    // The first error is the one that explains; a failed discard leaves only a temporary file, which `begin` removes.
    callbackify(() => this.#discard())((failed) => done(error ?? failed));
  }

  async #discard(): Promise<void> {
    this.#frames?.close();
    this.#encryptor?.destroy();
    if (!this.#completed) await this.#target.discard();
  }

  async #accept(chunk: Buffer): Promise<void> {
    this.#contentHash.update(chunk);
    this.#contentBytes += chunk.length;
    await (this.#frames ? this.#frames.write(chunk) : this.#pack(chunk));
  }

  async #pack(coded: Buffer): Promise<void> {
    await (this.#encryptor ? this.#encryptor.write(coded) : this.#store(coded));
  }

  async #store(stored: Buffer): Promise<void> {
    this.#storedHash.update(stored);
    this.#storedBytes += stored.length;
    await this.#target.write(stored);
  }

  async #finish(): Promise<void> {
    await this.#frames?.end();
    await this.#encryptor?.end();
    await this.#target.complete({
      codec: this.#codec.codec,
      sizeBytes: this.#storedBytes,
      contentBytes: this.#contentBytes,
      sha256: this.#storedHash.digest('hex'),
      contentSha256: this.#contentHash.digest('hex'),
      encryptionKeyId: this.#keyId,
    });
    this.#completed = true;
  }
}
