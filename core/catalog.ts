import type { Position } from './positions';

/** Values that survive JSON as they are. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };
export type JsonObject = { readonly [key: string]: Json };

export const BACKUP_TYPES = ['full', 'incr'] as const;
export type BackupType = (typeof BACKUP_TYPES)[number];

/** Where an engine's artifacts live below `data/` (lifecycle rules filter by prefix, so kinds come before stores). */
export const ARTIFACT_KINDS = ['full', 'incr', 'files', 'config'] as const;
export type ArtifactKind = (typeof ARTIFACT_KINDS)[number];

/** One stored object of a backup. Digests are lower-case hexadecimal SHA-256. */
export interface Artifact {
  /** The content's own name, without the codec: `vol-00001.tar`, `dump.archive`, `dump.rdb`. */
  readonly name: string;
  readonly key: string;
  /** Bytes as stored. */
  readonly sizeBytes: number;
  /** Bytes of the content after every codec was undone. */
  readonly contentBytes: number;
  readonly sha256: string;
  /**
   * The SHA-256 of the SHA-256 of its pieces of 8 MiB, base64, "-" and their number: what S3 reports of an object sent in
   * parts, so that it is verified without being read. Absent for small ones and in older manifests.
   */
  readonly composite?: string;
  readonly contentSha256: string;
  readonly codec: 'zstd' | 'none';
  readonly encryptionKeyId: string | null;
}

/** A small object that a restore needs before any artifact (`backup_manifest`, a file listing); kept beside the manifest. */
export interface EarlyFile {
  readonly name: string;
  readonly key: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

/** The server that a dump is read from. */
export interface DumpSource {
  readonly site: string;
  readonly member: string;
  /** The site of the primary that the member follows; absent where the member is the primary, or has no such role. */
  readonly follows?: string;
}

/** What a dump found out about itself. The engine fills it, the manifest carries it unchanged. */
export interface DumpResult {
  /** The log position from which replay must start; null for engines without a log. */
  readonly start: Position | null;
  /** The log position from which on the backup is consistent; null for engines without a log. */
  readonly stop: Position | null;
  /** The source's clock when the dump began and when its state was fixed, ISO 8601. */
  readonly startedAt: string;
  /** The instant whose state the backup holds: targets before it cannot be reached from this backup. */
  readonly consistentAt: string;
  /** Which server this is a copy of: system identifier, replica set id, replication id, tree. */
  readonly identity: string;
  readonly lineage: string | null;
  readonly serverVersion: string;
  readonly toolVersions: Readonly<Record<string, string>>;
  readonly source: DumpSource;
  readonly warnings: readonly string[];
  /** What only the engine itself reads back at restore time. */
  readonly detail: JsonObject;
}

/** `catalog/<store>/<backupId>.json`: a backup exists when this object does, and it never changes. */
export interface Manifest extends DumpResult {
  readonly formatVersion: 1;
  readonly backupId: string;
  readonly application: string;
  readonly store: string;
  readonly engine: string;
  readonly type: BackupType;
  /** The backup that this one is incremental to; null for a full. */
  readonly parent: string | null;
  /** Why type or source differ from what was asked ("incremental asked, full taken: …"), else null. */
  readonly typeReason: string | null;
  readonly committedAt: string;
  readonly artifacts: readonly Artifact[];
  readonly early: readonly EarlyFile[];
  readonly attempt: number;
  readonly workflowId: string;
  readonly runId: string;
}

export function storedBytes(manifest: Manifest): number {
  return manifest.artifacts.reduce((sum, artifact) => sum + artifact.sizeBytes, 0);
}

/** The chain of a backup, full first. Null when a member is missing: such a backup cannot be restored. */
export function chainOf(manifest: Manifest, all: readonly Manifest[]): Manifest[] | null {
  const byId = new Map(all.map((each) => [each.backupId, each]));
  const chain = [manifest];
  for (let first = manifest; first.parent !== null;) {
    const parent = byId.get(first.parent);
    if (!parent || chain.includes(parent)) return null;
    chain.unshift(parent);
    first = parent;
  }
  return chain;
}

/** Those whose chain is complete. Each is looked at once: `chainOf` of each of some thousand takes minutes. */
export function withWholeChains(all: readonly Manifest[]): Manifest[] {
  const byId = new Map(all.map((each) => [each.backupId, each]));
  const known = new Map<string, boolean>();
  return all.filter((manifest) => {
    const way: string[] = [];
    let each: Manifest | undefined = manifest;
    while (each && each.parent !== null && !known.has(each.backupId)) {
      // A circle is no chain.
      known.set(each.backupId, false);
      way.push(each.backupId);
      each = byId.get(each.parent);
    }
    const isWhole = each !== undefined && (each.parent === null || known.get(each.backupId) === true);
    for (const backupId of way) known.set(backupId, isWhole);
    return isWhole;
  });
}
