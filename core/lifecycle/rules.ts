import type { ArtifactKind } from '../catalog';
import type { StorageClass } from '../storage-classes';

/** One rule of a bucket, as far as it can do something to what drctl stores. Keys are those of the bucket. */
export interface LifecycleRule {
  readonly id: string;
  readonly isEnabled: boolean;
  /** It is about the objects whose keys begin with this. */
  readonly prefix: string;
  /** Only about objects larger than this. */
  readonly largerThanBytes: number | null;
  /** Only about objects with tags, which ours never have. */
  readonly isByTag: boolean;
  /** `days` null: at a date. */
  readonly moves: readonly { readonly days: number | null; readonly storageClass: string }[];
  /** Null: it deletes no objects. `days` null: at a date. */
  readonly expires: { readonly days: number | null } | null;
  readonly abortUploadsDays: number | null;
  /** What else it does: names of S3's own actions, which concern no object that is current. */
  readonly others: readonly string[];
}

export interface BucketLifecycle {
  readonly rules: readonly LifecycleRule[];
  /** Whether objects of less than 128 KiB move to archive classes as well; S3's default since 2024 is that they stay. */
  readonly smallObjectsMove: boolean;
}

/** The rules of one bucket; those of others are never changed. */
export interface LifecycleStore {
  /** What every key of the application in this bucket begins with, the slash included. */
  readonly root: string;
  read(): Promise<BucketLifecycle>;
  /**
   * Puts these in the place of our own rules, leaves all others as they are, and reads back what is there then. Repeatable.
   * S3 knows no conditional write here: who changes the rules by other means at the same moment may win.
   */
  write(ours: readonly LifecycleRule[]): Promise<BucketLifecycle>;
}

/** A bucket that holds backups, and which stores have theirs in it. */
export interface BackupBucket {
  readonly repository: string;
  /** `s3://bucket/prefix`. */
  readonly location: string;
  /** What its objects begin in. */
  readonly storageClass: StorageClass;
  readonly stores: readonly string[];
  readonly lifecycle: LifecycleStore;
}

/** `lifecycle` of the config. */
export interface LifecycleSettings {
  readonly transitions: readonly { readonly afterDays: number; readonly storageClass: StorageClass }[];
  /** Null: nothing expires by itself. */
  readonly expireAfterDays: number | null;
}

const OWNER = 'drctl:';

/** Ids name application and repository prefix: several applications may share a bucket. */
export const ruleId = (root: string, what: ArtifactKind | 'uploads'): string => `${OWNER}${root}${what}`;

export const isOurs = (root: string, { id }: Pick<LifecycleRule, 'id'>): boolean => {
  const what = id.startsWith(`${OWNER}${root}`) ? id.slice(OWNER.length + root.length) : '/';
  return !what.includes('/');
};

/** The same whatever order S3 answers in. */
export function sameRule(a: LifecycleRule, b: LifecycleRule): boolean {
  const shape = ({ moves, others, ...rest }: LifecycleRule) =>
    JSON.stringify([
      ...Object.entries(rest).toSorted(([x], [y]) => (x < y ? -1 : 1)),
      moves
        .toSorted((x, y) => (x.storageClass < y.storageClass ? -1 : 1))
        .map((each) => [each.storageClass, each.days]),
      others.toSorted(),
    ]);
  return shape(a) === shape(b);
}
