import type { CallContext } from './call';
import { type Manifest, withWholeChains } from './catalog';
import type { LogArchive } from './log-archive';
import type { Position } from './positions';
import { mixed } from './seeded-choice';

/** Something in a repository that is not as it was stored, or not there. */
export interface Finding {
  readonly store: string;
  /** The backup that it belongs to; null for the log. */
  readonly backupId: string | null;
  /** The object; of a missing piece of log, whose name nobody knows any more, the one before or behind it. */
  readonly key: string;
  /** `notice`: nothing that can be restored needs it. */
  readonly severity: 'damage' | 'notice';
  readonly problem: string;
  /** What cannot be restored any more because of it. */
  readonly consequence: string;
  /** The earlier proof that found it, where it was not found sound since; absent where it was found now. */
  readonly foundBy?: string;
}

/** The continuous part of one lineage of a log as a listing shows it. */
export interface LogRange {
  readonly lineage: string;
  readonly from: Position;
  readonly to: Position;
  readonly firstKey: string;
  readonly lastKey: string;
  readonly pieces: number;
  /** Keys of pieces before which something is missing. */
  readonly holes: readonly string[];
}

export interface ObjectCount {
  readonly backups: number;
  readonly objects: number;
  readonly logPieces: number;
  /** Stored bytes that were read; 0 where only listings were. */
  readonly readBytes: number;
  /** Objects that were to be read and lie in an archive class; absent: none. */
  readonly frozen?: number;
}

/** What manifests and listings alone tell of a store. */
export interface StoredLook {
  readonly count: ObjectCount;
  readonly findings: readonly Finding[];
  readonly log: readonly LogRange[];
  /** Every backup whose manifest can be read, oldest first. */
  readonly manifests: readonly Manifest[];
  /** Those whose manifest is damaged or gone, by what else is stored of it: the rest of them is looked at by that. */
  readonly recovered: readonly Manifest[];
}

/** How far a complete read has come, small enough for a heartbeat. */
export interface ReadProgress {
  readonly count: ObjectCount;
  readonly findings: readonly Finding[];
  readonly moreFindings: number;
  /** The backup that is read, and how many of its objects are done; the log comes after all backups. */
  readonly backupId: string | null;
  readonly objectsOfBackup: number;
  readonly lineage: string | null;
  readonly logTo: Position | null;
}

/** The part of one lineage that is read; null: from its beginning, to its end. */
export interface LogStretch {
  readonly lineage: string;
  readonly from: Position | null;
  readonly to: Position | null;
}

export interface ReadRequest {
  /** Oldest first. */
  readonly backups: readonly Manifest[];
  readonly log: readonly LogStretch[];
}

/**
 * Looks at what is stored of one store, never believing what this process remembers of it. What is damaged is answered as a
 * finding; errors are thrown only for what keeps anybody from looking (RepositoryUnavailable, AccessDenied).
 */
export interface StoreVerifier {
  /**
   * Reads every manifest and compares it with the listings: every object there, with its size; chains complete, the log
   * without holes. `before` is what an earlier look saw of the log: nothing else tells that its end is gone.
   */
  look(before: readonly LogRange[], ctx: CallContext): Promise<StoredLook>;
  /** Reads backups and log completely; goes on from `resume`. */
  read(
    request: ReadRequest,
    resume: ReadProgress | null,
    onProgress: (progress: ReadProgress) => void,
    ctx: CallContext,
  ): Promise<ReadProgress>;
  /** Those of the objects, of these backups or of the log, that are read now and are as they were stored. */
  readAgain(keys: ReadonlySet<string>, backups: readonly Manifest[], ctx: CallContext): Promise<string[]>;
  /** The log as if the objects that are named were gone, listed anew; null for a store without one. */
  logWithout(keys: ReadonlySet<string>): LogArchive | null;
}

/** So many are kept one by one: a repository that is gone as a whole must not make a history of its own. */
export const FINDINGS_KEPT = 50;

/** The backups that cannot be restored without this one, itself left out. */
export function dependentsOf(backupId: string, manifests: readonly Manifest[]): Manifest[] {
  const broken = new Set([backupId]);
  // Oldest first: a child comes behind its parent.
  const found = manifests.filter(({ backupId: id, parent }) => {
    const isBroken = parent !== null && broken.has(parent);
    if (isBroken) broken.add(id);
    return isBroken;
  });
  return found.filter((each) => each.backupId !== backupId);
}

/** In words, what damage of a backup takes away. */
export function lostWith(backupId: string, manifests: readonly Manifest[]): string {
  const children = dependentsOf(backupId, manifests);
  const others = children.length === 0 ? '' : `, nor can the ${children.length} incrementals on it`;
  return `${backupId} cannot be restored${others}`;
}

/** The backups that nothing damaged belongs to. */
export function soundBackups(manifests: readonly Manifest[], findings: readonly Finding[]): Manifest[] {
  const damaged = new Set(
    findings.flatMap(({ backupId, severity }) => (backupId !== null && severity === 'damage' ? [backupId] : [])),
  );
  const broken = new Set(
    [...damaged].flatMap((id) => [id, ...dependentsOf(id, manifests).map((each) => each.backupId)]),
  );
  return withWholeChains(manifests).filter(({ backupId }) => !broken.has(backupId));
}

/** The same seed chooses the same of the same backups; null where none has a complete chain. */
export function chooseBackup(manifests: readonly Manifest[], seed: number): Manifest | null {
  const whole = withWholeChains(manifests);
  return whole[mixed(seed) % Math.max(1, whole.length)] ?? null;
}

/**
 * The log that a restore to any moment between this backup and the next one needs: from its chain's start to where the next
 * one became consistent; to the end of its lineage where none follows there.
 */
export function logOf(chosen: Manifest, manifests: readonly Manifest[]): LogStretch | null {
  const { lineage, start } = chosen;
  if (lineage === null || start === null) return null;
  const next = manifests.find((each) => each.lineage === lineage && each.consistentAt > chosen.consistentAt);
  return { lineage, from: start, to: next?.stop ?? null };
}
