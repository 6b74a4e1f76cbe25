import type Redis from 'ioredis';
import type { SeededRandom } from './random';

/** One key as a server tells of it: its `DUMP`, or of a stream all that it says of entries, groups and what they have pending. */
export interface KeyState {
  readonly content: string;
  /** Milliseconds since 1970, -1 for none. */
  readonly expiresAt: number;
}

/** Every key by `<database>/<name>`, and the function libraries. */
export interface ServerContent {
  readonly keys: ReadonlyMap<string, KeyState>;
  readonly functions: string;
}

export const WORKLOAD_DATABASES = [0, 3, 9];
/** Keys live either no longer than this or for hours: nothing expires just while it is compared. */
export const SHORT_LIFE_MILLISECONDS = 600;
const LONG_LIFE_MILLISECONDS = 36_000_000;

export async function contentOf(client: Redis): Promise<ServerContent> {
  const keys = new Map<string, KeyState>();
  for (const database of WORKLOAD_DATABASES) {
    await client.select(database);
    for (const name of (await client.keysBuffer('*')).toSorted((a, b) => a.compare(b))) {
      const [content, expiresAt] = [await contentOfKey(client, name), await client.call('PEXPIRETIME', name)];
      // It may have expired since it was listed.
      if (content) keys.set(`${database}/${name.toString('latin1')}`, { content, expiresAt: Number(expiresAt) });
    }
  }
  await client.select(0);
  const libraries = await client.function('LIST', 'WITHCODE');
  return {
    keys,
    functions: libraries
      .map((each) => JSON.stringify(each))
      .toSorted()
      .join(),
  };
}

async function contentOfKey(client: Redis, name: Buffer): Promise<string | null> {
  const type = await client.type(name);
  if (type === 'stream') {
    return JSON.stringify(withoutIdle(await client.call('XINFO', 'STREAM', name, 'FULL', 'COUNT', '0')));
  }
  // A hash table is dumped in the order in which it happens to lie in memory.
  if (type === 'set') return text(...(await client.smembersBuffer(name)).toSorted((a, b) => a.compare(b)));
  if (type === 'zset') return text(...(await client.zrangeBuffer(name, '0', '-1', 'WITHSCORES')));
  if (type === 'hash') {
    const fields = (await client.hkeysBuffer(name)).toSorted((a, b) => a.compare(b));
    return text(...fields, ...(await Promise.all(fields.map((field) => client.hgetBuffer(name, field)))));
  }
  return text(await client.dumpBuffer(name));
}

const text = (...parts: readonly (Buffer | null)[]) =>
  parts.every((each) => each === null) ? null : parts.map((each) => each?.toString('base64')).join();

/**
 * Without what a primary tells no replica either: when a consumer last asked, and consumers that have asked and never got
 * anything. They come into being again when they ask.
 */
function withoutIdle(told: unknown): unknown {
  if (!Array.isArray(told)) return told;
  const own = (name: string) => told[told.indexOf(name) + 1] as unknown;
  if (told.includes('seen-time')) return own('pel-count') === 0 ? null : [own('name'), own('pending')];
  return told.map(withoutIdle).filter((each) => each !== null);
}

/** Without what has expired by then. */
export function contentAt({ keys, functions }: ServerContent, at: number): ServerContent {
  return { keys: new Map([...keys].filter(([, { expiresAt }]) => expiresAt < 0 || expiresAt > at)), functions };
}

