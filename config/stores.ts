import { z } from 'zod';
import { engineEntries, ENGINE_KINDS, type EngineKind, type MirrorSettings } from '../adapters/engines/registry';
import { directory } from './paths-and-secrets';
import { duration, name, type Duration } from './values';

/** The part of a store that is the same for every engine. */
const common = {
  repository: name.optional().meta({ description: 'Name of a repository; the default one where it is left out' }),
  rpo: duration
    .optional()
    .meta({ description: "Data that may be lost; the application's objective where it is left out" }),
  restore: z
    .strictObject({ directory: directory.optional(), host: z.string().optional(), osUser: z.string().optional() })
    .optional()
    .meta({ description: 'Where this store is restored to by default' }),
};

export interface StoreConfig {
  readonly engine: EngineKind;
  readonly repository?: string | undefined;
  readonly rpo?: Duration | undefined;
  readonly restore?:
    | {
        readonly directory?: string | undefined;
        readonly host?: string | undefined;
        readonly osUser?: string | undefined;
      }
    | undefined;
  /** The sites that have an endpoint of this store. */
  readonly sites: readonly string[];
  /** What its engine is, and what its settings ask for; see `EngineEntry`. */
  readonly hasLog: boolean;
  readonly hasReplication: boolean;
  readonly catchesUp: boolean;
  /** Sites with several servers of which a promotion chooses one. */
  readonly choosesAt: readonly string[];
  readonly mirrors: readonly MirrorSettings[];
  /** `host:port` of the servers at each site that have a role to change. */
  readonly servers: Readonly<Record<string, readonly string[]>>;
  /** As the engine's own schema parsed it; handed to `engineEntries[engine].create` unseen. */
  readonly settings: Readonly<Record<string, unknown>>;
}

function split(parsed: Record<string, unknown>): StoreConfig {
  const { engine, repository, rpo, restore, ...settings } = parsed;
  const entry = engineEntries[engine as EngineKind];
  const servers = entry.servers(settings);
  const several = Object.keys(servers).filter((site) => (servers[site]?.length ?? 0) > 1);
  return {
    engine,
    hasLog: entry.hasLog,
    hasReplication: entry.hasReplication,
    catchesUp: entry.catchesUp,
    choosesAt: entry.hasCandidates ? several : [],
    mirrors: entry.mirrors(settings),
    servers,
    repository,
    rpo,
    restore,
    sites: Object.keys((settings['sites'] as object | undefined) ?? {}),
    settings,
  } as StoreConfig;
}

const [first, ...others] = ENGINE_KINDS.map((kind) =>
  engineEntries[kind].settings.safeExtend({ engine: z.literal(kind), ...common }),
);
if (!first) throw new Error('no engine is registered');

export const storeSettings = z.discriminatedUnion('engine', [first, ...others]).transform(split);
