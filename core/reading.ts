import type { Manifest } from './catalog';
import type { CatalogStore } from './catalog-store';
import type { LogArchive } from './log-archive';
import type { VolumeSource } from './volumes';

/** Something that was not there, not intact or out of reach, and was read from another copy instead. */
export interface ReadElsewhere {
  /** Null: the repository as a whole. */
  readonly key: string | null;
  /** The repository that should have had it. */
  readonly repository: string;
  readonly problem: string;
  /** The one that has it. */
  readonly readFrom: string;
}

/** What one run reads of a store: from its repository, and from its copies where that fails. */
export interface StoreReading {
  readonly catalog: CatalogStore;
  /** Null for stores without a log. */
  readonly log: LogArchive | null;
  /**
   * `readFirst`: each object is read completely before it is handed out, so that damage that only its digest shows is met where
   * another copy can still be taken. Costs a second read; for a try after one that ended with BackupCorrupt. `fromLocalTier`: see
   * `BackupTransfer.source`.
   */
  source(
    chain: readonly Manifest[],
    options: { readonly readFirst: boolean; readonly fromLocalTier: boolean },
  ): VolumeSource;
  /** Whether there is another copy at all. */
  readonly hasCopies: boolean;
  /** What was met so far, each once. */
  elsewhere(): readonly ReadElsewhere[];
}

export function elsewhereLine({ key, repository, problem, readFrom }: ReadElsewhere): string {
  // Most problems of an object name it and where it lies.
  const isNamed = key !== null && problem.includes(key);
  const what = key === null ? repository : `${key} in ${repository}`;
  return `${isNamed ? problem : `${what}: ${problem}`}; read from ${readFrom}`;
}
