import type { Redis } from 'ioredis';
import type { Db, MongoClient } from 'mongodb';
import type { Pool, PoolClient } from 'pg';
import { Refusal } from './json-server';
import { SHOP_DATABASE } from './orders';
import type { StoreUrls } from './settings';

export type StoreName = keyof StoreUrls;

/**
 * The stores of the site that a service runs in. Drivers are loaded when first asked for: a failover starts every
 * service at once, and three drivers would more than double the start of each.
 *
 * Every method rejects with a 503 Refusal naming the store when it does not answer in time. That says nothing about
 * whether a write happened; the caller repeats with the same id. Connections come back by themselves.
 */
export interface Stores {
  postgresql<T>(work: (pool: Pool) => Promise<T>): Promise<T>;
  /** Runs `work` in one transaction; what follows the commit runs on the same connection. */
  transaction<T, R>(
    work: (client: PoolClient) => Promise<T>,
    afterCommit: (client: PoolClient, result: T) => Promise<R>,
  ): Promise<R>;
  mongodb<T>(work: (db: Db) => Promise<T>): Promise<T>;
  redis<T>(work: (redis: Redis) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

type Log = (event: string, fields?: object) => void;

const CONNECT_TIMEOUT_MS = 1_500;
const COMMAND_TIMEOUT_MS = 2_000;
/**
 * Over all that a driver does for one call: connecting, waiting and its own retry add up. Below the deadline of a
 * request (2.7 s), so that the caller is told which store it was.
 */
const STORE_DEADLINE_MS = 2_200;
const POOL_SIZE = 16;

export function openStores(urls: StoreUrls, applicationName: string, log: Log): Stores {
  const pool = once(() => openPostgres(urls.postgresql, applicationName, log));
  const mongo = once(() => openMongo(urls.mongodb, applicationName));
  const redis = once(() => openRedis(urls.redis, log));
  return {
    postgresql: (work) => guarded('postgresql', async () => work(await pool())),
    transaction: (work, afterCommit) =>
      guarded('postgresql', async () => inTransaction(await (await pool()).connect(), work, afterCommit)),
    mongodb: (work) => guarded('mongodb', async () => work((await mongo()).db(SHOP_DATABASE))),
    redis: (work) => guarded('redis', async () => work(await redis())),
    async close() {
      await Promise.allSettled([
        pool.opened?.then((open) => open.end()),
        mongo.opened?.then((open) => open.close()),
        redis.opened?.then((open) => open.disconnect()),
      ]);
    },
  };
}

async function inTransaction<T, R>(
  client: PoolClient,
  work: (client: PoolClient) => Promise<T>,
  afterCommit: (client: PoolClient, result: T) => Promise<R>,
): Promise<R> {
  try {
    await client.query('BEGIN');
    const result = await work(client);
    await client.query('COMMIT');
    const reply = await afterCommit(client, result);
    client.release();
    return reply;
  } catch (cause) {
    // Closing the connection rolls back without a round trip to a server that may not answer.
    client.release(true);
    throw cause;
  }
}

async function openPostgres(url: string, applicationName: string, log: Log): Promise<Pool> {
  const { Pool } = await import('pg');
  const pool = new Pool({
    connectionString: url,
    application_name: applicationName,
    max: POOL_SIZE,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: COMMAND_TIMEOUT_MS,
    keepAlive: true,
  });
  // Without a listener a server that goes away would end the process through its idle connections.
  pool.on('error', (error) => log('connection lost', { store: 'postgresql', reason: error.message }));
  return pool;
}

async function openMongo(url: string, applicationName: string): Promise<MongoClient> {
  const { MongoClient } = await import('mongodb');
  return new MongoClient(url, {
    appName: applicationName,
    maxPoolSize: POOL_SIZE,
    connectTimeoutMS: CONNECT_TIMEOUT_MS,
    serverSelectionTimeoutMS: COMMAND_TIMEOUT_MS,
    socketTimeoutMS: COMMAND_TIMEOUT_MS,
    waitQueueTimeoutMS: COMMAND_TIMEOUT_MS,
    // The default of 10 s would let a service miss an election for that long.
    heartbeatFrequencyMS: 1_000,
    writeConcern: { w: 'majority', wtimeoutMS: COMMAND_TIMEOUT_MS },
  });
}

async function openRedis(url: string, log: Log): Promise<Redis> {
  const { Redis } = await import('ioredis');
  const redis = new Redis(url, {
    connectTimeout: CONNECT_TIMEOUT_MS,
    commandTimeout: COMMAND_TIMEOUT_MS,
    maxRetriesPerRequest: 1,
    // A command whose connection broke may have run: the caller decides whether to repeat it.
    autoResendUnfulfilledCommands: false,
    retryStrategy: (attempt) => Math.min(50 * attempt, 500),
  });
  redis.on('error', (error: Error) => log('connection lost', { store: 'redis', reason: error.message }));
  return redis;
}

async function guarded<T>(store: StoreName, work: () => Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${STORE_DEADLINE_MS} ms`)), STORE_DEADLINE_MS);
  });
  try {
    return await Promise.race([work(), late]);
  } catch (cause) {
    if (cause instanceof Refusal) throw cause;
    const reason = cause instanceof Error ? cause.message || cause.name : String(cause);
    throw new Refusal(503, 'store-unavailable', `${store} did not do what was asked: ${reason}`, {
      store,
      outcome: 'a write may or may not have happened; repeat it with the same id',
    });
  } finally {
    clearTimeout(timer);
  }
}

interface Opening<T> {
  (): Promise<T>;
  opened?: Promise<T>;
}

function once<T>(open: () => Promise<T>): Opening<T> {
  const opening: Opening<T> = () => (opening.opened ??= open());
  return opening;
}
