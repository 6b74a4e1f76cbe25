import { ORIGIN, RECORD_HEADER_BYTES, TOPLEVEL_XID, type WalRecord } from './wal-records';

/** xlogrecord.h, the same in PostgreSQL 15 to 18. */
const MOST_BLOCKS = 32;
const HAS_IMAGE = 0x10;
const SAME_RELATION = 0x80;
const IMAGE_HAS_HOLE = 0x01;
const IMAGE_IS_COMPRESSED = 0x04 | 0x08 | 0x10;
const BLOCK_HEADER_BYTES = 4;
const IMAGE_HEADER_BYTES = 5;
const IMAGE_INFO_AT = 4;
const HOLE_LENGTH_BYTES = 2;
const RELATION_BYTES = 12;
const BLOCK_NUMBER_BYTES = 4;

export const relationKey = (database: number, filenode: number) => `${database}/${filenode}`;

/** `<database>/<filenode>` of each relation whose blocks the record names. */
export function relationsOf({ bytes }: WalRecord): string[] {
  const found: string[] = [];
  for (let at = RECORD_HEADER_BYTES; at + BLOCK_HEADER_BYTES <= bytes.length;) {
    const id = bytes[at] as number;
    if (id === ORIGIN) at += 3;
    else if (id === TOPLEVEL_XID) at += 5;
    else if (id > MOST_BLOCKS) break;
    else {
      const flags = bytes[at + 1] as number;
      at += BLOCK_HEADER_BYTES;
      if ((flags & HAS_IMAGE) !== 0) at += imageHeaderBytes(bytes[at + IMAGE_INFO_AT] ?? 0);
      if ((flags & SAME_RELATION) === 0) {
        if (at + RELATION_BYTES > bytes.length) break;
        found.push(relationKey(bytes.readUInt32LE(at + 4), bytes.readUInt32LE(at + 8)));
        at += RELATION_BYTES;
      }
      at += BLOCK_NUMBER_BYTES;
    }
  }
  return found;
}

function imageHeaderBytes(info: number): number {
  const hole = (info & IMAGE_IS_COMPRESSED) !== 0 && (info & IMAGE_HAS_HOLE) !== 0;
  return IMAGE_HEADER_BYTES + (hole ? HOLE_LENGTH_BYTES : 0);
}
