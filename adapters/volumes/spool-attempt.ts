import { createHash } from 'node:crypto';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import type { Writable } from 'node:stream';
import type { Artifact, DumpResult, EarlyFile } from '../../core/catalog';
import { failure } from '../../core/errors';
import { type Piece, type PieceDigests, UPLOAD_PIECE_BYTES } from '../../core/repository';
import type { VolumeSink } from '../../core/volumes';
import { diskFailure, makeDirectory, syncDirectory, writeFileDurably } from '../filesystem/durable';
import { PieceDigester } from './piece-digests';
import type { ObjectCipher } from '../encryption/encrypted-object';
import { checkVolumeName, encryptionOf, storedName } from './volume-names';
import { type StoredVolume, type VolumeCodec, type VolumeTarget, VolumeWriter } from './volume-writer';

/** A finished volume in the spool: durable, complete, and never changed again. */
export interface SpooledVolume extends Omit<Artifact, 'key'> {
  readonly path: string;
  readonly pieces: PieceDigests;
}

export interface SpooledEarly extends Omit<EarlyFile, 'key'> {
  readonly path: string;
}

/** One try at dumping into the spool. Ends with `finish` or `fail`; neither when the process died. */
export interface SpoolAttempt extends VolumeSink {
  readonly attempt: number;
  readonly directory: string;
  /** Throws BackupIncomplete while a volume is still open. Repeatable. */
  finish(dump: DumpResult): Promise<void>;
  /** Discards what is still open and tells the uploader. Never throws: the dump's own error is the one to report. */
  fail(why: unknown): Promise<void>;
}

/** A piece of a volume that is still open: the uploader may begin with it. */
export interface SpooledPiece extends Piece {
  readonly name: string;
  /** The first one is number 1. */
  readonly number: number;
  readonly codec: Artifact['codec'];
  /** Absent in the index of a version that did not encrypt. */
  readonly encryptionKeyId?: string | null;
  /** Where the volume is while it is open, and when it is complete. */
  readonly paths: readonly string[];
}

/**
 * One line of `volumes.jsonl` for each file that is complete, and one for each piece before that; the uploader takes nothing
 * that is not in it.
 */
export const SPOOL_INDEX = 'volumes.jsonl';
export const SPOOL_DONE = 'done.json';
export const SPOOL_FAILED = 'failed.json';

export type SpoolLine =
  | { readonly kind: 'piece'; readonly piece: Omit<SpooledPiece, 'paths'>; readonly file: string }
  | { readonly kind: 'volume'; readonly volume: Omit<SpooledVolume, 'path'>; readonly file: string }
  | { readonly kind: 'early'; readonly early: Omit<SpooledEarly, 'path'>; readonly file: string };

interface AttemptOptions {
  readonly attempt: number;
  readonly directory: string;
  /** What encryption binds its volumes to is this, `/` and the stored name: see `boundName`. */
  readonly boundTo: string;
  readonly targetVolumeBytes: number;
  readonly codec: VolumeCodec;
  readonly cipher: ObjectCipher | null;
}

/** `<spool>/<application>/<store>/<backupId>/attempt-<n>/`, open for writing. */
export class DirectoryAttempt implements SpoolAttempt {
  readonly attempt: number;
  readonly directory: string;
  readonly targetVolumeBytes: number;
  readonly #codec: VolumeCodec;
  readonly #cipher: ObjectCipher | null;
  readonly #boundTo: string;
  readonly #open = new Set<VolumeWriter>();
  readonly #names = new Set<string>();
  /** Lines are appended one after the other, whichever volumes finish first. */
  #appending: Promise<void> = Promise.resolve();

  constructor(options: AttemptOptions) {
    this.attempt = options.attempt;
    this.directory = options.directory;
    this.targetVolumeBytes = options.targetVolumeBytes;
    this.#codec = options.codec;
    this.#cipher = options.cipher;
    this.#boundTo = options.boundTo;
  }

