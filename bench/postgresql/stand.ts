import { type Chain, ourChain, pgBackRestChain } from './chain';
import { startCluster } from './cluster';
import { type PgBackRest, pgBackRest, pgBackRestMissing } from './peers/pgbackrest';
import { protect, type Side } from './product';
import { once } from '../parts';
import type { Rig } from '../rig';
import { postgres15, postgres18, type PostgresVersion } from './versions';

/** What the figures share; each cluster is started when the first of them needs it. */
export interface Stand {
  readonly rig: Rig;
  readonly rounds: number;
  readonly say: (line: string) => void;
  readonly megabytes: number;
  readonly smallMegabytes: number;
  readonly loadSeconds: number;
  /** What Debian's peers can be measured on; null where there is no PostgreSQL 15. */
  readonly version15: PostgresVersion | null;
  readonly on18: () => Promise<Side>;
  readonly on15: () => Promise<Side>;
  /** The small cluster, on 18. */
  readonly small: () => Promise<Side>;
  /** Over the cluster of `on15`. */
  readonly pgBackRest: () => Promise<PgBackRest>;
  /** Full and incrementals of ours on 18, which several figures grow and use. */
  readonly ourChain: () => Promise<Chain>;
  readonly pgBackRestChain: () => Promise<Chain>;
  /** Why pgBackRest cannot be measured here; null when it can. */
  readonly pgBackRestMissing: string | null;
}

const NO_POSTGRES_15 = "PostgreSQL 15 is not installed: Debian's package postgresql-15 has it";
const MEGABYTES = 2_500;
/** The small cluster is a fifth of the large one. */
const SMALL_SHARE = 0.2;
const LOAD_SECONDS = 60;
/** For a run with little data, which is to try the benchmark out. */
const TRIAL_LOAD_SECONDS = 12;

export function stand(rig: Rig, options: { rounds: number; megabytes: number | null }): Stand {
  const megabytes = options.megabytes ?? MEGABYTES;
  const smallMegabytes = Math.max(10, Math.round(megabytes * SMALL_SHARE));
  const version15 = postgres15();
  const side = (version: () => PostgresVersion, size: number) =>
    once(async (): Promise<Side> => {
      const cluster = await startCluster(rig, version(), size);
      return { cluster, product: await protect(rig, cluster) };
    });
  const on15 = side(() => {
    if (version15) return version15;
    throw new Error(NO_POSTGRES_15);
  }, megabytes);
  const on18 = side(postgres18, megabytes);
  const peer = once(async () => pgBackRest(rig, (await on15()).cluster));
  return {
    rig,
    say: rig.say,
    rounds: options.rounds,
    megabytes,
    smallMegabytes,
    loadSeconds: options.megabytes === null ? LOAD_SECONDS : TRIAL_LOAD_SECONDS,
    version15,
    on18,
    on15,
    small: side(postgres18, smallMegabytes),
    pgBackRest: peer,
    ourChain: once(async () => ourChain(await on18())),
    pgBackRestChain: once(async () => pgBackRestChain(await on15(), await peer())),
    pgBackRestMissing: version15 ? pgBackRestMissing() : NO_POSTGRES_15,
  };
}
