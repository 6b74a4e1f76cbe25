import type { ArtifactKind, Manifest } from './catalog';
import type { AttemptRecord } from './spool';

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
   * is returned); another backup under the same id throws LockHeld.
   */
  commit(manifest: Manifest): Promise<Manifest>;
  /** Greater than the number of every attempt whose objects or unfinished uploads are in the repository. */
  nextAttempt(kind: ArtifactKind, store: string, backupId: string): Promise<number>;
  putAttempt(prefix: string, record: AttemptRecord): Promise<void>;
  /** Throws NotFound while the attempt's upload is not complete. */
  attempt(prefix: string): Promise<AttemptRecord>;
  /**
   * Deletes every object below the prefix of an attempt or of a backup's data, and aborts every unfinished upload there.
   * Refuses (UsageInvalid) a prefix that is not one of those, or the data of a committed backup's own attempt.
   */
  sweep(prefix: string): Promise<{ readonly objects: number; readonly uploads: number }>;
}
