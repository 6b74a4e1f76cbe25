import type Redis from 'ioredis';
import { redisPosition, type RedisPosition } from './positions';

/** `INFO` as a map; sections do not matter, field names are unique (redis.io/commands/info). */
export type RedisInfo = ReadonlyMap<string, string>;

export async function readInfo(client: Redis, ...sections: string[]): Promise<RedisInfo> {
  const texts = await Promise.all((sections.length === 0 ? ['default'] : sections).map((each) => client.info(each)));
  return parseInfo(texts.join('\r\n'));
}

export function parseInfo(text: string): RedisInfo {
  const fields = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const colon = line.indexOf(':');
    if (colon > 0 && !line.startsWith('#')) fields.set(line.slice(0, colon), line.slice(colon + 1));
  }
  return fields;
}

/** Null where the server does not say (INFO restricted). A replica's own applied offset, never what it merely received. */
export function infoPosition(info: RedisInfo): RedisPosition | null {
  const replicationId = info.get('master_replid');
  const offset = info.get('role') === 'slave' ? info.get('slave_repl_offset') : info.get('master_repl_offset');
  return replicationId && offset ? redisPosition(replicationId, offset) : null;
}

/** `redis 8.2.3`, `valkey 9.1.2`: the two refuse each other's newer files, so the name is part of the version. */
export function infoVersion(info: RedisInfo): string | null {
  const valkey = info.get('valkey_version');
  if (valkey) return `valkey ${valkey}`;
  const redis = info.get('redis_version');
  return redis ? `redis ${redis}` : null;
}

/** Database numbers that hold keys. */
export function databasesWithKeys(info: RedisInfo): number[] {
  return [...info.keys()]
    .map((name) => /^db(\d+)$/.exec(name)?.[1])
    .filter((each) => each !== undefined)
    .map(Number)
    .toSorted((a, b) => a - b);
}

/** `CONFIG GET` of the names that the server knows; empty where CONFIG is not allowed or renamed (managed services). */
export async function readConfig(client: Redis, ...names: string[]): Promise<Map<string, string>> {
  const values = new Map<string, string>();
  for (const name of names) {
    const pair = await client.config('GET', name);
    if (pair[0] !== undefined && pair[1] !== undefined) values.set(pair[0], pair[1]);
  }
  return values;
}
