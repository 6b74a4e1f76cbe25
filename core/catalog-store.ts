import type { Manifest } from './catalog';

/** The catalogue of one repository. Its only database is the listing (DESIGN §4). */
export interface CatalogStore {
  /** Names of the stores that have at least one manifest. */
  stores(): Promise<string[]>;
  /** Committed backups of a store, oldest first. Throws BackupCorrupt naming a manifest that cannot be read. */
  list(store: string): Promise<Manifest[]>;
  /** Throws NotFound, naming what exists. */
  get(store: string, backupId: string): Promise<Manifest>;
  /**
   * Makes the backup exist. The same backup may be committed again (`committedAt` and run may differ: the first stays and
   * is returned); another backup under the same id throws LockHeld,
   * one that was given up and swept Aborted.
   */
  commit(manifest: Manifest): Promise<Manifest>;
}
