import { failure } from '../../../core/errors';

export const TAR_BLOCK = 512;

/** What we need of a header to judge its member. Names are bytes, as latin1 text. */
export interface TarHeader {
  readonly name: string;
  readonly linkName: string;
  readonly type: string;
  readonly sizeBytes: number;
}

/**
 * Reads a POSIX header and refuses everything that could be read in two ways: other magic, signed or wrong checksums,
 * binary numbers, unterminated fields. GNU tar is more generous, so whatever passes here means the same to both.
 */
export function readTarHeader(block: Buffer, volume: string): TarHeader {
  const text = (from: number, length: number) => {
    const field = block.toString('latin1', from, from + length);
    const end = field.indexOf('\0');
    return end < 0 ? field : field.slice(0, end);
  };
  const octal = (from: number, length: number) => {
    const digits = /^([0-7]+)[\0 ]*$/.exec(block.toString('latin1', from, from + length))?.[1];
    if (digits === undefined) throw malformed(volume, 'a number in a header is not octal');
    return Number.parseInt(digits, 8);
  };
  if (block.toString('latin1', 257, 265) !== 'ustar\x0000')
    throw malformed(volume, 'a header is not of the POSIX format');
  let sum = 0;
  for (let index = 0; index < TAR_BLOCK; index++) sum += index >= 148 && index < 156 ? 32 : (block[index] as number);
  if (sum !== octal(148, 8)) throw malformed(volume, "a header's checksum is wrong");
  const prefix = text(345, 155);
  return {
    name: prefix === '' ? text(0, 100) : `${prefix}/${text(0, 100)}`,
    linkName: text(157, 100),
    type: String.fromCharCode(block[156] as number),
    sizeBytes: octal(124, 12),
  };
}

/** Keywords that GNU tar writes for us. Others could change what a member means. */
const KNOWN_KEYWORD =
  /^(path|linkpath|size|mtime|atime|ctime|uid|gid|uname|gname|hdrcharset|SCHILY\.(xattr|acl)\..+|GNU\.sparse\.(major|minor|name|realsize))$/;

/** The records of an extended header, `<length> <keyword>=<value>\n` each (POSIX pax). */
export function readPaxRecords(content: Buffer, volume: string): ReadonlyMap<string, string> {
  const records = new Map<string, string>();
  for (let at = 0; at < content.length;) {
    const [prefix, digits] = /^(\d{1,10}) /.exec(content.toString('latin1', at, at + 12)) ?? [];
    const length = Number(digits);
    if (prefix === undefined || length <= prefix.length || at + length > content.length) {
      throw malformed(volume, 'an extended header has a wrong length');
    }
    const record = content.toString('latin1', at + prefix.length, at + length);
    const equals = record.indexOf('=');
    const keyword = record.slice(0, equals);
    if (equals < 1 || !record.endsWith('\n')) throw malformed(volume, 'an extended header has no keyword');
    if (!KNOWN_KEYWORD.test(keyword)) throw malformed(volume, `an extended header says "${keyword}"`);
    if (records.has(keyword)) throw malformed(volume, `an extended header says "${keyword}" twice`);
    records.set(keyword, record.slice(equals + 1, -1));
    at += length;
  }
  return records;
}

export function malformed(volume: string, why: string): unknown {
  return failure('BackupCorrupt', `${volume} is refused: ${why}; drctl writes no such archive`, {
    data: 'Nothing outside the restore directory was touched; what is inside must not be used.',
  });
}