  volume(name: string): Writable {
    checkVolumeName(name, this.#names);
    this.#names.add(name);
    const { codec } = this.#codec;
    const encryptionKeyId = this.#cipher?.keyId ?? null;
    const file = storedName(name, codec, encryptionKeyId);
    const complete = (stored: StoredVolume, pieces: PieceDigests) =>
      this.#append({ kind: 'volume', volume: { name, ...stored, pieces }, file });
    const onPiece = (number: number, sha256: string) =>
      this.#append(
        { kind: 'piece', piece: { name, codec, encryptionKeyId, number, sizeBytes: UPLOAD_PIECE_BYTES, sha256 }, file },
        // A piece that a crash of the host takes away belongs to an attempt that the crash ended.
        { flush: false },
      );
    const spooled = new SpoolFile(path.join(this.directory, file), { onPiece, complete });
    const writer = new VolumeWriter(this.#codec, spooled, encryptionOf(this.#cipher, `${this.#boundTo}/${file}`));
    this.#open.add(writer);
    return writer.once('close', () => this.#open.delete(writer));
  }

  async early(name: string, bytes: Uint8Array): Promise<void> {
    checkVolumeName(name, this.#names);
    this.#names.add(name);
    const file = path.join('early', name);
    const target = path.join(this.directory, file);
    try {
      await makeDirectory(path.dirname(target));
      await writeFileDurably(target, bytes);
    } catch (error) {
      throw diskFailure(error, target, 'storing an early file in the spool');
    }
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    await this.#append({ kind: 'early', early: { name, sizeBytes: bytes.byteLength, sha256 }, file });
  }

  async finish(dump: DumpResult): Promise<void> {
    const open = [...this.#open].filter((writer) => !writer.writableFinished);
    if (open.length > 0) {
      throw failure(
        'BackupIncomplete',
        `dump in ${this.directory} was finished with ${open.length} volumes still open`,
      );
    }
    await this.#mark(SPOOL_DONE, dump);
  }

  async fail(why: unknown): Promise<void> {
    for (const writer of this.#open) writer.destroy();
    const reason = why instanceof Error ? why.message : String(why);
    // On a full disk even this note may fail. The uploader then waits for the next attempt, as it does after a crash.
    await this.#mark(SPOOL_FAILED, { reason }).catch(() => {});
  }

  async #append(line: SpoolLine, { flush } = { flush: true }): Promise<void> {
    const index = path.join(this.directory, SPOOL_INDEX);
    const append = this.#appending.then(() => fs.appendFile(index, `${JSON.stringify(line)}\n`, { flush }));
    // The next line waits for this one, not for its success.
    this.#appending = append.catch(() => {});
    await append.catch((error: unknown) => {
      throw diskFailure(error, index, 'noting a volume in the spool');
    });
  }

  async #mark(name: string, content: object): Promise<void> {
    const file = path.join(this.directory, name);
    await writeFileDurably(file, JSON.stringify(content)).catch((error: unknown) => {
      throw diskFailure(error, file, 'ending a dump in the spool');
    });
  }
}

/** The name of a file of the spool until it is complete. */
export function temporaryOf(file: string): string {
  return `${file}.part`;
}

interface SpoolFileNotes {
  /** The piece is in the file, under its temporary name. */
  onPiece(number: number, sha256: string): Promise<void>;
  complete(stored: StoredVolume, pieces: PieceDigests): Promise<void>;
}

/** Written under a temporary name; gets its own name when it is complete and on disk. */
class SpoolFile implements VolumeTarget {
  readonly #path: string;
  readonly #temporary: string;
  readonly #notes: SpoolFileNotes;
  readonly #pieces = new PieceDigester();
  /**
   * Not waited for by what is written next: lines of the index stand behind the flush of another volume's, and compression
   * would stand still meanwhile.
   */
  readonly #noted: Promise<void>[] = [];
  readonly #handle: Promise<fs.FileHandle>;

  constructor(file: string, notes: SpoolFileNotes) {
    this.#path = file;
    this.#temporary = temporaryOf(file);
    this.#notes = notes;
    this.#handle = fs.open(this.#temporary, 'w', 0o640);
    // The first write reports it.
    this.#handle.catch(() => {});
  }

  async write(stored: Buffer): Promise<void> {
    try {
      const handle = await this.#handle;
      for (let written = 0; written < stored.length;) {
        written += (await handle.write(stored, written, stored.length - written)).bytesWritten;
      }
    } catch (error) {
      throw diskFailure(error, this.#path, 'writing a volume to the spool');
    }
    const { count } = this.#pieces;
    this.#pieces.update(stored);
    for (let number = count + 1; number <= this.#pieces.count; number += 1) {
      const noted = this.#notes.onPiece(number, this.#pieces.digest(number));
      noted.catch(() => {}); // met by complete
      this.#noted.push(noted);
    }
  }

  async complete(volume: StoredVolume): Promise<void> {
    try {
      const handle = await this.#handle;
      await handle.sync();
      await handle.close();
      await fs.rename(this.#temporary, this.#path);
      await syncDirectory(path.dirname(this.#path));
    } catch (error) {
      throw diskFailure(error, this.#path, 'completing a volume in the spool');
    }
    await Promise.all(this.#noted);
    await this.#notes.complete(volume, this.#pieces.digests());
  }

  async discard(): Promise<void> {
    const handle = await this.#handle.catch(() => null);
    await handle?.close();
    await fs.rm(this.#temporary, { force: true });
  }
}
