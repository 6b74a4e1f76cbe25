import { createHash } from 'node:crypto';
import { Redis } from 'ioredis';
import { MongoClient, type Db } from 'mongodb';
import type { Client } from 'pg';
import { inPostgres } from '../servers/postgresql-client';
import { hashPassword } from './passwords';
import { seededSku, SHOP_DATABASE, type OrderEvent } from './orders';
import type { Product, Review } from './services/product';

export interface SeedSizes {
  products: number;
  users: number;
}

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS users (
    id integer PRIMARY KEY, email text NOT NULL UNIQUE, password_hash text NOT NULL,
    full_name text NOT NULL, city text NOT NULL);
  CREATE TABLE IF NOT EXISTS orders (
    id uuid PRIMARY KEY, customer text NOT NULL, amount_cents integer NOT NULL, site text NOT NULL,
    placed_at timestamptz NOT NULL DEFAULT clock_timestamp());
  CREATE TABLE IF NOT EXISTS order_items (
    order_id uuid NOT NULL REFERENCES orders ON DELETE CASCADE, line integer NOT NULL, sku text NOT NULL,
    quantity integer NOT NULL, price_cents integer NOT NULL, PRIMARY KEY (order_id, line));
  CREATE TABLE IF NOT EXISTS payments (
    id uuid PRIMARY KEY, order_id uuid NOT NULL, amount_cents integer NOT NULL, method text NOT NULL,
    paid_at timestamptz NOT NULL DEFAULT clock_timestamp());
  CREATE TABLE IF NOT EXISTS service_heartbeats (service text PRIMARY KEY, beat_at timestamptz NOT NULL);
`;

/** Two creators at once would collide in PostgreSQL's catalog in spite of IF NOT EXISTS. Any constant will do. */
const SCHEMA_LOCK = 7_310_001;

/**
 * Creates what the services need and seeds users and products, always with the same content. Safe to repeat: what is
 * there stays as it is. The URLs are of servers that accept writes; the user must be allowed to create tables.
 */
export async function createSchema(
  pgUrl: string,
  mongoUrl: string,
  redisUrl: string,
  sizes: SeedSizes = { products: 200, users: 50 },
): Promise<void> {
  await Promise.all([
    inPostgres(pgUrl, async (client) => {
      await client.query('SELECT pg_advisory_lock($1)', [SCHEMA_LOCK]);
      await client.query(SCHEMA);
      await seedUsers(client, sizes.users);
    }),
    inMongo(mongoUrl, async (db) => {
      await db.collection<Review>('reviews').createIndex({ sku: 1 });
      await db.collection<OrderEvent>('order_events').createIndex({ recordedAt: 1 });
      await seedProducts(db, sizes.products);
    }),
    inRedis(redisUrl, async (redis) => {
      await redis.setnx('shop:orders:placed', 0);
    }),
  ]);
}

/** The login of the n-th seeded user (from 1): known to tests, and of no use outside the lab. */
export function seededLogin(n: number): { email: string; password: string } {
  return { email: `user-${n}@ultramarket.example`, password: `password-of-user-${n}` };
}

async function seedUsers(client: Client, count: number): Promise<void> {
  const cities = ['Tashkent', 'Samarkand', 'Bukhara', 'Khiva', 'Andijan'];
  for (let n = 1; n <= count; n++) {
    const { email, password } = seededLogin(n);
    const salt = createHash('sha256').update(email).digest().subarray(0, 16);
    await client.query(
      `INSERT INTO users (id, email, password_hash, full_name, city) VALUES ($1, $2, $3, $4, $5)
       ON CONFLICT (id) DO NOTHING`,
      [n, email, await hashPassword(password, salt), `User ${n}`, cities[n % cities.length]],
    );
  }
}

async function seedProducts(db: Db, count: number): Promise<void> {
  const categories = ['books', 'garden', 'kitchen', 'music', 'toys'];
  const upserts = Array.from({ length: count }, (_, index) => {
    const sku = seededSku(index + 1);
    const digest = createHash('sha256').update(sku).digest();
    const product: Product = {
      _id: sku,
      name: `Product ${index + 1}`,
      category: categories[index % categories.length] ?? 'books',
      priceCents: 100 + (digest.readUInt16BE(0) % 20_000),
      description: `The ${digest.toString('hex')} of its kind`,
    };
    return { updateOne: { filter: { _id: sku }, update: { $setOnInsert: product }, upsert: true } };
  });
  if (upserts.length > 0)
    await db.collection<Product>('products').bulkWrite(upserts, { writeConcern: { w: 'majority' } });
}

export async function inMongo<T>(url: string, work: (db: Db) => Promise<T>): Promise<T> {
  const client = new MongoClient(url, { serverSelectionTimeoutMS: 15_000, connectTimeoutMS: 10_000 });
  try {
    return await work(client.db(SHOP_DATABASE));
  } finally {
    await client.close();
  }
}

export async function inRedis<T>(url: string, work: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(url, { lazyConnect: true, connectTimeout: 10_000, retryStrategy: () => null });
  try {
    await redis.connect();
    return await work(redis);
  } finally {
    redis.disconnect();
  }
}
