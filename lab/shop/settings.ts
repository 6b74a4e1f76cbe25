import { readFileSync } from 'node:fs';
import { isServiceName, SERVICE_NAMES, type ServiceName } from './service-names';

/** Where a store is. The URL carries a password: it is never logged and never part of an error. */
export interface StoreUrls {
  postgresql: string;
  mongodb: string;
  redis: string;
}

export interface ServiceSettings {
  service: ServiceName;
  site: string;
  host: string;
  port: number;
  stores: StoreUrls;
}

type Environment = Record<string, string | undefined>;

/** The settings of one service process, from `SHOP_*`. Throws an error that names the variable that is wrong. */
export function serviceSettings(env: Environment): ServiceSettings {
  const service = required(env, 'SHOP_SERVICE');
  if (!isServiceName(service)) {
    throw new Error(`SHOP_SERVICE is "${service}"; it must be one of ${SERVICE_NAMES.join(', ')}`);
  }
  return {
    service,
    site: required(env, 'SHOP_SITE'),
    host: required(env, 'SHOP_HOST'),
    port: portNumber(env, 'SHOP_PORT'),
    stores: storeUrls(env),
  };
}

/**
 * The three store URLs, each from `SHOP_<STORE>_URL` or from the file that `SHOP_<STORE>_URL_FILE` names. In a drill
 * `SHOP_<STORE>_ADDRESS` has the copy's address in its place: empty, where there is no copy, it leads nowhere.
 */
export function storeUrls(env: Environment): StoreUrls {
  return {
    postgresql: drilled(secretValue(env, 'SHOP_PG_URL'), env['SHOP_PG_ADDRESS']),
    mongodb: drilledSet(secretValue(env, 'SHOP_MONGO_URL'), env['SHOP_MONGO_ADDRESS']),
    redis: drilled(secretValue(env, 'SHOP_REDIS_URL'), env['SHOP_REDIS_ADDRESS']),
  };
}

/** The discard port of nobody. */
const NOWHERE = '127.0.0.1:9';

function drilled(url: string, address: string | undefined): string {
  return address === undefined ? url : url.replace(/(?<=@)[^/?]+/, address || NOWHERE);
}

/** A copy is one member, a set of its own, and asks for no password. */
function drilledSet(url: string, address: string | undefined): string {
  return address === undefined ? url : `mongodb://${address || NOWHERE}/?directConnection=true`;
}

export function required(env: Environment, name: string): string {
  const value = env[name]?.trim();
  if (!value) throw new Error(`${name} is not set`);
  return value;
}

export function portNumber(env: Environment, name: string): number {
  const port = Number(required(env, name));
  if (!Number.isInteger(port) || port < 1 || port > 65535) {
    throw new Error(`${name} is "${env[name]}"; it must be a port between 1 and 65535`);
  }
  return port;
}

function secretValue(env: Environment, name: string): string {
  const file = env[`${name}_FILE`];
  if (!file) return required(env, name);
  const value = readFileSync(file, 'utf8').trim();
  if (!value) throw new Error(`the file ${file} that ${name}_FILE names is empty`);
  return value;
}
