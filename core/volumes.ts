import type { Readable, Writable } from 'node:stream';
import type { Artifact } from './catalog';

/**
 * Where an engine puts a dump. The engine writes plain content in its own standard format; compression, digests,
 * encryption, spooling and uploading happen behind this interface, so that no engine knows of them.
 */
export interface VolumeSink {
  /** How much content a volume should hold: engines with files cut at the first file boundary at or after it. */
  readonly targetVolumeBytes: number;

  /**
   * Opens the next volume, named as its plain content is (`vol-00001.tar`, `dump.archive`). Several may be open at once.
   * The stream has backpressure; its `finish` event (or `finished()`) means that the volume is complete and durable in the
   * spool or accepted by the repository; destroying it discards the volume. Names are unique within a dump.
   */
  volume(name: string): Writable;

  /** A small file that a restore needs before any volume, such as PostgreSQL's `backup_manifest`. */
  early(name: string, bytes: Uint8Array): Promise<void>;
}

/** Where an engine reads a backup from: plain content again, every digest verified on the way. */
export interface VolumeSource {
  /**
   * The plain content. The stream ends only after both digests were found right, else it fails with BackupCorrupt
   * naming the key: what was written from it until then must be thrown away.
   */
  open(artifact: Artifact): Promise<Readable>;

  /**
   * The same for a reader that checks every file in the content by itself, as PostgreSQL's manifest allows: the digest of
   * the stored bytes and the codec's own checksums are verified, that of the content is not computed again. The bytes of
   * a chunk hold only until the next one is asked for. A source without it is read by `open`.
   */
  lend?(artifact: Artifact): AsyncIterable<Buffer>;

  /** The whole of an early file, verified. */
  early(backupId: string, name: string): Promise<Buffer>;
}
