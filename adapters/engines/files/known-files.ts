import { hash } from 'node:crypto';
import type { ParentBackup } from '../../../core/engine';
import { type ListedLine, type Origin, pathOf, readListing } from './listing';
import type { EntryType, TreeEntry } from './tree-walk';

/**
 * A file that changes in the tick of the clock in which it was looked at keeps its time of change. So what had changed this
 * shortly before its backup began is stored once more. Ticks are at most 10 ms long on Linux and 2 s on FAT.
 */
const DOUBTFUL_NANOSECONDS = 2_000_000_000n;

/**
 * What the parent of an incremental holds, to tell what has not changed since: the size, the times of change of content and
 * inode to the nanosecond, inode, mode and owner are all as they were. The kernel sets the second of the times whenever any
 * of it changes, names of the inode, ACLs and extended attributes included, and no program can set it back.
 *
 * Holds about 120 bytes an entry: names and attributes as digests. What was met is forgotten, so that what remains is gone.
 */
export class KnownFiles {
  readonly #parent: ParentBackup;
  readonly #entries = new Map<string, { readonly attributes: string; readonly origin: number }>();
  readonly #origins: Origin[] = [];

  private constructor(parent: ParentBackup) {
    this.#parent = parent;
  }

  /** Throws BackupCorrupt where the parent's listing is damaged. */
  static async read(parent: ParentBackup, signal: AbortSignal): Promise<KnownFiles> {
    const known = new KnownFiles(parent);
    const doubtfulFrom = BigInt(Date.parse(parent.manifest.startedAt)) * 1_000_000n - DOUBTFUL_NANOSECONDS;
    const numbers = new Map<string, number>();
    for await (const line of readListing(parent.manifest, parent.source)) {
      signal.throwIfAborted();
      const origin = { backup: line.backup ?? parent.manifest.backupId, volume: line.volume };
      const name = `${origin.backup}/${origin.volume}`;
      let number = numbers.get(name);
      if (number === undefined) {
        number = known.#origins.push(origin) - 1;
        numbers.set(name, number);
      }
      const attributes = BigInt(line.ctimeNs) < doubtfulFrom ? listedAttributes(line) : '';
      known.#entries.set(keyOf(pathOf(line), line.type), { attributes, origin: number });
    }
    return known;
  }

  /**
   * Where the content of a file lies, given with all of its names; null where it has to be stored: one of them is new, or
   * something changed.
   */
  originOf(names: readonly TreeEntry[]): Origin | null {
    const found = names.map((entry) => this.meet(entry));
    const [first] = found;
    if (!first || !found.every((each) => each?.attributes === first.attributes && each.origin === first.origin))
      return null;
    const same = first.attributes === attributesOf(names[0] as TreeEntry, names.length);
    return same ? (this.#origins[first.origin] ?? null) : null;
  }

  /** Of what is stored in every backup: that it is still there. */
  meet(entry: TreeEntry): { readonly attributes: string; readonly origin: number } | null {
    const key = keyOf(entry.absolute, entry.type);
    const found = this.#entries.get(key) ?? null;
    this.#entries.delete(key);
    return found;
  }

  /** The names, from `/` on, that the parent has and that were not met, or were met as something of another kind. */
  async *gone(): AsyncGenerator<Buffer> {
    if (this.#entries.size === 0) return;
    for await (const line of readListing(this.#parent.manifest, this.#parent.source)) {
      const path = pathOf(line);
      if (this.#entries.has(keyOf(path, line.type))) yield path;
    }
  }
}

function attributesOf({ type, stat }: TreeEntry, links: number): string {
  const { mtimeNs, ctimeNs, ino, uid, gid } = stat;
  const [mode, size] = [(Number(stat.mode) & 0o7777).toString(8).padStart(4, '0'), type === 'file' ? stat.size : 0];
  return digestOf(`${size} ${mtimeNs} ${ctimeNs} ${ino} ${mode} ${uid} ${gid} ${links}`);
}

function listedAttributes({ sizeBytes, mtimeNs, ctimeNs, inode, mode, uid, gid, links = 1 }: ListedLine): string {
  return digestOf(`${sizeBytes} ${mtimeNs} ${ctimeNs} ${inode} ${mode} ${uid} ${gid} ${links}`);
}

const keyOf = (path: Buffer, type: EntryType) => digestOf(Buffer.concat([Buffer.from(`${type}\0`), path]));

/** 96 bits: two of a billion names are the same with a chance of 1 in 10 to the 11. */
const digestOf = (content: Buffer | string) => hash('sha256', content, 'buffer').toString('latin1', 0, 12);
