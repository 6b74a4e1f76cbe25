import { once } from 'node:events';
import type { GrowingFile, Piece, PieceDigests } from '../../core/repository';

/** A volume in the spool whose upload began before it was complete: what the follower sees of it goes in, the upload takes it. */
export class GrowingVolume implements GrowingFile {
  readonly paths: readonly string[];
  readonly #signal: AbortSignal;
  readonly #news = new EventTarget();
  readonly #known: Piece[] = [];
  #whole: { readonly sizeBytes: number; readonly sha256: string } | null = null;

  constructor(paths: readonly string[], signal: AbortSignal) {
    this.paths = paths;
    this.#signal = signal;
  }

  /** A full piece was written; the first one has the number 1. */
  add(number: number, piece: Piece): void {
    if (number === this.#known.length + 1) this.#known.push(piece);
    this.#news.dispatchEvent(new Event('news'));
  }

  /** It is complete: the pieces that are not known yet follow. */
  complete(sizeBytes: number, sha256: string, { pieceBytes, sha256: digests }: PieceDigests): void {
    for (let at = this.#known.length; at < digests.length; at += 1)
      this.#known.push({ sizeBytes: Math.min(pieceBytes, sizeBytes - at * pieceBytes), sha256: digests[at] as string });
    this.#whole = { sizeBytes, sha256 };
    this.#news.dispatchEvent(new Event('news'));
  }

  async *pieces(): AsyncGenerator<Piece, void> {
    for (let next = 0; ; next += 1) {
      while (next >= this.#known.length) {
        if (this.#whole !== null) return;
        await once(this.#news, 'news', { signal: this.#signal });
      }
      yield this.#known[next] as Piece;
    }
  }

  whole(): { readonly sizeBytes: number; readonly sha256: string } {
    if (this.#whole === null) throw new Error('the whole of a growing volume is asked for before its pieces ended');
    return this.#whole;
  }
}
