import type Redis from 'ioredis';
import { seededNumbers } from './random';

/** Keys of every type in three databases, small and large encodings, binary names, expiries, a stream with pending entries. */
export async function fillWithEveryType(client: Redis, seed: number): Promise<void> {
  const next = seededNumbers(seed);
  const databases = Number((await client.config('GET', 'databases'))[1]);
  for (const database of [0, 3, Math.min(39, databases - 1)]) {
    await client.select(database);
    const all = client.pipeline();
    for (let index = 0; index < 300; index++) {
      const random = Math.floor(next() * 1_000_000);
      all.set(Buffer.from([0xff, 0x00, index & 0xff, database, index >> 8]), Buffer.from(`${random}\r\n\0`));
      all.set(`string:${index}`, `${random}`, 'PX', 10_000_000 + random);
      all.rpush(`list:${index % 7}`, `${random}`, 'x'.repeat(random % 300));
      all.sadd(`set:${index % 3}`, `${random}`);
      all.sadd(`text-set:${index % 3}`, `member ${random}`);
      all.hset(`hash:${index % 4}`, `field ${random}`, 'y'.repeat(random % 100));
      all.zadd(`zset:${index % 4}`, random / 7, `member ${random}`);
      all.xadd('stream', '*', 'n', `${random}`);
    }
    all.zadd('zset:0', '-inf', 'lowest').zadd('zset:0', '+inf', 'highest');
    all
      .set('large', Buffer.alloc(3 * 1024 * 1024 + 17, 0x61))
      .setbit('bits', 100_000, 1)
      .pfadd('hll', 'a', 'b', 'c');
    all.geoadd('geo', 13.361389, 38.115556, 'Palermo');
    all
      .xgroup('CREATE', 'stream', 'group', '0')
      .xreadgroup('GROUP', 'group', 'reader', 'COUNT', 20, 'STREAMS', 'stream', '>');
    for (const [error] of (await all.exec()) ?? []) if (error) throw error;
  }
  await client.select(0);
}
