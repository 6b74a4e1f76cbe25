import * as path from 'node:path';
import { failure } from '../../../core/errors';
import type { ManifestFile } from './backup-manifest';

/** What a backup calls the changed blocks of a file (basebackup_incremental.c). */
const PREFIX = 'INCREMENTAL.';

/** What is done with one file of one member of a chain. */
export interface MemberFile {
  /** In the restored cluster, as a manifest writes it: `base/5/1259`. */
  readonly name: string;
  /** `blocks`: changed blocks, to be written over what the members before it gave. */
  readonly kind: 'whole' | 'blocks';
  /** The newest member's: it says how long the file is. */
  readonly last: boolean;
}

/** The files of one member that the restored cluster is made of, by the names that the member gives them. */
export type MemberFiles = ReadonlyMap<string, MemberFile>;

/** `base/5/1259` for `base/5/INCREMENTAL.1259`; null for a file that is whole. */
function ofBlocks(name: string): string | null {
  const bare = path.posix.basename(name);
  return bare.startsWith(PREFIX) ? path.posix.join(path.posix.dirname(name), bare.slice(PREFIX.length)) : null;
}

/**
 * Which file of which member makes up each file of the newest one: the last whole copy, then the changed blocks since. The
 * rules are those of pg_combinebackup (reconstruct.c): only what the newest member names exists; of the others only what is
 * still needed is taken. `manifests` in the order of the chain, full first. Throws BackupCorrupt where a part is missing.
 */
export function filesOfChain(
  manifests: readonly ReadonlyMap<string, ManifestFile>[],
  where: string,
): Map<string, MemberFile>[] {
  const members = manifests.map(() => new Map<string, MemberFile>());
  const newest = manifests.length - 1;
  for (const entry of manifests[newest]?.keys() ?? []) {
    const name = ofBlocks(entry);
    if (name === null) {
      members[newest]?.set(entry, { name: entry, kind: 'whole', last: true });
      continue;
    }
    members[newest]?.set(entry, { name, kind: 'blocks', last: true });
    const base = manifests.findLastIndex((each, index) => index < newest && each.has(name));
    const between = manifests.slice(base + 1, newest);
    if (base === -1 || !between.every((each) => each.has(entry))) {
      throw failure(
        'BackupCorrupt',
        `${where}: no backup of the chain holds all of ${name}, of which ${entry} has changes`,
      );
    }
    members[base]?.set(name, { name, kind: 'whole', last: false });
    for (const index of between.keys()) members[base + 1 + index]?.set(entry, { name, kind: 'blocks', last: false });
  }
  return members;
}
