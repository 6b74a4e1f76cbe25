import { realpathSync } from 'node:fs';
import { admittedTypes } from './archive-gate';
import type { TreeEntry } from './tree-walk';
import { archiveName } from './volume-plan';

/**
 * What the walk found, against what tar read later. Names are bytes as latin1, from below `/` on. A file is opened by tar before its
 * member is seen here, so that a directory which was replaced and put back between the two is not noticed.
 */
export interface AsFound {
  isAsFound(name: string, type: string): boolean;
}

/** Files, which may have changed, but neither what they are nor the way to them. Notes which they were. */
export class FoundFiles implements AsFound {
  readonly stored = new Set<string>();
  readonly #types: string;

  constructor(devices: boolean) {
    this.#types = admittedTypes('contents', devices);
  }

  isAsFound(name: string, type: string): boolean {
    const isSame = this.#types.includes(type) && isBehindNoLink(name);
    if (isSame) this.stored.add(name);
    return isSame;
  }
}

/** Directories and symbolic links: one that became the other would stand in the way of what is restored below it. */
export class FoundTree implements AsFound {
  readonly #types = new Map<string, string>();

  /** The names, each noted until tar has read it. */
  async *names(entries: AsyncIterable<TreeEntry>): AsyncGenerator<Buffer> {
    for await (const entry of entries) {
      const name = archiveName(entry);
      this.#types.set(name.toString('latin1'), entry.type === 'directory' ? '5' : '12');
      yield name;
    }
  }

  isAsFound(name: string, type: string): boolean {
    const types = this.#types.get(name) ?? '';
    this.#types.delete(name);
    return types.includes(type) && isBehindNoLink(name);
  }
}

/** Roots are real paths, so that a link on the way to a name has appeared since. */
function isBehindNoLink(name: string): boolean {
  const directory = Buffer.from(`/${name.slice(0, Math.max(0, name.lastIndexOf('/')))}`, 'latin1');
  try {
    return realpathSync.native(directory, 'buffer').equals(directory);
  } catch {
    return false; // gone, or a loop of links
  }
}
