import { createHash, type Hash } from 'node:crypto';
import type Redis from 'ioredis';

const STRING_PIECE_BYTES = 1024 * 1024;
const MEMBERS_PER_CALL = 500;
/** See fingerprint.ts: a member that a cursor answers twice shows in the count. */
const TRIES = 3;

/** A digest of a multiset: the sum of its members' SHA-256 modulo 2^256, so that order does not matter but number does. */
export class MultisetDigest {
  #sum = 0n;
  count = 0;

  add(member: Buffer): void {
    this.#sum = (this.#sum + BigInt(`0x${member.toString('hex')}`)) & ((1n << 256n) - 1n);
    this.count++;
  }

  hex(): string {
    return this.#sum.toString(16).padStart(64, '0');
  }
}

type Part = Buffer | string | number | null;

/** Each part with its length before it: no two lists of parts have the same bytes. */
function absorb(hash: Hash, ...parts: readonly Part[]): Hash {
  for (const part of parts) {
    const bytes = part === null ? null : Buffer.isBuffer(part) ? part : Buffer.from(`${part}`);
    hash.update(`${bytes?.length ?? 'null'}:`);
    if (bytes) hash.update(bytes);
  }
  return hash;
}

const digestOf = (...parts: readonly Part[]) => absorb(createHash('sha256'), ...parts).digest();

/** What a client can read of one key, whatever its encoding. */
export async function keyDigest(client: Redis, key: Buffer, type: string, expiry: string): Promise<Buffer> {
  const content = READERS[type] ?? readDump;
  return digestOf(key, type, expiry, await content(client, key));
}

type ContentReader = (client: Redis, key: Buffer) => Promise<Buffer>;

const READERS: Readonly<Record<string, ContentReader>> = {
  string: readString,
  list: readList,
  set: (client, key) => readMembers(client, key, 'SSCAN', 'SCARD', (members) => members.map((each) => digestOf(each))),
  hash: (client, key) => readMembers(client, key, 'HSCAN', 'HLEN', (fields) => hashFields(client, key, fields)),
  zset: (client, key) => readMembers(client, key, 'ZSCAN', 'ZCARD', (pairs) => pairsOf(pairs).map(scored)),
  stream: readStream,
};

async function readString(client: Redis, key: Buffer): Promise<Buffer> {
  const hash = createHash('sha256');
  for (let from = 0; ; from += STRING_PIECE_BYTES) {
    const piece = await client.getrangeBuffer(key, from, from + STRING_PIECE_BYTES - 1);
    hash.update(piece);
    if (piece.length < STRING_PIECE_BYTES) return hash.digest();
  }
}

async function readList(client: Redis, key: Buffer): Promise<Buffer> {
  const hash = createHash('sha256');
  for (let from = 0; ; from += MEMBERS_PER_CALL) {
    const elements = await client.lrangeBuffer(key, from, from + MEMBERS_PER_CALL - 1);
    absorb(hash, ...elements);
    if (elements.length < MEMBERS_PER_CALL) return hash.digest();
  }
}

async function readMembers(
  client: Redis,
  key: Buffer,
  scan: 'SSCAN' | 'HSCAN' | 'ZSCAN',
  size: 'SCARD' | 'HLEN' | 'ZCARD',
  digests: (members: readonly Buffer[]) => Buffer[] | Promise<Buffer[]>,
): Promise<Buffer> {
  for (let attempt = 1; ; attempt++) {
    const content = new MultisetDigest();
    let cursor: Buffer | string = '0';
    do {
      const [next, members] = (await client.callBuffer(scan, key, cursor, 'COUNT', MEMBERS_PER_CALL)) as [
        Buffer,
        Buffer[],
      ];
      for (const member of await digests(members)) content.add(member);
      cursor = next;
    } while (cursor.toString() !== '0');
    if (content.count === (await client.call(size, key)) || attempt === TRIES)
      return digestOf(content.count, content.hex());
  }
}

/** Fields may have an expiry of their own since Redis 7.4 and Valkey 9. */
async function hashFields(client: Redis, key: Buffer, flat: readonly Buffer[]): Promise<Buffer[]> {
  const pairs = pairsOf(flat);
  if (pairs.length === 0) return [];
  const expiries = await fieldExpiries(client, key, pairs);
  return pairs.map(([field, value], index) => digestOf(field, value, expiries?.[index] ?? -1));
}

