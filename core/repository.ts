import type { Readable } from 'node:stream';
import type { CallContext } from './call';
import type { ThawSettings } from './thaw';

export interface StoredObject {
  readonly key: string;
  readonly sizeBytes: number;
  readonly modifiedAt: string;
  /** `STANDARD`, `STANDARD_IA`, `GLACIER`, …; local repositories say `LOCAL`. */
  readonly storageClass: string;
}

/** How far an object of an archive class was brought back. */
export interface ThawedCopy {
  readonly state: 'none' | 'asked' | 'readable';
  /** When the copy goes again, ISO 8601; null where there is none. */
  readonly until: string | null;
}

export interface ObjectHead extends StoredObject {
  /** Opaque; changes when the bytes change. */
  readonly etag: string;
  /** Small ASCII annotations given at `put`/`upload` (times of a WAL segment, …); not part of listings. */
  readonly metadata: Readonly<Record<string, string>>;
  /** SHA-256 of the stored bytes in hex where the repository itself confirmed or recorded it, else null. */
  readonly sha256: string | null;
  /** What it was when it was stored, where the repository noted that and finds other bytes now. */
  readonly storedSha256?: string;
  /** What a repository that was sent an object in pieces says of its bytes; see `compositeOf`. Null where it says nothing. */
  readonly composite: string | null;
  /** Absent where the object itself can be read. */
  readonly copy?: ThawedCopy;
}

export interface PutOptions {
  /**
   * Create only: when the key exists with the same bytes the call succeeds (a repeated step), with other bytes it throws
   * LockHeld. Two writers can never both believe that they created it.
   */
  readonly ifAbsent?: boolean;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly storageClass?: string;
}

/** Digests of a file's consecutive pieces, the last of which may be shorter. */
export interface PieceDigests {
  readonly pieceBytes: number;
  /** SHA-256, base64. */
  readonly sha256: readonly string[];
}

export interface Piece {
  readonly sizeBytes: number;
  /** SHA-256, base64. */
  readonly sha256: string;
}

/** A file that is sent while it is still written. */
export interface GrowingFile {
  /** The names it has while it grows and afterwards; one of them exists at any time, and its bytes are those of the pieces. */
  readonly paths: readonly string[];
  /**
   * In order, each once its bytes are in the file: of UPLOAD_PIECE_BYTES but the last. Ends when the file is complete; throws
   * when it was given up.
   */
  pieces(): AsyncIterable<Piece>;
  /** After the pieces have ended. */
  whole(): { readonly sizeBytes: number; readonly sha256: string };
}

/** An object of another repository: it can be read from any place of it, again and again. */
export interface RangedSource {
  readonly sizeBytes: number;
  readonly sha256: string;
  /** See `Artifact.composite`; null where it is not known. */
  readonly composite: string | null;
  /** All of it. Ends only when it is what `sha256` says, else throws BackupCorrupt. */
  whole(): AsyncIterable<Buffer>;
  /** `end` exclusive. */
  read(start: number, end: number): Promise<Readable>;
}

/** What whoever writes a file that will be uploaded takes `PieceDigests` of: repositories send such pieces. */
export const UPLOAD_PIECE_BYTES = 8 * 2 ** 20;

export interface UploadOptions extends Omit<PutOptions, 'ifAbsent'> {
  readonly sha256: string;
  /** Taken when the file was written; with them it is read once instead of twice. They are of the bytes of `sha256`. */
  readonly pieces?: PieceDigests;
}

export interface UnfinishedUpload {
  readonly key: string;
  readonly uploadId: string;
  readonly startedAt: string;
}

/**
 * Where backups live: keys, bytes, listings. Keys are relative to the application's prefix, are ASCII, use `/`, never start
 * with `/` and never hold `..`. Listings are strongly consistent with earlier writes (S3 has been since 2020).
 *
 * Every method may be repeated with the same arguments. Errors: RepositoryUnavailable (retryable: network, throttling,
 * 5xx), AccessDenied, NotFound, LockHeld (see `ifAbsent`), DiskFull (local), BackupCorrupt (stored bytes differ from the
 * checksum sent), ObjectFrozen (bytes in an archive class without a copy).
 */
