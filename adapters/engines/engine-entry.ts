import type { z } from 'zod';
import type { Engine } from '../../core/engine';

/** A directory of a store whose exact copy is kept where the public reads it. */
export interface MirrorSettings {
  readonly from: string;
  readonly to: { readonly repository: string; readonly prefix: string };
  readonly maxDeleteShare: number;
}

/** What the config and the wiring know of an engine; its code is loaded only where a store uses it. */
export interface EngineEntry {
  /** The engine's own part of a store in the config; strict, with `sites` (site → endpoint). */
  readonly settings: z.ZodObject;
  /** Whether it can be restored to any instant between backups. */
  readonly hasLog: boolean;
  /** Whether it lives at several sites and has a role to change. */
  readonly hasReplication: boolean;
  /** Whether a replica of it can take archived log before its promotion (`Replication.catchUp`). */
  readonly catchesUp: boolean;
  /** Whether a promotion chooses one of a site's servers, and the others have to follow it. */
  readonly hasCandidates: boolean;
  /** What its settings ask to be mirrored; `settings` is what the schema above made of the config, here and below. */
  mirrors(settings: unknown): readonly MirrorSettings[];
  /** `host:port` of the servers at each site that have the role which a role change moves; none for engines without one. */
  servers(settings: unknown): Readonly<Record<string, readonly string[]>>;
  /** Connects to nothing yet. */
  create(store: string, settings: unknown): Promise<Engine>;
}

interface EngineFacts<S extends z.ZodObject> {
  readonly settings: S;
  readonly hasLog: boolean;
  readonly hasReplication: boolean;
  readonly catchesUp?: boolean;
  readonly hasCandidates?: boolean;
  mirrors?(settings: z.output<S>): readonly MirrorSettings[];
  servers?(settings: z.output<S>): Readonly<Record<string, readonly string[]>>;
  /**
   * `require`s the engine, so that a process loads only the drivers of those that it uses (`import()` of a CommonJS file
   * without extension is not to be had under `module: node20`).
   */
  create(store: string, settings: z.output<S>): Engine;
}

/** Ties an engine's schema to the functions that take its output. */
export function engineEntry<S extends z.ZodObject>(facts: EngineFacts<S>): EngineEntry {
  const { settings, hasLog, hasReplication, catchesUp = false, hasCandidates = false } = facts;
  return {
    settings,
    hasLog,
    hasReplication,
    catchesUp,
    hasCandidates,
    mirrors: (parsed) => facts.mirrors?.(parsed as z.output<S>) ?? [],
    servers: (parsed) => facts.servers?.(parsed as z.output<S>) ?? {},
    create: async (store, parsed) => facts.create(store, parsed as z.output<S>),
  };
}

/** For engines with one such server a site. */
export function oneServerEach(
  sites: Readonly<Record<string, { readonly host: string; readonly port: number }>>,
): Readonly<Record<string, readonly string[]>> {
  return Object.fromEntries(Object.entries(sites).map(([site, { host, port }]) => [site, [`${host}:${port}`]]));
}