const withoutFieldExpiry = new WeakSet<Redis>();

async function fieldExpiries(client: Redis, key: Buffer, pairs: readonly [Buffer, Buffer][]): Promise<number[] | null> {
  if (withoutFieldExpiry.has(client)) return null;
  const fields = pairs.map(([field]) => field);
  try {
    return (await client.call('HPEXPIRETIME', key, 'FIELDS', fields.length, ...fields)) as number[] | null;
  } catch (error) {
    if (!/unknown command/i.test((error as Error).message)) throw error;
    withoutFieldExpiry.add(client);
    return null;
  }
}

/** Versions print the same score in different ways; the number is the content. */
function scored([member, score]: readonly [Buffer, Buffer]): Buffer {
  const bytes = Buffer.alloc(8);
  const text = score.toString('latin1');
  bytes.writeDoubleBE(text.endsWith('inf') ? (text.startsWith('-') ? -Infinity : Infinity) : Number(text));
  return digestOf(member, bytes);
}

/** Entries, then the groups with what they have delivered and what is pending at whom. Idle times are no content. */
async function readStream(client: Redis, key: Buffer): Promise<Buffer> {
  const hash = createHash('sha256');
  for (let from = '-'; ;) {
    const entries = await client.xrangeBuffer(key, from, '+', 'COUNT', MEMBERS_PER_CALL);
    for (const [id, fields] of entries) absorb(hash, id, ...fields);
    const last = entries.at(-1);
    if (!last || entries.length < MEMBERS_PER_CALL) break;
    from = `(${last[0].toString('latin1')}`;
  }
  const stream = fieldsOf((await client.callBuffer('XINFO', 'STREAM', key)) as unknown[]);
  absorb(hash, ...['last-generated-id', 'max-deleted-entry-id', 'entries-added'].map((name) => text(stream.get(name))));
  const groups = ((await client.callBuffer('XINFO', 'GROUPS', key)) as unknown[][]).map(fieldsOf);
  for (const group of groups) await absorbGroup(client, key, group, hash);
  return hash.digest();
}

async function absorbGroup(client: Redis, key: Buffer, group: ReadonlyMap<string, Part>, hash: Hash): Promise<void> {
  const name = group.get('name') as Buffer;
  absorb(hash, 'group', name, text(group.get('last-delivered-id')), text(group.get('entries-read')));
  const consumers = ((await client.callBuffer('XINFO', 'CONSUMERS', key, name)) as unknown[][]).map(fieldsOf);
  for (const consumer of consumers) absorb(hash, consumer.get('name') as Buffer, text(consumer.get('pending')));
  for (let from = '-'; ;) {
    const command = ['XPENDING', key, name, from, '+', MEMBERS_PER_CALL] as const;
    const pending = (await client.callBuffer(...command)) as [Buffer, Buffer, number, number][];
    for (const [id, consumer, , deliveries] of pending) absorb(hash, id, consumer, deliveries);
    const last = pending.at(-1);
    if (!last || pending.length < MEMBERS_PER_CALL) return;
    from = `(${last[0].toString('latin1')}`;
  }
}

/** A module's type: its DUMP payload without the RDB version (2 bytes) and CRC (8) at the end (cluster.c, DUMP). */
async function readDump(client: Redis, key: Buffer): Promise<Buffer> {
  const payload = await client.dumpBuffer(key);
  return digestOf(payload.subarray(0, -10));
}

function pairsOf(flat: readonly Buffer[]): [Buffer, Buffer][] {
  const pairs: [Buffer, Buffer][] = [];
  for (let index = 0; index + 1 < flat.length; index += 2)
    pairs.push([flat[index] as Buffer, flat[index + 1] as Buffer]);
  return pairs;
}

function fieldsOf(flat: readonly unknown[]): Map<string, Part> {
  const fields = new Map<string, Part>();
  for (let index = 0; index + 1 < flat.length; index += 2) fields.set(String(flat[index]), flat[index + 1] as Part);
  return fields;
}

const text = (value: Part | undefined): Part => (value === null || value === undefined ? null : value.toString());
