import { createHash } from 'node:crypto';
import type Redis from 'ioredis';
import type { CallContext } from '../../../core/call';
import type { Fingerprint } from '../../../core/recovery';
import { type RedisEndpoint, withRedis } from './connection';
import { databasesWithKeys, readInfo } from './info';
import { keyDigest, MultisetDigest } from './key-digest';

/** Small enough that a batch of ordinary keys is a few megabytes, large enough that round trips do not dominate. */
const KEYS_PER_SCAN = 200;
/** Each holds at most a megabyte or a few hundred members at a time. */
const KEYS_AT_ONCE = 20;
/** SCAN may answer a key twice while the server resizes its table; a count that does not fit is counted again. */
const TRIES = 3;

/**
 * The keys of every database by content, in an order of nobody's: what a client can read of each key, its type and its
 * expiry. DUMP payloads will not do: they hold the RDB version and list the members of a hash table in an order that is
 * random for each server process. Reads by cursor, in pieces; on a server that is being written to, two calls differ.
 */
export async function fingerprintRedis(endpoint: RedisEndpoint, ctx: CallContext): Promise<Fingerprint> {
  const { databases, functions } = await withRedis(endpoint, ctx, async (client) => ({
    databases: databasesWithKeys(await readInfo(client, 'keyspace')),
    functions: await fingerprintFunctions(client),
  }));
  const items: Fingerprint['items'][number][] = [];
  for (const database of databases) {
    const item = await withRedis(endpoint, ctx, (client) => fingerprintDatabase(client, ctx), { database });
    if (item.count > 0) items.push({ name: `db${database}`, ...item });
  }
  return { algorithm: 'redis-keyspace-1', items: [...items, ...functions] };
}

async function fingerprintDatabase(client: Redis, ctx: CallContext): Promise<{ count: number; digest: string }> {
  for (let attempt = 1; ; attempt++) {
    const digest = new MultisetDigest();
    let cursor = '0';
    do {
      const [next, keys] = await client.scanBuffer(cursor, 'COUNT', KEYS_PER_SCAN);
      cursor = next.toString();
      for (const each of await digestKeys(client, keys)) digest.add(each);
      ctx.progress({ phase: 'reading keys', doneItems: digest.count });
    } while (cursor !== '0');
    // Reading an expired key removed it, so on a quiet server both counts agree.
    if (digest.count === (await client.dbsize()) || attempt === TRIES)
      return { count: digest.count, digest: digest.hex() };
  }
}

async function digestKeys(client: Redis, keys: readonly Buffer[]): Promise<Buffer[]> {
  const unique = [...new Map(keys.map((key) => [key.toString('latin1'), key])).values()];
  const asked = client.pipeline();
  for (const key of unique) asked.type(key).call('PEXPIRETIME', key);
  const answers = (await asked.exec()) ?? [];
  const described = unique.map((key, index) => {
    const [type, expiry] = [answers[2 * index], answers[2 * index + 1]].map((answer) => {
      if (answer?.[0]) throw answer[0];
      return String(answer?.[1]);
    });
    return { key, type: type ?? 'none', expiry: expiry ?? '' };
  });
  const present = described.filter(({ type }) => type !== 'none');
  const digests: Buffer[] = [];
  for (let from = 0; from < present.length; from += KEYS_AT_ONCE) {
    const some = present.slice(from, from + KEYS_AT_ONCE);
    digests.push(...(await Promise.all(some.map((each) => keyDigest(client, each.key, each.type, each.expiry)))));
  }
  return digests;
}

/** Libraries by name and code. Servers before 7 have none. */
async function fingerprintFunctions(client: Redis): Promise<Fingerprint['items'][number][]> {
  const libraries = (await client.function('LIST', 'WITHCODE').catch((error: Error) => {
    if (/unknown command/i.test(error.message)) return [];
    throw error;
  })) as unknown[][];
  if (libraries.length === 0) return [];
  const codes = libraries.map((fields) => String(fields[fields.indexOf('library_code') + 1])).toSorted();
  const digest = createHash('sha256').update(JSON.stringify(codes)).digest('hex');
  return [{ name: 'functions', count: libraries.length, digest }];
}
