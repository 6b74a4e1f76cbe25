import { once, sizeWords } from '../parts';
import type { Rig } from '../rig';
import { fillLarge, fillMixed } from './documents';
import { mongoTools, type MongoTools } from './peers/mongo-tools';
import { protect, type Side } from './product';
import { startReplicaSet } from './replica-set';

/** What the figures share; each set is started and filled when the first of them needs it. */
export interface Stand {
  readonly rig: Rig;
  readonly rounds: number;
  readonly say: (line: string) => void;
  readonly megabytes: number;
  /** Of the memory's smaller one. */
  readonly smallMegabytes: number;
  readonly loadSeconds: number;
  /** Changes that are replayed. */
  readonly changes: number;
  readonly mixed: () => Promise<Side>;
  /** A tenth of the mixed documents: what changes are replayed on. */
  readonly changing: () => Promise<Side>;
  /** 16 MB documents; of another size each time, and stopped by who asked for it. */
  readonly large: (megabytes: number) => Promise<Side>;
  /** Null where they are not on PATH. */
  readonly tools: MongoTools | null;
}

const MEGABYTES = 2_000;
const SMALL_SHARE = 0.25;
const CHANGING_SHARE = 0.1;
const LOAD_SECONDS = 60;
const CHANGES = 400_000;
/** Documents of 16 MB do not fit into the lab's cache of 0.25. */
const LARGE_CACHE_GIGABYTES = 1;
/** For a run with little data, which is to try the benchmark out. */
const TRIAL = { loadSeconds: 8, changes: 20_000 };

export function stand(rig: Rig, options: { rounds: number; megabytes: number | null }): Stand {
  const megabytes = options.megabytes ?? MEGABYTES;
  const filled = async (name: string, size: number, fill: typeof fillMixed, cacheGigabytes?: number): Promise<Side> => {
    const set = await startReplicaSet(rig, name, cacheGigabytes);
    rig.say(`writing ${sizeWords(size)} of documents to ${name}`);
    await fill(set.client, size * 1e6);
    await set.settled();
    return protect(rig, set);
  };
  return {
    rig,
    say: rig.say,
    rounds: options.rounds,
    megabytes,
    smallMegabytes: Math.max(10, Math.round(megabytes * SMALL_SHARE)),
    ...(options.megabytes === null ? { loadSeconds: LOAD_SECONDS, changes: CHANGES } : TRIAL),
    mixed: once(() => filled('mixed', megabytes, fillMixed)),
    changing: once(() => filled('changing', megabytes * CHANGING_SHARE, fillMixed)),
    large: (size) => filled(`large-${size}mb`, size, fillLarge, LARGE_CACHE_GIGABYTES),
    tools: mongoTools(),
  };
}
