import type { CallContext } from '../../../core/call';
import type { ParentBackup } from '../../../core/engine';
import { type ListedLine, nameDigest, pathOf, readState } from './listing';
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
 * Holds about 100 bytes an entry: names and attributes as digests. What was met is forgotten, so that what remains is gone.
 */
export class KnownFiles {
  readonly #parent: ParentBackup;
  readonly #entries = new Map<string, string>();

  private constructor(parent: ParentBackup) {
    this.#parent = parent;
  }

  /** Throws BackupCorrupt where a listing of the parent's chain is damaged. */
  static async read(parent: ParentBackup, ctx: CallContext): Promise<KnownFiles> {
    const known = new KnownFiles(parent);
    const begunAt = new Map(parent.chain.map(({ backupId, startedAt }) => [backupId, Date.parse(startedAt)]));
    for await (const line of readState(parent.chain, parent.source)) {
      ctx.signal.throwIfAborted();
      ctx.progress({ phase: 'reading what the last backup holds', doneItems: known.#entries.size });
      const doubtfulFrom = BigInt(begunAt.get(line.backup) ?? 0) * 1_000_000n - DOUBTFUL_NANOSECONDS;
      const attributes = BigInt(line.ctimeNs) < doubtfulFrom ? listedAttributes(line) : '';
      known.#entries.set(keyOf(pathOf(line), line.type), attributes);
    }
    return known;
  }

  /** Of an entry with all of its names that are in the tree: whether the parent holds it as it is. */
  isUnchanged(names: readonly TreeEntry[]): boolean {
    const [first] = names as [TreeEntry];
    const attributes = attributesOf(first, first.type === 'link' ? Number(first.stat.nlink) : names.length);
    let isSame = true;
    for (const entry of names) {
      const key = keyOf(entry.absolute, entry.type);
      if (this.#entries.get(key) !== attributes) isSame = false;
      this.#entries.delete(key);
    }
    return isSame;
  }

  /** The names, from `/` on, that the parent has and that were not met, or were met as something of another kind. */
  async *gone(): AsyncGenerator<Buffer> {
    if (this.#entries.size === 0) return;
    for await (const line of readState(this.#parent.chain, this.#parent.source)) {
      const path = pathOf(line);
      if (this.#entries.has(keyOf(path, line.type))) yield path;
    }
  }
}

function attributesOf({ type, stat }: TreeEntry, links: number): string {
  const { mtimeNs, ctimeNs, ino, uid, gid } = stat;
  const [mode, size] = [(Number(stat.mode) & 0o7777).toString(8).padStart(4, '0'), type === 'file' ? stat.size : 0];
  return nameDigest(`${size} ${mtimeNs} ${ctimeNs} ${ino} ${mode} ${uid} ${gid} ${links}`);
}

function listedAttributes({ sizeBytes, mtimeNs, ctimeNs, inode, mode, uid, gid, links = 1 }: ListedLine): string {
  return nameDigest(`${sizeBytes} ${mtimeNs} ${ctimeNs} ${inode} ${mode} ${uid} ${gid} ${links}`);
}

const keyOf = (path: Buffer, type: EntryType) => nameDigest(Buffer.concat([Buffer.from(`${type}\0`), path]));
