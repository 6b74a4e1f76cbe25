import type { ContentEntry } from './backup-contents';

/** `changed`: the content, or its time; `attributes`: mode or owner alone; `type`: a link where a file was, and the like. */
export type TreeChangeKind = 'added' | 'removed' | 'changed' | 'attributes' | 'type';

export interface TreeChange {
  readonly path: string;
  readonly kind: TreeChangeKind;
  readonly before: ContentEntry | null;
  readonly after: ContentEntry | null;
}

/** How the state changed, by path. Holds the earlier one in memory. */
export async function treeChanges(
  before: AsyncIterable<ContentEntry>,
  after: AsyncIterable<ContentEntry>,
): Promise<TreeChange[]> {
  const earlier = new Map<string, ContentEntry>();
  for await (const entry of before) earlier.set(entry.path, entry);
  const changes: TreeChange[] = [];
  for await (const entry of after) {
    const was = earlier.get(entry.path) ?? null;
    earlier.delete(entry.path);
    const kind = was === null ? 'added' : changeOf(was, entry);
    if (kind !== null) changes.push({ path: entry.path, kind, before: was, after: entry });
  }
  for (const was of earlier.values()) changes.push({ path: was.path, kind: 'removed', before: was, after: null });
  return changes.toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

/** Null where nothing did that a person would call a change: directories get a new time with each name in them. */
export function changeOf(before: ContentEntry, after: ContentEntry): TreeChangeKind | null {
  if (before.type !== after.type) return 'type';
  const isSame = before.mode === after.mode && before.uid === after.uid && before.gid === after.gid;
  if (after.type === 'directory') return isSame ? null : 'attributes';
  if (before.state === after.state) return null;
  if (after.type === 'link') return before.target !== after.target ? 'changed' : isSame ? null : 'attributes';
  const isAsOld = before.modifiedAt === after.modifiedAt && before.sizeBytes === after.sizeBytes;
  // With a new time of the inode alone it may be a new name, an attribute, or other content under the old time.
  return isAsOld && !isSame ? 'attributes' : 'changed';
}

/** One state of a name, and the backups from the first to the last that hold it. */
export interface PathVersion {
  readonly entry: ContentEntry;
  readonly from: string;
  readonly until: string;
  readonly backups: number;
}

/** Follows names through backups, which are given oldest first. */
export class PathVersions {
  readonly #versions = new Map<string, PathVersion[]>();

  add(backupId: string, entry: ContentEntry): void {
    const known = this.#versions.get(entry.path) ?? [];
    const last = known.at(-1);
    const isSame = last !== undefined && changeOf(last.entry, entry) === null;
    const version = isSame
      ? { entry, from: last.from, until: backupId, backups: last.backups + 1 }
      : { entry, from: backupId, until: backupId, backups: 1 };
    this.#versions.set(entry.path, [...(isSame ? known.slice(0, -1) : known), version]);
  }

  /** By path, each oldest first. */
  all(): (readonly [string, readonly PathVersion[]])[] {
    return [...this.#versions].toSorted(([a], [b]) => (a < b ? -1 : 1));
  }
}
