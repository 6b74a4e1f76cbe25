import type { z } from 'zod';
import type { Engine } from '../../core/engine';
import { settings as filesSettings } from './files/settings';
import { settings as mongodbSettings } from './mongodb/settings';
import { settings as postgresqlSettings } from './postgresql/settings';
import { settings as redisSettings } from './redis/settings';

/** What the config and the wiring know of an engine; its code is loaded only where a store uses it. */
export interface EngineEntry {
  /** The engine's own part of a store in the config; strict, with `sites` (site → endpoint). */
  readonly settings: z.ZodObject;
  /** Whether it can be restored to any instant between backups. */
  readonly hasLog: boolean;
  /** Whether it lives at several sites and has a role to change. */
  readonly hasReplication: boolean;
  /** `settings` is what the schema above made of the config. */
  create(store: string, settings: unknown): Promise<Engine>;
}

/** Ties an engine's schema to the factory that takes its output. */
function entry<S extends z.ZodObject>(
  settings: S,
  traits: { readonly hasLog: boolean; readonly hasReplication: boolean },
  create: (store: string, settings: z.output<S>) => Promise<Engine>,
): EngineEntry {
  return { settings, ...traits, create: (store, parsed) => create(store, parsed as z.output<S>) };
}

/**
 * `require` inside the functions: a process loads only the drivers of the engines that it uses (`import()` of a CommonJS
 * file without extension is not to be had under `module: node20`).
 *
 * A new engine is one folder and one line here (and a run of the contract suite).
 */
export const engineEntries = {
  postgresql: entry(
    postgresqlSettings,
    { hasLog: true, hasReplication: true },
    async (store, { sites, toolsDirectory, ...settings }) =>
      (require('./postgresql/engine') as typeof import('./postgresql/engine')).createPostgresqlEngine({
        store,
        sites,
        settings,
        toolsDirectory,
      }),
  ),
  mongodb: entry(mongodbSettings, { hasLog: true, hasReplication: true }, async (store, settings) =>
    (require('./mongodb/engine') as typeof import('./mongodb/engine')).createMongodbEngine({ store, settings }),
  ),
  redis: entry(redisSettings, { hasLog: false, hasReplication: true }, async (store, settings) =>
    (require('./redis/engine') as typeof import('./redis/engine')).createRedisEngine({ store, settings }),
  ),
  files: entry(filesSettings, { hasLog: false, hasReplication: false }, async (store, settings) =>
    (require('./files/engine') as typeof import('./files/engine')).createFilesEngine({ store, settings }),
  ),
} as const satisfies Record<string, EngineEntry>;

export type EngineKind = keyof typeof engineEntries;
export const ENGINE_KINDS = Object.keys(engineEntries) as EngineKind[];
