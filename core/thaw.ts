import type { CallContext } from './call';
import type { Manifest } from './catalog';
import { formatBytes, formatDuration } from './clock';

/** How fast, and for what price, S3 brings back what lies in an archive class. */
export const THAW_TIERS = ['expedited', 'standard', 'bulk'] as const;
export type ThawTier = (typeof THAW_TIERS)[number];

export interface ThawSettings {
  readonly tier: ThawTier;
  /** How long the copies that can be read are kept. */
  readonly days: number;
}

export interface Amount {
  readonly objects: number;
  readonly sizeBytes: number;
}

/** What lies in archive classes of a chain and the log behind it, and how far it was brought back. */
export interface FrozenLook {
  readonly byClass: Readonly<Record<string, Amount>>;
  /** Of these, those with a copy that can be read. */
  readonly readable: Amount;
  /** Those that S3 is bringing back. */
  readonly asked: Amount;
  /** When the first of the copies goes again, ISO 8601; null where there is none. */
  readonly readableUntil: string | null;
}

/** What a restore has to ask back before it can read, small enough for a history. */
export interface ThawPlan extends FrozenLook, ThawSettings {
  readonly expectedSeconds: number;
  /** In US dollars, by the list prices of us-east-1; what is readable already costs nothing more. */
  readonly costDollars: number;
}

/** What a restore is going to read. */
export interface ReadScope {
  readonly chain: readonly Manifest[];
  /** Log that was stored between these, in milliseconds; null: none, or none that could be frozen. */
  readonly log: { readonly from: number; readonly to: number } | null;
}

/** The archive classes of the repository of one store. Every method may be repeated. */
export interface ColdStorage {
  /** What of it cannot be read at once. Null where all of it can. */
  look(scope: ReadScope, ctx: CallContext): Promise<FrozenLook | null>;
  /** Asks for all of it that is neither readable nor asked for yet; answers what there is then. */
  ask(scope: ReadScope, settings: ThawSettings, ctx: CallContext): Promise<FrozenLook | null>;
  /** Ids of the backups of which something lies in an archive class, by listings alone. */
  frozenBackups(): Promise<ReadonlySet<string>>;
}

/** Until S3 has a copy, at the longest; and its prices in dollars a GiB and a thousand requests (us-east-1, 2026). */
interface TierFacts {
  readonly seconds: number;
  readonly perGib: number;
  readonly perThousand: number;
}

const HOUR = 3_600;

/**
 * "Archive retrieval options" of the S3 User Guide, and its price list (an example with GLACIER's prices:
 * https://repost.aws/knowledge-center/s3-manage-data-retrieval). Deep Archive knows no expedited retrieval.
 */
const FACTS: Readonly<Record<string, Readonly<Record<ThawTier, TierFacts>>>> = {
  GLACIER: {
    expedited: { seconds: 5 * 60, perGib: 0.03, perThousand: 10 },
    standard: { seconds: 5 * HOUR, perGib: 0.01, perThousand: 0.05 },
    bulk: { seconds: 12 * HOUR, perGib: 0, perThousand: 0 },
  },
  DEEP_ARCHIVE: {
    expedited: { seconds: 12 * HOUR, perGib: 0.02, perThousand: 0.1 },
    standard: { seconds: 12 * HOUR, perGib: 0.02, perThousand: 0.1 },
    bulk: { seconds: 48 * HOUR, perGib: 0.0025, perThousand: 0.025 },
  },
};
/** Of the copies, while they are kept. */
const STANDARD_PER_GIB_MONTH = 0.023;
const GIB = 2 ** 30;

/** The tier that S3 knows for the class. */
export const tierFor = (storageClass: string, tier: ThawTier): ThawTier =>
  storageClass === 'DEEP_ARCHIVE' && tier === 'expedited' ? 'standard' : tier;

/** Until the last of objects in these classes can be read, at the longest. */
export const expectedSeconds = (classes: readonly string[], tier: ThawTier): number =>
  Math.max(0, ...classes.map((each) => FACTS[each]?.[tier].seconds ?? 0));

export function thawPlan(look: FrozenLook, settings: ThawSettings): ThawPlan {
  const all = totalOf(look);
  const share = all.objects === 0 ? 0 : (all.objects - look.readable.objects - look.asked.objects) / all.objects;
  const costs = Object.entries(look.byClass).map(([storageClass, { objects, sizeBytes }]) => {
    const { perGib, perThousand } = FACTS[storageClass]?.[settings.tier] ?? { perGib: 0, perThousand: 0 };
    return (
      (sizeBytes / GIB) * (perGib + (STANDARD_PER_GIB_MONTH * settings.days) / 30) + (objects / 1_000) * perThousand
    );
  });
  const isDone = look.readable.objects === all.objects;
  return {
    ...look,
    ...settings,
    expectedSeconds: isDone ? 0 : expectedSeconds(Object.keys(look.byClass), settings.tier),
    costDollars: share * costs.reduce((sum, each) => sum + each, 0),
  };
}

export function totalOf({ byClass }: FrozenLook): Amount {
  return Object.values(byClass).reduce(
    (sum, each) => ({ objects: sum.objects + each.objects, sizeBytes: sum.sizeBytes + each.sizeBytes }),
    { objects: 0, sizeBytes: 0 },
  );
}

export const isThawed = (look: FrozenLook | null): boolean =>
  look === null || look.readable.objects >= totalOf(look).objects;

/** What a person should know before they say yes. */
export function thawNote(plan: ThawPlan): string {
  const { objects, sizeBytes } = totalOf(plan);
  const what = `${objects} objects (${formatBytes(sizeBytes)}) lie in ${Object.keys(plan.byClass).join(' and ')}`;
  if (isThawed(plan)) return `${what}; copies of all of them can be read until ${plan.readableUntil}`;
  const cost = plan.costDollars < 0.01 ? 'less than $0.01' : `about $${plan.costDollars.toFixed(2)}`;
  return `${what} and are asked back first (${plan.tier}): that takes up to ${formatDuration(plan.expectedSeconds * 1_000)} and costs ${cost} (list price of us-east-1); the copies stay for ${plan.days} days`;
}

/** `31 of 40 objects can be read (1.2 GiB of 2.0 GiB)`. */
export function thawProgress(look: FrozenLook): string {
  const all = totalOf(look);
  return `${look.readable.objects} of ${all.objects} objects can be read (${formatBytes(look.readable.sizeBytes)} of ${formatBytes(all.sizeBytes)})`;
}

const FIRST_LOOK_SECONDS = 60;
/** Hours are waited for: looking more often would cost requests and a longer history. */
const LONGEST_LOOK_SECONDS = 3_600;

/** How long to wait before the next look: growing, so that minutes are noticed and two days stay some fifty looks. */
export const untilNextLook = (looks: number): number => Math.min(FIRST_LOOK_SECONDS * 2 ** looks, LONGEST_LOOK_SECONDS);

const BEYOND_SECONDS = 3 * 24 * HOUR;

/** Past this nothing will come any more by waiting: a person has to ask S3. */
export const thawDeadlineSeconds = (plan: Pick<ThawPlan, 'expectedSeconds'>): number =>
  2 * plan.expectedSeconds + BEYOND_SECONDS;