/** One random write of any type, in any database; some are transactions, some scripts, some do nothing at all. */
export async function randomWrite(client: Redis, random: SeededRandom): Promise<void> {
  const key = (kind: string) => Buffer.concat([Buffer.from(`${kind}:${random.integer(12)}`), random.pick(ODD)]);
  const value = () => Buffer.alloc(random.pick([0, 3, 40, 400]), random.integer(256));
  const number = () => random.integer(1_000) - 500;
  const choices: (() => Promise<unknown>)[] = [
    () => client.set(key('s'), value()),
    () => client.set(key('s'), value(), 'PX', lifeOf(random)),
    () => client.pexpire(random.pick([key('s'), key('h'), key('l'), key('z')]), lifeOf(random)),
    () => client.persist(random.pick([key('s'), key('h'), key('z')])),
    () => client.incrby(key('n'), number()),
    () => client.incrbyfloat(key('f'), number() / 7),
    () => client.append(key('s'), value()),
    () => client.setbit(key('b'), random.integer(4_000), 1),
    () => client.rpush(key('l'), value(), value()),
    () => client.lpop(key('l')),
    () => client.ltrim(key('l'), 0, 30),
    () => client.sadd(key('t'), number(), number()),
    () => client.spop(key('t')),
    () => client.hset(key('h'), `field ${number()}`, value()),
    () => client.hdel(key('h'), `field ${number()}`),
    () => client.zadd(key('z'), number() / 3, `member ${number()}`),
    () => client.zpopmin(key('z')),
    () => client.zincrby(key('z'), 1.5, `member ${number()}`),
    () => client.pfadd(key('p'), `${number()}`),
    () => client.geoadd(key('g'), number() / 5, number() / 10, `place ${number()}`),
    () => client.xadd('x', 'MAXLEN', '~', 200, '*', 'n', `${number()}`),
    () => client.xgroup('CREATE', 'x', random.pick(['a', 'b']), '0', 'MKSTREAM').catch(exists),
    () => client.xreadgroup('GROUP', 'a', `reader ${random.integer(3)}`, 'COUNT', 3, 'STREAMS', 'x', '>').catch(exists),
    () => client.xautoclaim('x', 'a', 'taker', 0, '0', 'COUNT', 2).catch(exists),
    async () => {
      const [entry] = (await client.xrange('x', '-', '+', 'COUNT', 1)) ?? [];
      return entry && client.xack('x', 'a', entry[0]);
    },
    () => client.del(random.pick([key('s'), key('l'), key('h'), key('z')])),
    () => client.rename(key('s'), key('s')).catch(exists),
    () => client.copy(key('h'), key('h'), 'REPLACE').catch(exists),
    () => client.getex(key('s'), 'PX', lifeOf(random)),
    () =>
      client.eval(
        "redis.call('SET', KEYS[1], ARGV[1]) return redis.call('INCR', KEYS[2])",
        2,
        key('e'),
        'n:0',
        value(),
      ),
    () =>
      client
        .multi()
        .set(key('m'), value())
        .incr('n:1')
        .publish('news', 'in a transaction')
        .rpush(key('l'), value())
        .exec(),
    () => client.publish('news', value()),
    () => client.move(key('s'), random.pick(WORKLOAD_DATABASES)).catch(exists),
    () => client.call('FUNCTION', 'LOAD', 'REPLACE', library(random.integer(3), number())),
    () => client.select(random.pick(WORKLOAD_DATABASES)),
    () => client.select(random.pick(WORKLOAD_DATABASES)),
  ];
  await random.pick(choices)();
}

const ODD = [Buffer.alloc(0), Buffer.from('#\r\n*1\r\n$4\r\nEXEC\r\n'), Buffer.from([0, 0xff, 0x0d, 0x0a])];

const lifeOf = (random: SeededRandom) =>
  random.pick([1 + random.integer(SHORT_LIFE_MILLISECONDS), LONG_LIFE_MILLISECONDS + random.integer(1_000)]);

const library = (which: number, answer: number) =>
  `#!lua name=lib${which}\nredis.register_function('f${which}', function() return ${answer} end)`;

/** What a command may say of keys and groups as they happen to be. */
function exists(error: Error): null {
  if (/^(BUSYGROUP|NOGROUP|ERR no such key|ERR source and destination|WRONGTYPE)/.test(error.message)) return null;
  throw error;
}
