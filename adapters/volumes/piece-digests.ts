import { createHash, type Hash } from 'node:crypto';
import { type PieceDigests, UPLOAD_PIECE_BYTES } from '../../core/repository';

/** The SHA-256 of the pieces' SHA-256, base64, and their number: S3's checksum of an object that is made of such parts. */
export function compositeOf(pieces: readonly string[]): string {
  const ofPieces = createHash('sha256');
  for (const digest of pieces) ofPieces.update(digest, 'base64');
  return `${ofPieces.digest('base64')}-${pieces.length}`;
}

/** Takes the digests of a file's pieces while it is written, so that nobody has to read it for them. */
export class PieceDigester {
  readonly #sha256: string[] = [];
  #hash: Hash = createHash('sha256');
  #filled = 0;

  /** How many pieces are complete. */
  get count(): number {
    return this.#sha256.length;
  }

  /** The digest of a complete piece; the first one is number 1. */
  digest(number: number): string {
    return this.#sha256[number - 1] as string;
  }

  update(bytes: Buffer): void {
    for (let at = 0; at < bytes.length;) {
      const part = bytes.subarray(at, at + UPLOAD_PIECE_BYTES - this.#filled);
      this.#hash.update(part);
      this.#filled += part.length;
      at += part.length;
      if (this.#filled === UPLOAD_PIECE_BYTES) this.#next();
    }
  }

  /** Once, at the end. */
  digests(): PieceDigests {
    if (this.#filled > 0) this.#next();
    return { pieceBytes: UPLOAD_PIECE_BYTES, sha256: this.#sha256 };
  }

  #next(): void {
    this.#sha256.push(this.#hash.digest('base64'));
    this.#hash = createHash('sha256');
    this.#filled = 0;
  }
}
