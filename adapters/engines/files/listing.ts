import { hash } from 'node:crypto';
import type { Manifest } from '../../../core/catalog';
import { failure } from '../../../core/errors';
import type { VolumeSource } from '../../../core/volumes';
import type { EntryType, TreeEntry } from './tree-walk';

/**
 * What a backup holds, one JSON line for each entry: of a full everything, of an incremental what is new in it. A volume and
 * not an early file: an early file is handed over in one piece, and the listing of a million files would not stay within
 * constant memory.
 */
export const LISTING_VOLUME = 'listing.jsonl';
/**
 * Of an incremental: names that its parent has and it has not, or has as something of another kind, from below `/` on and each
 * ended by a null byte. A restore by hand removes them (`xargs -0`) before it unpacks.
 */
export const DELETED_VOLUME = 'deleted.list';
/** Of the lines: 3 says what tells a change, and of an incremental lists the changes. */
export const LISTING_VERSION = 3;

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
  /** How many names of this file are in the backup, of a symbolic link also outside of it; absent for one. */
  readonly links?: number;
  readonly volume: string;
}

/** A line, and the backup whose volume holds the entry. */
export interface ListedEntry extends ListedLine {
  readonly backup: string;
}

export interface ListedDetails {
  readonly linkTarget?: Buffer | null;
  readonly links?: number;
}

/** The line of an entry, with its line break. */
export function listingLine(
  { absolute, stat, type }: TreeEntry,
  volume: string,
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
    volume,
  };
  return `${JSON.stringify(line)}\n`;
}

function named(key: string, bytes: Buffer): Record<string, string> {
  const text = bytes.toString('utf8');
  return Buffer.from(text).equals(bytes) ? { [key]: text } : { [`${key}Base64`]: bytes.toString('base64') };
}

/** The name in bytes, from `/` on. */
export function pathOf({ path, pathBase64 }: ListedLine): Buffer {
  return bytesOf(path, pathBase64);
}

export function bytesOf(text: string | undefined, base64: string | undefined): Buffer {
  return text === undefined ? Buffer.from(base64 ?? '', 'base64') : Buffer.from(text);
}

/**
 * The state that a chain ends with, in no order: the newest line of each name that was not deleted since. Whoever acts on it
 * before the end has read unverified bytes: digests are found wrong only there (BackupCorrupt). Holds about 60 bytes for each
 * entry that the incrementals list, and nothing of the full's.
 */
export async function* readState(chain: readonly Manifest[], source: VolumeSource): AsyncGenerator<ListedEntry> {
  const hidden = new Set<string>();
  for (const manifest of chain.toReversed()) {
    const isOldest = manifest === chain[0];
    // What the backup itself lists or deletes hides what older ones say, and not its own.
    const hides: string[] = [];
    for await (const text of pieces(manifest, LISTING_VOLUME, '\n', source)) {
      const line = JSON.parse(text) as ListedLine;
      const key = nameDigest(pathOf(line));
      if (!isOldest) hides.push(key);
      if (!hidden.has(key)) yield { ...line, backup: manifest.backupId };
    }
    if (isOldest) return;
    for await (const name of pieces(manifest, DELETED_VOLUME, '\0', source)) {
      hides.push(nameDigest(Buffer.from(`/${name}`, 'latin1')));
    }
    for (const key of hides) hidden.add(key);
  }
}

/** 96 bits: two of a billion names are the same with a chance of 1 in 10 to the 11. */
export const nameDigest = (name: Buffer | string): string => hash('sha256', name, 'buffer').toString('latin1', 0, 12);

/** The parts of a volume that a separator ends; of names in bytes as latin1, else as UTF-8. */
async function* pieces(
  manifest: Manifest,
  volume: string,
  separator: '\n' | '\0',
  source: VolumeSource,
): AsyncGenerator<string> {
  const artifact = manifest.artifacts.find(({ name }) => name === volume);
  if (!artifact) throw failure('BackupCorrupt', `backup ${manifest.backupId} of ${manifest.store} names no ${volume}`);
  const content = await source.open(artifact);
  let rest = Buffer.alloc(0);
  try {
    for await (const chunk of content as AsyncIterable<Buffer>) {
      const end = chunk.lastIndexOf(separator);
      if (end < 0) {
        rest = Buffer.concat([rest, chunk]);
        continue;
      }
      const whole = Buffer.concat([rest, chunk.subarray(0, end)]);
      rest = Buffer.from(chunk.subarray(end + 1));
      yield* whole.toString(separator === '\0' ? 'latin1' : 'utf8').split(separator);
    }
  } finally {
    content.destroy();
  }
}
