import { listingLine } from './listing';
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
  readonly #isStored: (names: readonly TreeEntry[]) => boolean;
  readonly #links = new Map<string, TreeEntry[]>();
  #volume: string | null = null;
  #names: Buffer[] = [];
  #linked: Buffer[][] = [];
  #lines: string[] = [];
  #bytes = 0n;

  /** `isStored`: of a file, given with all of its names, whether an earlier backup of the chain holds it. */
  constructor(targetVolumeBytes: number, nextVolume: () => string, isStored: (names: readonly TreeEntry[]) => boolean) {
    this.#targetBytes = BigInt(targetVolumeBytes);
    this.#nextVolume = nextVolume;
    this.#isStored = isStored;
  }

  /** Gives an entry its place in a volume, once all names of its file were seen. */
  add(entry: TreeEntry): void {
    const { stat } = entry;
    if (stat.nlink === 1n) {
      this.#take([entry]);
      return;
    }
    const inode = `${stat.dev}:${stat.ino}`;
    const names = [...(this.#links.get(inode) ?? []), entry];
    if (BigInt(names.length) < stat.nlink) {
      this.#links.set(inode, names);
      return;
    }
    this.#links.delete(inode);
    this.#take(names);
  }

  /** The volume that is full, or null. To be asked after each entry. */
  full(): VolumeBatch | null {
    return this.#bytes >= this.#targetBytes || this.#names.length >= NAMES_PER_VOLUME ? this.rest() : null;
  }

  /** Places a file that has names outside the tree, with those inside; false when none is left. */
  addLinked(): boolean {
    for (const [inode, names] of this.#links) {
      this.#links.delete(inode);
      this.#take(names);
      return true;
    }
    return false;
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

  #take(entries: readonly TreeEntry[]): void {
    if (this.#isStored(entries)) return;
    const volume = (this.#volume ??= this.#nextVolume());
    const names = entries.map(archiveName);
    this.#names.push(...names);
    this.#lines.push(...entries.map((each) => listingLine(each, volume, { links: entries.length })));
    if (names.length > 1) this.#linked.push(names);
    // Blocks, not size: the holes of a sparse file are not stored.
    const stored = entries[0] ? entries[0].stat.blocks * BLOCK_BYTES : 0n;
    this.#bytes += stored + BLOCK_BYTES * BigInt(entries.length);
  }
}

export const archiveName = (entry: TreeEntry): Buffer => entry.absolute.subarray(1);

/** A file that is read again comes with all of its names: unpacking it under one would part it from the others. */
export function withHardLinks(changed: readonly Buffer[], linked: VolumeBatch['linked']): Buffer[] {
  const keyOf = (name: Buffer) => name.toString('latin1');
  const wanted = new Set(changed.map(keyOf));
  const groups = linked.filter((names) => names.some((name) => wanted.has(keyOf(name)))).flat();
  const inGroups = new Set(groups.map(keyOf));
  return [...changed.filter((name) => !inGroups.has(keyOf(name))), ...groups];
}