export interface Repository {
  readonly name: string;
  readonly kind: string;
  /** Shown to people: `s3://bucket/prefix` or `/path`. */
  readonly location: string;

  /** Stores a small object in one request, its checksum verified by the other side. Durable when resolved. */
  put(key: string, body: Uint8Array, options?: PutOptions): Promise<ObjectHead>;

  /**
   * Stores a local file, in parts where it is large, verified by SHA-256 (given, of the whole file). Durable when
   * resolved, at once where the object is there already. When the process dies, the network fails or the call is cancelled,
   * the parts that were stored stay: the same call goes on from them, on any host; `abortUpload` removes them. Creates
   * only: with other bytes under the key it throws LockHeld, as `ifAbsent` does.
   */
  uploadFile(key: string, path: string, options: UploadOptions, ctx: CallContext): Promise<ObjectHead>;

  /**
   * `uploadFile` for a file that is still being written: begins with its first pieces, where the repository can. Resumes and
   * refuses as that does. The digest of the whole is not known at the beginning, so `head` may answer `composite` instead.
   */
  uploadGrowing(
    key: string,
    file: GrowingFile,
    options: Omit<UploadOptions, 'sha256' | 'pieces'>,
    ctx: CallContext,
  ): Promise<ObjectHead>;

  /**
   * Stores a stream of unknown length in constant memory; aborts its own parts on failure. Returns the digest it saw.
   * Creates only: with other bytes under the key it throws LockHeld, as `ifAbsent` does.
   */
  uploadStream(
    key: string,
    source: Readable,
    options: Omit<PutOptions, 'ifAbsent'>,
    ctx: CallContext,
  ): Promise<ObjectHead & { readonly sha256: string }>;

  /**
   * Stores what lies in another repository, once it is known to be what its digest says: in constant memory, and going on from
   * the parts that an earlier try stored where the source has a composite. Creates only: with other bytes under the key it
   * throws LockHeld, as `ifAbsent` does. Throws BackupCorrupt where the source is not what its digest says, storing nothing.
   */
  uploadFrom(
    key: string,
    source: RangedSource,
    options: Omit<PutOptions, 'ifAbsent'>,
    ctx: CallContext,
  ): Promise<ObjectHead>;

  /** The bytes, or part of them (`end` exclusive). Throws NotFound before the first byte; the caller verifies digests. */
  get(key: string, range?: { readonly start: number; readonly end: number }): Promise<Readable>;

  /** A small object, whole. Throws NotFound. */
  read(key: string): Promise<Buffer>;

  /** Null when there is no such object. */
  head(key: string): Promise<ObjectHead | null>;

  /**
   * Asks for a copy that can be read of an object in an archive class, kept for so many days; `head` says when it is there.
   * Asking again while it comes changes nothing, and afterwards keeps the copy for longer. Absent where all can be read at
   * once.
   */
  thaw?(key: string, settings: ThawSettings): Promise<void>;

  /**
   * Every object below the prefix, page by page; the objects of one folder in key order (some S3 servers put a folder's
   * objects before its siblings). `after` starts behind that key of the same folder.
   */
  list(prefix: string, options?: { readonly after?: string }): AsyncIterable<StoredObject>;

  /**
   * Names of the folders directly below `prefix` (empty or ending with `/`) that hold objects. Where objects lie in it directly,
   * `hasObjects` is told and the names may be incomplete: a folder of a million objects costs one request.
   */
  folders(prefix: string): Promise<{ readonly names: readonly string[]; readonly hasObjects: boolean }>;

  /** Removes objects; those that are gone already are fine. What `signal` ends may have removed some of them. */
  delete(keys: readonly string[], signal?: AbortSignal): Promise<void>;

  /** Multipart uploads below the prefix that were begun and neither completed nor aborted. */
  unfinishedUploads(prefix: string): AsyncIterable<UnfinishedUpload>;

  abortUpload(key: string, uploadId: string): Promise<void>;

  /** One cheap request that proves endpoint, credentials and bucket; throws the class of error that says which is wrong. */
  check(): Promise<void>;
}
