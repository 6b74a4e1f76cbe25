import type { Manifest } from './catalog';

/** A manifest that is there and cannot be read: that backup cannot be restored, the others can. */
export interface DamagedManifest {
  readonly store: string;
  readonly backupId: string;
  /** Names the key, and what is wrong with it. */
  readonly problem: string;
}

/** What a listing and a few reads tell of a store with thousands of backups. */
export interface CatalogSurvey {
  /** Of every backup whose manifest is there, readable or not; oldest first. */
  readonly ids: readonly string[];
  /** The newest ones that were asked for and those that they build on, oldest first; what cannot be read is in `damaged`. */
  readonly backups: readonly Manifest[];
  readonly damaged: readonly DamagedManifest[];
}

/** The catalogue of one repository. Its only database is the listing (DESIGN §4). */
export interface CatalogStore {
  /** Names of the stores that have at least one manifest. */
  stores(): Promise<string[]>;
  /**
   * Committed backups of a store, oldest first. A manifest that cannot be read is left out, so that it blocks neither the
   * next backup nor a restore of another one; `damaged` names it, and whoever shows backups to people shows both.
   * `after`: only those with a greater id, without reading the others.
   */
  list(store: string, options?: { readonly after?: string }): Promise<Manifest[]>;
  /** Lists all, and reads the `newest` so many manifests. */
  survey(store: string, newest: number): Promise<CatalogSurvey>;
  /**
   * For a look that may take no time: neither lists nor reads what the store has besides. `fullBefore`: the newest full that was
   * begun before then as well, where it is one of the last days.
   */
  newest(
    store: string,
    newest: number,
    options?: { readonly fullBefore?: string },
  ): Promise<Omit<CatalogSurvey, 'ids'>>;
  /** The oldest backup whose manifest is there, readable or not; null where there is none. */
  oldest(store: string): Promise<string | null>;
  damaged(store: string): Promise<DamagedManifest[]>;
  /** Throws NotFound, naming what exists, and BackupCorrupt naming a manifest that cannot be read. */
  get(store: string, backupId: string): Promise<Manifest>;
  /**
   * Makes the backup exist. The same backup may be committed again (`committedAt` and run may differ: the first stays and
   * is returned); another backup under the same id throws LockHeld,
   * one that was given up and swept Aborted.
   */
  commit(manifest: Manifest): Promise<Manifest>;
}
