import type Redis from 'ioredis';
import { failure } from '../../../core/errors';

/** Ours in the application's key space; both replicate and are backed up with it. */
export const EPOCH_KEY = 'drctl:epoch';
export const PROBE_KEY = 'drctl:write-probe';

/** Only upwards, decided inside the server, so that of two role changes the newer one stays. */
const RAISE = `
local noted = tonumber(redis.call('GET', KEYS[1]) or '0')
if noted < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1]) return ARGV[1] end
return tostring(noted)`;

/** Null when none was ever noted. */
export async function readEpoch(client: Redis): Promise<number | null> {
  const noted = await client.get(EPOCH_KEY);
  return noted === null ? null : Number(noted);
}

/** Throws StaleEpoch when the store holds a newer one. */
export async function raiseEpoch(client: Redis, epoch: number, address: string): Promise<void> {
  const noted = Number(await client.eval(RAISE, 1, EPOCH_KEY, epoch));
  if (noted > epoch) throw failure('StaleEpoch', `Redis at ${address} holds epoch ${noted}, this step is of ${epoch}`);
}
