import type { Manifest } from '../../../core/catalog';
import { failure } from '../../../core/errors';
import type { VolumeSource } from '../../../core/volumes';
import type { EntryType, TreeEntry } from './tree-walk';

/**
 * Every entry of the state that a backup holds, one JSON line each. A volume and not an early file: an early file is handed
 * over in one piece, and the listing of a million files would not stay within constant memory.
 */
export const LISTING_VOLUME = 'listing.jsonl';
/** Of the lines: 2 names what tells a change, and the backup whose volume holds an entry that did not change. */
export const LISTING_VERSION = 2;

/** Where the content of an entry lies. `backup` is null for the backup that the listing belongs to. */
export interface Origin {
  readonly backup: string | null;
  readonly volume: string;
}

/** One line, as it stands there. Nanoseconds and inodes do not fit a JSON number. */
export interface ListedLine {
  /** A name that is not UTF-8 is given in base64, under another key, so that nobody takes a mangled one for the name. */
  readonly path?: string;
  readonly pathBase64?: string;
  readonly type: EntryType;
  readonly sizeBytes: number;
  readonly mtimeNs: string;
  readonly ctimeNs: string;
  readonly inode: string;
  readonly mode: string;
  readonly uid: number;
  readonly gid: number;
  /** Of a symbolic link. */
  readonly target?: string;
  readonly targetBase64?: string;
  /** How many names of this file are in the backup; absent for one. */
  readonly links?: number;
  readonly backup?: string;
  readonly volume: string;
}

export interface ListedDetails {
  readonly linkTarget?: Buffer | null;
  readonly links?: number;
}

/** The line of an entry, with its line break. */
export function listingLine(
  { absolute, stat, type }: TreeEntry,
  { backup, volume }: Origin,
  { linkTarget = null, links = 1 }: ListedDetails = {},
): string {
  const line = {
    ...named('path', absolute),
    type,
    sizeBytes: type === 'file' ? Number(stat.size) : 0,
    mtimeNs: `${stat.mtimeNs}`,
    ctimeNs: `${stat.ctimeNs}`,
    inode: `${stat.ino}`,
    mode: (Number(stat.mode) & 0o7777).toString(8).padStart(4, '0'),
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    ...(linkTarget === null ? {} : named('target', linkTarget)),
    ...(links === 1 ? {} : { links }),
    ...(backup === null ? {} : { backup }),
    volume,
  };
  return `${JSON.stringify(line)}\n`;
}

function named(key: string, bytes: Buffer): Record<string, string> {
  const text = bytes.toString('utf8');
  return Buffer.from(text).equals(bytes) ? { [key]: text } : { [`${key}Base64`]: bytes.toString('base64') };
}

/** The name in bytes, from `/` on. */
export function pathOf({ path, pathBase64 }: Pick<ListedLine, 'path' | 'pathBase64'>): Buffer {
  return path === undefined ? Buffer.from(pathBase64 ?? '', 'base64') : Buffer.from(path);
}

/**
 * The lines of a backup's listing, in no order. Whoever acts on them before the end has read unverified bytes: the digests
 * are found wrong only there (BackupCorrupt).
 */
export async function* readListing(manifest: Manifest, source: VolumeSource): AsyncGenerator<ListedLine> {
  const artifact = manifest.artifacts.find(({ name }) => name === LISTING_VOLUME);
  if (!artifact) {
    throw failure('BackupCorrupt', `backup ${manifest.backupId} of ${manifest.store} names no ${LISTING_VOLUME}`);
  }
  const content = await source.open(artifact);
  let rest = Buffer.alloc(0);
  try {
    for await (const chunk of content as AsyncIterable<Buffer>) {
      const end = chunk.lastIndexOf(LINE_BREAK);
      if (end < 0) {
        rest = Buffer.concat([rest, chunk]);
        continue;
      }
      const lines = Buffer.concat([rest, chunk.subarray(0, end)]).toString('utf8');
      rest = Buffer.from(chunk.subarray(end + 1));
      for (const line of lines.split('\n')) yield JSON.parse(line) as ListedLine;
    }
  } finally {
    content.destroy();
  }
}

const LINE_BREAK = 10;
