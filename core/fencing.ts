import type { CallContext } from './call';

/**
 * Why the old primary cannot accept writes. `proven`: seen to be true of the old primary itself (its processes are gone by
 * its host's word, a write was refused by it, a majority elected elsewhere); `weak`: asked for but not seen; `attested`: a
 * named person vouches for it. A timeout or a refused connection proves nothing (rule 9).
 */
export interface FenceEvidence {
  readonly strength: 'proven' | 'weak' | 'attested' | 'none';
  /** The site that is fenced. */
  readonly site: string;
  /** Stores that the evidence covers. */
  readonly stores: readonly string[];
  readonly epoch: number;
  readonly at: string;
  /** How, in words for the report: "power controller killed 5 processes and saw them gone". */
  readonly how: string;
  readonly by: string;
  /** Where servers ended that it shut down cleanly, as far as the fence can read that; a kill leaves nothing to read. */
  readonly ended?: readonly StoreEnd[];
  /** As `Replication.mustForce`, as the fence found it; absent where the promotion need not be forced. */
  readonly mustForce?: string;
}

/** What asking the old primary of a store to refuse writes would come to today, with the rights that its account has now. */
export interface FenceOutlook {
  /** The strongest evidence that the store's own fence could give. */
  readonly strength: FenceEvidence['strength'];
  /** What that is, or why it could be no more. */
  readonly how: string;
  /** What its account or its settings lack for what the config asks of the fence, and what to do about each. */
  readonly lacking: readonly string[];
  /** What would end a planned hand-over there, and what to do about each. */
  readonly handOverLacks: readonly string[];
}

/** Where a server ended, by its own files after a clean shutdown. Nothing was ever acknowledged behind it. */
export interface StoreEnd {
  readonly store: string;
  /** As the engine writes them; PostgreSQL: `<system id>/<timeline>` and the LSN of the shutdown checkpoint. */
  readonly lineage: string;
  readonly value: string;
}

/** What a planned role change asks of a fence. */
export interface FenceScope {
  /** These are enough, the others at the site shall go on (as standbys); a fence that can only take the whole site does that. */
  readonly stores: readonly string[];
  /** How long their servers may take to shut down cleanly before they are killed. */
  readonly endWithinSeconds: number;
}

/** Somebody's word that what is left of a store shall go on alone, without those that could outvote it. */
export interface ForceAttestation {
  readonly by: string;
  readonly reason: string;
  readonly at: string;
}

/** The file system that a store's data are on. */
export interface StoreDisk {
  readonly store: string;
  readonly freeBytes: number;
  readonly totalBytes: number;
}

/** Something that can make a whole site unable to write: its host's agent, a cloud's power API. */
export interface SiteFence {
  readonly kind: string;
  /**
   * Fences the site for this epoch and proves it; repeatable. The fence persists: a site that comes back stays fenced.
   * Throws FencingUnconfirmed where it cannot be proven, StaleEpoch when a newer epoch holds the fence.
   */
  fence(site: string, epoch: number, ctx: CallContext, scope?: FenceScope): Promise<FenceEvidence>;
  /**
   * After the promotion elsewhere: starts a store that it shut down cleanly again, as a standby, and lifts the fence from it
   * alone. Repeatable. False where it cannot do that; StaleEpoch when another epoch holds the fence.
   */
  startStandby?(
    place: { readonly site: string; readonly store: string },
    epoch: number,
    ctx: CallContext,
  ): Promise<boolean>;
  /**
   * Undoes the fence before anything was promoted: lifts it and starts again what it stopped, nothing else. Repeatable; only
   * with the epoch that set it or a newer one (StaleEpoch). It does not wait until what it started serves.
   */
  unfence(site: string, epoch: number, ctx: CallContext): Promise<Unfenced>;
  /** How full the disks of the site's stores are, as far as the fence can see them; absent where it cannot. */
  disks?(site: string, ctx: CallContext): Promise<readonly StoreDisk[]>;
  /**
   * Whether it could be asked to fence something now, as far as that can be seen without asking it to; changes nothing.
   * Answers the epoch that fences the site already, null where none does or the fence does not say. Throws what is wrong.
   */
  check(site: string, ctx: CallContext): Promise<{ readonly fencedByEpoch: number | null }>;
}

export interface Unfenced {
  /** What was started again; empty where the fence was lifted by an earlier call, or where it does not say. */
  readonly started: readonly string[];
  /** For people, a line each: what somebody else has to start, or starts by itself (systemd, Kubernetes). */
  readonly notes: readonly string[];
}

/**
 * Rule 2: every store needs a proof or an attestation. Names the stores that have neither. With `roleChange`, evidence of
 * another epoch does not count (the site may have been unfenced since), nor does evidence about the site that is promoted:
 * it says nothing about the one that must not write.
 */
export function unfencedStores(
  stores: readonly string[],
  evidence: readonly FenceEvidence[],
  roleChange?: { readonly epoch: number; readonly promotedSite: string },
): string[] {
  const strong = evidence.filter(
    ({ strength, site, epoch }) =>
      (strength === 'proven' || strength === 'attested') &&
      (!roleChange || (epoch === roleChange.epoch && site !== roleChange.promotedSite)),
  );
  return stores.filter((store) => !strong.some((each) => each.stores.includes(store)));
}

/** As `unfencedStores`, for a promotion by force: nobody's word replaces the proof that the old primary is dead. */
export function unprovenStores(
  stores: readonly string[],
  evidence: readonly FenceEvidence[],
  roleChange: { readonly epoch: number; readonly promotedSite: string },
): string[] {
  return unfencedStores(
    stores,
    evidence.filter(({ strength }) => strength === 'proven'),
    roleChange,
  );
}

/** Stores whose old primary nobody has proven to be unable to write: somebody's word let them be promoted. */
export interface HoldFenceInput {
  readonly application: string;
  readonly stores: readonly string[];
  readonly site: string;
  readonly survivingSite: string;
  readonly epoch: number;
  /** Those of `stores` whose old primary answered when it was asked to refuse writes: it never was away. */
  readonly answering?: readonly string[];
}
