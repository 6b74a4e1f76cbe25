import { listingLine, type Origin } from './listing';
import type { TreeEntry } from './tree-walk';

/** More names than this are not held for one volume, however small the files: 4 MB with their lines of the listing. */
const NAMES_PER_VOLUME = 10_000;
/** A tar member is at least a header, and its content is padded to blocks. */
const BLOCK_BYTES = 512n;

/** What a volume is made of. Of an entry only its name is kept: all that is known of it takes a kilobyte. */
export interface VolumeBatch {
  readonly volume: string;
  /** Below `/`, so that an archive unpacked by hand asks where to. */
  readonly names: readonly Buffer[];
  /** The names of each file that has several. */
  readonly linked: readonly (readonly Buffer[])[];
  readonly contentBytes: number;
  /** A line of the listing for each of the names. */
  readonly lines: readonly string[];
}

/**
 * Cuts files into volumes at file boundaries. The names of one file (hard links) go into one volume together, for which
 * they are held back until all of them were seen: memory grows with the hard links, not with the tree.
 */
export class VolumePlanner {
  readonly #targetBytes: bigint;
  readonly #nextVolume: () => string;
  readonly #originOf: (names: readonly TreeEntry[]) => Origin | null;
  readonly #links = new Map<string, TreeEntry[]>();
  #volume: string | null = null;
  #names: Buffer[] = [];
  #linked: Buffer[][] = [];
  #lines: string[] = [];
  #bytes = 0n;

  /** `originOf`: where the content of a file lies already, given with all of its names; null where it has to be stored. */
  constructor(
    targetVolumeBytes: number,
    nextVolume: () => string,
    originOf: (names: readonly TreeEntry[]) => Origin | null,
  ) {
    this.#targetBytes = BigInt(targetVolumeBytes);
    this.#nextVolume = nextVolume;
    this.#originOf = originOf;
  }

  /**
   * The lines of the listing for what is stored already, which needs no place in a volume: all names of a file at once. None
   * while some of them are missing, and for what found its place.
   */
  add(entry: TreeEntry): readonly string[] {
    const { stat } = entry;
    if (stat.nlink === 1n) return this.#take([entry]);
    const inode = `${stat.dev}:${stat.ino}`;
    const names = [...(this.#links.get(inode) ?? []), entry];
    if (BigInt(names.length) < stat.nlink) {
      this.#links.set(inode, names);
      return [];
    }
    this.#links.delete(inode);
    return this.#take(names);
  }

  /** The volume that is full, or null. To be asked after each entry. */
  full(): VolumeBatch | null {
    return this.#bytes >= this.#targetBytes || this.#names.length >= NAMES_PER_VOLUME ? this.rest() : null;
  }

  /** Places a file that has names outside the tree, with those inside; null when none is left. */
  addLinked(): readonly string[] | null {
    for (const [inode, names] of this.#links) {
      this.#links.delete(inode);
      return this.#take(names);
    }
    return null;
  }

  /** The volume that was not full, or null. */
  rest(): VolumeBatch | null {
    if (this.#volume === null) return null;
    const batch = {
      volume: this.#volume,
      names: this.#names,
      linked: this.#linked,
      contentBytes: Number(this.#bytes),
      lines: this.#lines,
    };
    [this.#volume, this.#names, this.#linked, this.#lines, this.#bytes] = [null, [], [], [], 0n];
    return batch;
  }

  #take(entries: readonly TreeEntry[]): readonly string[] {
    const linesFor = (origin: Origin) => entries.map((each) => listingLine(each, origin, { links: entries.length }));
    const origin = this.#originOf(entries);
    if (origin) return linesFor(origin);
    this.#volume ??= this.#nextVolume();
    const names = entries.map(archiveName);
    this.#names.push(...names);
    this.#lines.push(...linesFor({ backup: null, volume: this.#volume }));
    if (names.length > 1) this.#linked.push(names);
    // Blocks, not size: the holes of a sparse file are not stored.
    const stored = entries[0] ? entries[0].stat.blocks * BLOCK_BYTES : 0n;
    this.#bytes += stored + BLOCK_BYTES * BigInt(entries.length);
    return [];
  }
}

export const archiveName = (entry: TreeEntry): Buffer => entry.absolute.subarray(1);
