import { Redis } from 'ioredis';
import type { Survivors } from './history';
import { CONNECT_MILLISECONDS, Refused, type Session } from './session';

const REGISTER = 'register:';
const WRITES = 'register-writes:';

export async function redisSession(site: string, url: string): Promise<Session> {
  const redis = new Redis(url, {
    lazyConnect: true,
    connectTimeout: CONNECT_MILLISECONDS,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    // A command whose connection broke may have run: sent again it would be done twice.
    autoResendUnfulfilledCommands: false,
  });
  redis.on('error', () => undefined); // the same error rejects the command
  try {
    await redis.connect();
  } catch (error) {
    redis.disconnect();
    throw new Refused(error, { broken: true });
  }
  return {
    site,
    async write(register, value) {
      try {
        const results = await redis
          .multi()
          .set(REGISTER + register, value)
          .rpush(WRITES + register, value)
          .exec();
        const failed = results?.find(([error]) => error !== null)?.[0];
        if (failed || !results) throw new Error(`a part of the transaction failed: ${failed?.message}`);
      } catch (error) {
        // EXECABORT: a command was refused (READONLY, NOREPLICAS, LOADING, …), so none of them ran.
        throw (error as Error).name === 'ReplyError' ? new Refused(error) : error;
      }
      return undefined;
    },
    read: async (register) => Number((await redis.get(REGISTER + register)) ?? 0),
    destroy: () => redis.disconnect(),
  };
}

export async function redisSurvivors(url: string): Promise<Survivors> {
  const redis = new Redis(url, { lazyConnect: true, retryStrategy: () => null });
  redis.on('error', () => undefined);
  try {
    await redis.connect();
    const writes: Record<string, number[]> = {};
    for (const key of await redis.keys(`${WRITES}*`))
      writes[key.slice(WRITES.length)] = (await redis.lrange(key, 0, -1)).map(Number);
    return { balances: [], transfers: [], writes };
  } finally {
    redis.disconnect();
  }
}
