import type { Repository } from '../../core/repository';

/**
 * How long a listing is believed. Several questions of one step then share it; what this process stores or removes itself
 * shows at once, and what another one does, within this time.
 */
const FRESH_MILLISECONDS = 2_000;

/**
 * Weeks of slices are not listed again each time: names sort as the log does, so what is new lies at the end. Of the end
 * so many objects are listed again that what another process adds, or replaces by a segment, shows as well; with as
 * many new ones that is one page of S3's.
 */
const TAIL_OBJECTS = 500;

/** And all of them now and then, for what another process does further back (a compaction, a retention). */
const WHOLE_LISTING_MILLISECONDS = 10 * 60_000;

interface Listed {
  at: number;
  readonly wholeAt: number;
  /** Behind this name everything is listed again; empty: there are few. */
  tailAfter: string;
  readonly files: Map<string, number>;
}

/** Names and sizes of the objects directly in each lineage's folder below `prefix`. */
export class LogListing {
  readonly #repository: Repository;
  readonly #prefix: string;
  readonly #listed = new Map<string, Listed>();

  constructor(repository: Repository, prefix: string) {
    this.#repository = repository;
    this.#prefix = prefix;
  }

  async files(lineage: string): Promise<ReadonlyMap<string, number>> {
    const known = this.#listed.get(lineage);
    if (known && Date.now() - known.at < FRESH_MILLISECONDS) return known.files;
    const at = Date.now();
    if (known && at - known.wholeAt < WHOLE_LISTING_MILLISECONDS) {
      const tail = await this.#list(lineage, known.tailAfter);
      if (!replacedAtFront(known, tail)) {
        for (const name of known.files.keys()) if (name > known.tailAfter) known.files.delete(name);
        for (const [name, sizeBytes] of tail) known.files.set(name, sizeBytes);
        known.at = at;
        if (tail.length > 2 * TAIL_OBJECTS) known.tailAfter = startOfTail(tail);
        return known.files;
      }
    }
    const all = await this.#list(lineage, '');
    const files = new Map(all);
    this.#listed.set(lineage, { at, wholeAt: at, tailAfter: startOfTail(all), files });
    return files;
  }

  /** In key order. */
  async #list(lineage: string, after: string): Promise<[name: string, sizeBytes: number][]> {
    const found: [string, number][] = [];
    const folder = `${this.#prefix}${lineage}/`;
    const options = after === '' ? {} : { after: `${folder}${after}` };
    for await (const { key, sizeBytes } of this.#repository.list(folder, options)) {
      const name = key.slice(folder.length);
      if (!name.includes('/')) found.push([name, sizeBytes]);
    }
    return found;
  }

  /** The folders that hold objects, however deep; what lies in them is not listed. */
  async folders(below = ''): Promise<string[]> {
    const { names, hasObjects } = await this.#repository.folders(`${this.#prefix}${below}`);
    if (hasObjects) return [below.slice(0, -1)].filter((lineage) => lineage !== '');
    const found: string[] = [];
    for (const name of names) found.push(...(await this.folders(`${below}${name}/`)));
    return found;
  }

  added(lineage: string, name: string, sizeBytes: number): void {
    this.#listed.get(lineage)?.files.set(name, sizeBytes);
  }

  removed(lineage: string, name: string): void {
    this.#listed.get(lineage)?.files.delete(name);
  }

  /** The next question lists everything: what was listed is not as it was. */
  forget(lineage: string): void {
    this.#listed.delete(lineage);
  }
}

/**
 * That the first name of the end is gone: what took its place may be a segment of more slices than the end has, whose name
 * lies before it.
 */
function replacedAtFront({ files, tailAfter }: Listed, tail: readonly (readonly [name: string, unknown])[]): boolean {
  let first: string | null = null;
  for (const name of files.keys()) if (name > tailAfter && (first === null || name < first)) first = name;
  return first !== null && !tail.some(([name]) => name === first);
}

function startOfTail(inOrder: readonly (readonly [name: string, sizeBytes: number])[]): string {
  return inOrder.at(-TAIL_OBJECTS - 1)?.[0] ?? '';
}
