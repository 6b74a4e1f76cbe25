import { seedBulkRedis } from '../../lab/shop/seed-bulk';
import { once, sizeWords } from '../parts';
import type { Rig } from '../rig';
import { protect, type Side } from './product';
import { startServer } from './server';

/** What the figures share; each server is started and filled when the first of them needs it. */
export interface Stand {
  readonly rig: Rig;
  readonly rounds: number;
  readonly say: (line: string) => void;
  readonly megabytes: number;
  readonly loadSeconds: number;
  /** Commands that are replayed. */
  readonly commands: number;
  /** Of the memory's values: Redis' own limit is 512 MB. */
  readonly valueBytes: number;
  /** Sessions as hashes. */
  readonly sessions: () => Promise<Side>;
  readonly empty: (name: string) => Promise<Side>;
}

const MEGABYTES = 1_000;
const SEED = 1;
const FULL = { loadSeconds: 60, commands: 2_000_000, valueBytes: 512 * 2 ** 20 };
/** For a run with little data, which is to try the benchmark out. */
const TRIAL = { loadSeconds: 8, commands: 200_000, valueBytes: 64 * 2 ** 20 };

export function stand(rig: Rig, options: { rounds: number; megabytes: number | null }): Stand {
  const megabytes = options.megabytes ?? MEGABYTES;
  const empty = async (name: string) => protect(rig, await startServer(rig, name));
  const filled = async () => {
    const server = await startServer(rig, 'sessions');
    rig.say(`writing ${sizeWords(megabytes)} of sessions`);
    await seedBulkRedis(server.url, { sizeBytes: megabytes * 1e6, seed: SEED });
    return protect(rig, server);
  };
  return {
    rig,
    say: rig.say,
    rounds: options.rounds,
    megabytes,
    ...(options.megabytes === null ? FULL : TRIAL),
    sessions: once(filled),
    empty,
  };
}
