import { BSON, type Long } from 'mongodb';

export interface ParsedArchive {
  readonly head: BSON.Document;
  readonly namespaces: readonly BSON.Document[];
  /** Namespace → its documents; in the order in which they begin. */
  readonly contents: ReadonlyMap<string, readonly Buffer[]>;
}

/** What mongorestore reads before it looks at anything else, and nowhere else (mongorestore.go, `Restore`). */
const ABOUT_USERS = ['admin.system.users', 'admin.system.roles', 'admin.system.version'];

/**
 * A reader of mongodump's archive format written from its description (mongo-tools, common/archive), not from our writer:
 * other code than the engine's on purpose, so that both cannot be wrong in the same way. Throws where mongorestore would.
 */
export function parseArchive(bytes: Buffer): ParsedArchive {
  let at = 0;
  const document = () => {
    const length = bytes.readInt32LE(at);
    const found = bytes.subarray(at, at + length);
    at += length;
    return found;
  };
  const terminated = () => {
    if (bytes.readUInt32LE(at) !== 0xffffffff) return false;
    at += 4;
    return true;
  };
  if (bytes.subarray(0, 4).toString('hex') !== '6de29981') throw new Error('an archive begins with other bytes');
  at = 4;
  const head = BSON.deserialize(document());
  const namespaces: BSON.Document[] = [];
  while (!terminated()) namespaces.push(BSON.deserialize(document()));
  const contents = new Map<string, Buffer[]>();
  const open = new Set<string>();
  let hasData = false;
  while (at < bytes.length) {
    const { db, collection, EOF, CRC } = BSON.deserialize(document(), { promoteLongs: false });
    const key = `${db}.${collection}`;
    if (!contents.has(key)) {
      if (hasData && ABOUT_USERS.includes(key)) throw new Error(`${key} begins behind a collection with data`);
      if (!ABOUT_USERS.includes(key)) {
        hasData = true;
        for (const each of ABOUT_USERS) if (open.has(each)) throw new Error(`${each} is not whole before ${key}`);
      }
      contents.set(key, []);
      open.add(key);
    } else if (!open.has(key)) throw new Error(`${key} goes on behind its end`);
    const documents: Buffer[] = [];
    while (!terminated()) documents.push(document());
    const all = contents.get(key) as Buffer[];
    all.push(...documents);
    const wanted = EOF ? crc64(all) : 0n;
    if (BigInt.asUintN(64, (CRC as Long).toBigInt()) !== wanted) throw new Error(`the checksum of ${key} is wrong`);
    if (!EOF) continue;
    if (documents.length > 0) throw new Error(`the end of ${key} holds documents`);
    open.delete(key);
  }
  if (open.size > 0) throw new Error(`${[...open].join(', ')} has no end`);
  for (const { db, collection, type } of namespaces) {
    const key = `${db}.${type === 'timeseries' ? 'system.buckets.' : ''}${collection}`;
    if (!contents.has(key)) throw new Error(`the head names ${key}, and nothing else does`);
  }
  if (contents.size !== namespaces.length) throw new Error('the head does not name everything that follows');
  return { head, namespaces, contents };
}

const TABLE = Array.from({ length: 256 }, (_, byte) => {
  let crc = BigInt(byte);
  for (let bit = 0; bit < 8; bit++) crc = crc & 1n ? (crc >> 1n) ^ 0xc96c5795d7870f42n : crc >> 1n;
  return crc;
});

function crc64(parts: readonly Buffer[]): bigint {
  let crc = 0xffffffffffffffffn;
  for (const part of parts)
    for (const byte of part) crc = (TABLE[Number((crc ^ BigInt(byte)) & 0xffn)] as bigint) ^ (crc >> 8n);
  return crc ^ 0xffffffffffffffffn;
}
