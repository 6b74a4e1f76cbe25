import type { Repository } from '../../core/repository';

/**
 * How long a listing is believed. Several questions of one step then share it; what this process stores or removes itself
 * shows at once, and what another one does, within this time.
 */
const FRESH_MILLISECONDS = 2_000;

interface Listed {
  readonly at: number;
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
    const files = new Map<string, number>();
    const folder = `${this.#prefix}${lineage}/`;
    for await (const { key, sizeBytes } of this.#repository.list(folder)) {
      const name = key.slice(folder.length);
      if (!name.includes('/')) files.set(name, sizeBytes);
    }
    this.#listed.set(lineage, { at, files });
    return files;
  }

  async folders(): Promise<string[]> {
    const folders = new Set<string>();
    for await (const { key } of this.#repository.list(this.#prefix)) {
      const end = key.lastIndexOf('/');
      if (end > this.#prefix.length) folders.add(key.slice(this.#prefix.length, end));
    }
    return [...folders];
  }

  added(lineage: string, name: string, sizeBytes: number): void {
    this.#listed.get(lineage)?.files.set(name, sizeBytes);
  }

  removed(lineage: string, name: string): void {
    this.#listed.get(lineage)?.files.delete(name);
  }
}
