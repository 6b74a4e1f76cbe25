import type { EngineEntry } from './engine-entry';
import { files } from './files/entry';
import { mongodb } from './mongodb/entry';
import { postgresql } from './postgresql/entry';
import { redis } from './redis/entry';

export type { EngineEntry, MirrorSettings } from './engine-entry';

/** Under the names that the config uses. A new engine is one folder, its name here, and a run of the contract suite. */
export const engineEntries = { postgresql, mongodb, redis, files } as const satisfies Record<string, EngineEntry>;

export type EngineKind = keyof typeof engineEntries;
export const ENGINE_KINDS = Object.keys(engineEntries) as EngineKind[];
