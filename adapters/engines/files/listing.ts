import type { TreeEntry } from './tree-walk';

/** One line of `listing.jsonl`: what is in the backup and in which volume, for finding and for restoring a single file. */
export function listingLine(name: Buffer, entry: TreeEntry, volume: string, linkTarget: Buffer | null): string {
  const { stat, type } = entry;
  return `${JSON.stringify({
    ...named('path', name),
    type,
    sizeBytes: type === 'file' ? Number(stat.size) : 0,
    // Nanoseconds do not fit a JSON number.
    mtimeNs: `${stat.mtimeNs}`,
    mode: (Number(stat.mode) & 0o7777).toString(8).padStart(4, '0'),
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    ...(linkTarget === null ? {} : named('target', linkTarget)),
    volume,
  })}\n`;
}

/** A name that is not UTF-8 is given in base64, under another key, so that nobody takes a mangled one for the name. */
function named(key: string, bytes: Buffer): Record<string, string> {
  const text = bytes.toString('utf8');
  return Buffer.from(text).equals(bytes) ? { [key]: text } : { [`${key}Base64`]: bytes.toString('base64') };
}
