import type { TreeEntry } from './tree-walk';

/**
 * More names than this are not held for one volume, however small the files: what is known of each takes 1.0 to 1.6 KB, and
 * three volumes are held at once, two being written and one being filled.
 */
const NAMES_PER_VOLUME = 10_000;
/** A tar member is at least a header, and its content is padded to blocks. */
const BLOCK_BYTES = 512n;

export interface VolumeBatch {
  readonly entries: readonly TreeEntry[];
  readonly contentBytes: number;
}

/**
 * Cuts files into volumes at file boundaries. The names of one file (hard links) go into one volume together, for which
 * they are held back until all of them were seen: memory grows with the hard links, not with the tree.
 */
export class VolumePlanner {
  readonly #targetBytes: bigint;
  readonly #links = new Map<string, TreeEntry[]>();
  #entries: TreeEntry[] = [];
  #bytes = 0n;

  constructor(targetVolumeBytes: number) {
    this.#targetBytes = BigInt(targetVolumeBytes);
  }

  /** The batch that this entry filled, or null. */
  add(entry: TreeEntry): VolumeBatch | null {
    const { stat } = entry;
    if (stat.nlink === 1n) return this.#take([entry]);
    const inode = `${stat.dev}:${stat.ino}`;
    const names = [...(this.#links.get(inode) ?? []), entry];
    if (BigInt(names.length) < stat.nlink) {
      this.#links.set(inode, names);
      return null;
    }
    this.#links.delete(inode);
    return this.#take(names);
  }

  /** What is left: files with names outside the tree, and the volume that was not full. */
  *finish(): Generator<VolumeBatch> {
    for (const names of this.#links.values()) {
      const full = this.#take(names);
      if (full) yield full;
    }
    this.#links.clear();
    if (this.#entries.length > 0) yield this.#cut();
  }

  #take(names: readonly TreeEntry[]): VolumeBatch | null {
    this.#entries.push(...names);
    // Blocks, not size: the holes of a sparse file are not stored.
    const stored = names[0] ? names[0].stat.blocks * BLOCK_BYTES : 0n;
    this.#bytes += stored + BLOCK_BYTES * BigInt(names.length);
    return this.#bytes >= this.#targetBytes || this.#entries.length >= NAMES_PER_VOLUME ? this.#cut() : null;
  }

  #cut(): VolumeBatch {
    const batch = { entries: this.#entries, contentBytes: Number(this.#bytes) };
    [this.#entries, this.#bytes] = [[], 0n];
    return batch;
  }
}
