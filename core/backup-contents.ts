import type { CallContext } from './call';
import type { Manifest } from './catalog';
import type { VolumeSource } from './volumes';

export const CONTENT_TYPES = ['file', 'directory', 'link', 'fifo', 'socket', 'device'] as const;

/** One name in the state that a backup holds. */
export interface ContentEntry {
  /** From `/` on. Control characters are escaped as in JSON, bytes that are no UTF-8 as `\xff`: two names are never one. */
  readonly path: string;
  readonly type: (typeof CONTENT_TYPES)[number];
  readonly sizeBytes: number;
  readonly modifiedAt: string;
  readonly mode: string;
  readonly uid: number;
  readonly gid: number;
  /** Of a symbolic link. */
  readonly target: string | null;
  /** Where the content lies: the backup itself, or the one before it since which it did not change. */
  readonly backup: string;
  readonly volume: string;
  /** Equal in two backups where nothing of the entry changed between them, not even to the same content again. */
  readonly state: string;
}

/** What is in the backups of an engine that keeps files: to be listed, found and fetched without reading the rest. */
export interface BackupContents {
  /** Every entry of the state that a chain ends with, in no order. Throws BackupCorrupt, perhaps after it answered some. */
  entries(chain: readonly Manifest[], source: VolumeSource, ctx: CallContext): AsyncIterable<ContentEntry>;
  /**
   * Unpacks what is at and below the path (as `ContentEntry.path`, or plain) under its full path into a directory that is
   * empty or not there; only the volumes that hold it are read. Answers how many entries. Throws NotFound for a path
   * that the state has not, TargetNotEmpty.
   */
  extract(
    request: { readonly chain: readonly Manifest[]; readonly path: string; readonly directory: string },
    source: VolumeSource,
    ctx: CallContext,
  ): Promise<number>;
}
