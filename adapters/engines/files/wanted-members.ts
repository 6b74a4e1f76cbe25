import type { CallContext } from '../../../core/call';
import type { Manifest } from '../../../core/catalog';
import type { VolumeSource } from '../../../core/volumes';
import { type ListedEntry, nameDigest, pathOf, readState } from './listing';

/**
 * Which members of a chain's volumes make up its last state: each name from the one backup that listed it last.
 * Holds about 60 bytes a file.
 */
export class WantedMembers {
  /** Of what is to be unpacked, holes included. */
  contentBytes = 0;
  /** Files that no volume had yet. */
  lacking = 0;
  /** Of each backup the files, and whether a volume had them. */
  readonly #names = new Map<string, Map<string, boolean>>();
  readonly #volumes = new Set<string>();

  /** Entries that `selects` took, of all kinds. */
  selected = 0;
  /** Names of files, in bytes from below `/` on, that are unpacked only because another name of the same file was selected. */
  readonly mates: Buffer[] = [];
  /** The same of symbolic links, which come with the tree. */
  readonly linkMates: Buffer[] = [];
  #tree: Set<string> | null = null;

  /** Without `selects` all that the state consists of. */
  static async read(
    chain: readonly Manifest[],
    source: VolumeSource,
    ctx: CallContext,
    selects: ((path: Buffer) => boolean) | null = null,
  ): Promise<WantedMembers> {
    const wanted = new WantedMembers();
    const links = new Map<string, ListedEntry[]>();
    if (selects) wanted.#tree = new Set();
    for await (const line of readState(chain, source)) {
      ctx.signal.throwIfAborted();
      ctx.progress({ phase: 'reading the listings', doneItems: wanted.selected });
      const path = pathOf(line);
      if (selects && line.links !== undefined) append(links, `${line.backup}/${line.volume}/${line.inode}`, line);
      if (selects && !selects(path)) continue;
      wanted.selected++;
      if (line.type === 'directory' || line.type === 'link') wanted.#tree?.add(nameDigest(path.subarray(1)));
      else wanted.#add(line);
    }
    for (const names of links.values()) wanted.#addMates(names);
    return wanted;
  }

  /** Of directories and symbolic links; undefined for all. */
  ofTree(): ((name: string) => boolean) | undefined {
    const tree = this.#tree;
    return tree ? (name) => tree.has(nameDigest(Buffer.from(name, 'latin1'))) : undefined;
  }

  #add(line: ListedEntry): void {
    const { backup } = line;
    this.contentBytes += line.sizeBytes;
    this.#volumes.add(`${backup}/${line.volume}`);
    const names = this.#names.get(backup) ?? new Map<string, boolean>();
    this.#names.set(backup, names.set(nameDigest(pathOf(line).subarray(1)), false));
    this.lacking++;
  }

  /** The content of a file lies under one of its names, which may not be the one that was selected. */
  #addMates(names: readonly ListedEntry[]): void {
    const others = names.filter((line) => !this.#holds(line));
    if (others.length === names.length) return;
    for (const line of others) {
      const name = pathOf(line).subarray(1);
      if (line.type === 'link') {
        this.#tree?.add(nameDigest(name));
        this.linkMates.push(name);
      } else {
        this.#add(line);
        this.mates.push(name);
      }
    }
  }

  #holds(line: ListedEntry): boolean {
    const key = nameDigest(pathOf(line).subarray(1));
    return line.type === 'link' ? (this.#tree?.has(key) ?? false) : (this.#names.get(line.backup)?.has(key) ?? false);
  }

  /** Whether anything of the volume is. */
  inVolume(backupId: string, volume: string): boolean {
    return this.#volumes.has(`${backupId}/${volume}`);
  }

  inBackup(backupId: string): boolean {
    return this.#names.has(backupId);
  }

  /** Whether a member is wanted, which is then no longer lacking. `name` in bytes as latin1, from below `/` on. */
  take(backupId: string, name: string): boolean {
    const names = this.#names.get(backupId);
    const key = nameDigest(Buffer.from(name, 'latin1'));
    const isTaken = names?.get(key);
    if (isTaken === undefined) return false;
    if (!isTaken) this.lacking--;
    names?.set(key, true);
    return true;
  }
}

function append(groups: Map<string, ListedEntry[]>, key: string, line: ListedEntry): void {
  const group = groups.get(key);
  if (group) group.push(line);
  else groups.set(key, [line]);
}
