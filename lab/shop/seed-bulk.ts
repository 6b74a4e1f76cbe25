import { createHash } from 'node:crypto';
import { inPostgres } from '../servers/postgresql-client';
import { inMongo, inRedis } from './schema';

export interface BulkSeed {
  /** About how large the data of each of the two stores becomes, in bytes of content. */
  sizeBytes: number;
  seed: number;
  /** Called after each batch with the bytes written so far in one store. */
  onProgress?: (store: 'postgresql' | 'mongodb' | 'redis', writtenBytes: number) => void;
}

/** What one row or document weighs, indexes and headers left out. */
const ROW_BYTES = 1_024;
const BATCH_ROWS = 10_000;
const DOCUMENTS_PER_INSERT = 1_000;
const SESSIONS_PER_PIPELINE = 1_000;

/**
 * Fills `bulk_rows` in PostgreSQL and in MongoDB with the same content for the same seed: half hexadecimal digits,
 * half repeated words, so that it compresses to about a third, as business data does. Repeating it replaces what an earlier one wrote.
 */
export async function seedBulk(pgUrl: string, mongoUrl: string, bulk: BulkSeed): Promise<void> {
  await Promise.all([seedBulkPostgres(pgUrl, bulk), seedBulkMongo(mongoUrl, bulk)]);
}

/** The same for PostgreSQL alone. */
export function seedBulkPostgres(url: string, { sizeBytes, seed, onProgress }: BulkSeed): Promise<void> {
  const rows = Math.ceil(sizeBytes / ROW_BYTES);
  return inPostgres(url, async (client) => {
    await client.query('DROP TABLE IF EXISTS bulk_rows');
    await client.query('CREATE TABLE bulk_rows (id bigint PRIMARY KEY, digits text NOT NULL, words text NOT NULL)');
    // Compression inside the server would make the files smaller than asked.
    await client.query('ALTER TABLE bulk_rows ALTER digits SET STORAGE EXTERNAL, ALTER words SET STORAGE EXTERNAL');
    for (let from = 1; from <= rows; from += BATCH_ROWS) {
      const to = Math.min(rows, from + BATCH_ROWS - 1);
      await client.query(
        `INSERT INTO bulk_rows
         SELECT id, (SELECT string_agg(md5($3::text || ':' || id || ':' || part), '' ORDER BY part)
                     FROM generate_series(1, 16) AS part),
                repeat('ultramarket order ' || id % 100 || ' ', 24)
         FROM generate_series($1::bigint, $2::bigint) AS id`,
        [from, to, String(seed)],
      );
      onProgress?.('postgresql', to * ROW_BYTES);
    }
    await client.query('ANALYZE bulk_rows');
  });
}

/** The same for MongoDB alone. */
export function seedBulkMongo(url: string, { sizeBytes, seed, onProgress }: BulkSeed): Promise<void> {
  const documents = Math.ceil(sizeBytes / ROW_BYTES);
  return inMongo(url, async (db) => {
    const collection = db.collection<{ _id: number; digits: string; words: string }>('bulk_rows');
    await collection.drop();
    for (let from = 1; from <= documents; from += DOCUMENTS_PER_INSERT) {
      const count = Math.min(DOCUMENTS_PER_INSERT, documents - from + 1);
      const batch = Array.from({ length: count }, (_, index) => {
        const id = from + index;
        const digits = Array.from({ length: 4 }, (_unused, part) => sha512(`${seed}:${id}:${part}`)).join('');
        return { _id: id, digits, words: `ultramarket order ${id % 100} `.repeat(24) };
      });
      await collection.insertMany(batch, { ordered: false });
      onProgress?.('mongodb', (from + count - 1) * ROW_BYTES);
    }
  });
}

/**
 * Fills Redis with sessions as hashes, so that its RDB is at least as large as asked: the digits count, the words beside
 * them are compressed by Redis itself. Raises `maxmemory` and puts off AOF rewrites, until the server starts again.
 */
export function seedBulkRedis(url: string, { sizeBytes, seed, onProgress }: BulkSeed): Promise<void> {
  const sessions = Math.ceil(sizeBytes / ROW_BYTES);
  return inRedis(url, async (redis) => {
    await redis.config('SET', 'maxmemory', 4 * sizeBytes);
    // A rewrite forks, and a copy for a backup would wait for its end.
    await redis.config('SET', 'auto-aof-rewrite-percentage', 0);
    for (let from = 1; from <= sessions; from += SESSIONS_PER_PIPELINE) {
      const to = Math.min(sessions, from + SESSIONS_PER_PIPELINE - 1);
      const pipeline = redis.pipeline();
      for (let id = from; id <= to; id += 1) {
        const digits = Array.from({ length: 8 }, (_unused, part) => sha512(`${seed}:${id}:${part}`)).join('');
        pipeline.hset(`bulk:session:${id}`, 'digits', digits, 'words', `ultramarket order ${id % 100} `.repeat(24));
      }
      for (const [error] of (await pipeline.exec()) ?? []) if (error) throw error;
      onProgress?.('redis', to * ROW_BYTES);
    }
  });
}

function sha512(text: string): string {
  return createHash('sha512').update(text).digest('hex');
}
