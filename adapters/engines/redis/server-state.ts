import type Redis from 'ioredis';
import type { JsonObject } from '../../../core/catalog';
import { isNativeError } from './connection';

/**
 * Settings that a restored server needs to hold the same data in the same way: how many databases, how much memory, when
 * a collection changes its encoding. Nothing about addresses, replication or passwords.
 */
const KEPT_SETTINGS = [
  'databases',
  'maxmemory',
  'maxmemory-policy',
  'appendonly',
  'appendfsync',
  'save',
  'hash-max-listpack-entries',
  'hash-max-listpack-value',
  'list-max-listpack-size',
  'list-compress-depth',
  'set-max-intset-entries',
  'set-max-listpack-entries',
  'set-max-listpack-value',
  'zset-max-listpack-entries',
  'zset-max-listpack-value',
  'stream-node-max-bytes',
  'stream-node-max-entries',
  'notify-keyspace-events',
  'proto-max-bulk-len',
];

export interface ServerState {
  /** For the early file: no password, no hash of one. */
  readonly description: JsonObject;
  /** Content of an `aclfile`, hashes included: it goes into a volume, where encryption covers it. Null when not allowed. */
  readonly aclFile: string | null;
  readonly warnings: readonly string[];
}

/** What an RDB does not hold (users, settings) and what a person wants to see of it (functions, modules). */
export async function readServerState(client: Redis): Promise<ServerState> {
  const warnings: string[] = [];
  const ask = async <T>(what: string, read: () => Promise<T>, otherwise: T): Promise<T> => {
    try {
      return await read();
    } catch (error) {
      // Managed services forbid these; the keys are what the backup is for, so it goes on and says what it lacks.
      if (!isNativeError(error) || error.name !== 'ReplyError') throw error;
      warnings.push(`${what} not captured: ${error.message}`);
      return otherwise;
    }
  };
  const acl = await ask('ACL users were', async () => client.acl('LIST'), null);
  const settings = await ask('settings were', async () => readSettings(client), {});
  const functions = await ask('the list of functions was', async () => readLibraries(client), []);
  const modules = await ask('the list of modules was', async () => readModules(client), []);
  return {
    description: { settings, functions, modules, users: (acl ?? []).map(withoutHashes) },
    aclFile: acl === null ? null : `${acl.join('\n')}\n`,
    warnings,
  };
}

async function readSettings(client: Redis): Promise<Record<string, string>> {
  const settings: Record<string, string> = {};
  for (const name of KEPT_SETTINGS) {
    const [key, value] = await client.config('GET', name);
    if (key !== undefined && value !== undefined) settings[key] = value;
  }
  return settings;
}

async function readLibraries(client: Redis): Promise<string[]> {
  const libraries = (await client.function('LIST')) as unknown[][];
  return libraries.map((fields) => String(fields[fields.indexOf('library_name') + 1])).toSorted();
}

async function readModules(client: Redis): Promise<string[]> {
  const modules = (await client.module('LIST')) as unknown[][];
  const field = (fields: unknown[], name: string) => String(fields[fields.indexOf(name) + 1]);
  return modules.map((fields) => `${field(fields, 'name')} ${field(fields, 'ver')}`).toSorted();
}

/** ACL rules carry passwords as unsalted SHA-256 (`#<64 hex>`), which a weak password does not survive. */
const withoutHashes = (rule: string) => rule.replace(/([#!])[0-9a-f]{64}/g, '$1***');
