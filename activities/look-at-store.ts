import { type Manifest, withWholeChains } from '../core/catalog';
import type { CatalogSurvey, DamagedManifest } from '../core/catalog-store';
import { hasCode, reasonOf } from '../core/errors';
import { GAP_TOLD_SECONDS } from '../core/monitoring/store-view';
import type { RecoveryWindow } from '../core/recovery';
import { gapsBetween, type WindowGap } from '../core/recovery-gaps';
import type { OpenApplication } from './deps';
import type { KnownDamage } from './known-damage';
import { unrestorable } from './unrestorable';

/**
 * Backups whose manifests are read, besides those that they build on: of a log, a day of the strategy's schedule, in which a gap
 * is told; without a log the newest alone matters, and the one before it where it cannot be read. What is older changes nothing of
 * what is at risk now, and thousands of them take longer to read than anybody waits for a screen.
 */
const LOOKED_AT = { withLog: 7, withoutLog: 2 } as const;
/** Where all of those are known to be damaged. */
const LOOKED_FURTHER_AT = 50;

/**
 * `counted`: every backup is listed. To list thousands takes longer than all the rest, so that for a person who waits they are
 * not: `newest`. `vouched`: and somebody has read every manifest just now, so that only those are read that decide how far the
 * store can be restored.
 */
export type LookDepth = 'counted' | 'newest' | 'vouched';

/** How far a store can be restored. */
export interface Reach {
  /** Null where that is not known. */
  readonly until: string | null;
  /** In the log of the last days; empty for a store without one. */
  readonly gaps: readonly WindowGap[];
  /** Why its log cannot be judged; null where it can, or where it has none. */
  readonly problem: string | null;
}

export interface Look extends Omit<CatalogSurvey, 'ids'> {
  /** Null where they were not listed. */
  readonly ids: readonly string[] | null;
  readonly reach: Reach;
}

/** What is stored of a store, and how far that reaches without what is known to be damaged. */
export async function look(
  open: OpenApplication,
  store: string,
  at: string,
  known: KnownDamage,
  depth: LookDepth,
): Promise<Look> {
  const lost = await unrestorable(open, store, known);
  const quick = depth === 'vouched' ? await lookQuickly(open, store, at, lost) : null;
  if (quick) return quick;
  const catalog = open.catalog(store);
  const count = open.logArchive(store) ? LOOKED_AT.withLog : LOOKED_AT.withoutLog;
  const seen =
    depth === 'counted' ? await catalog.survey(store, count) : { ...(await catalog.newest(store, count)), ids: null };
  const { backups, damaged } = seen;
  if (backups.length > 0 && soundOf(backups, damaged, lost).length === 0) {
    const further = await catalog.newest(store, LOOKED_FURTHER_AT);
    return { ...seen, ...further, reach: await reachOf(open, store, further, lost) };
  }
  return { ...seen, reach: await reachOf(open, store, seen, lost) };
}

type Seen = Omit<CatalogSurvey, 'ids'>;

/**
 * The newest backup, and the newest full from before the time in which gaps are told. When together they reach from there to the
 * end, what was taken between them changes nothing of that; null where they do not, or something of them is damaged.
 */
async function lookQuickly(open: OpenApplication, store: string, at: string, lost: KnownDamage): Promise<Look | null> {
  const hasLog = open.logArchive(store) !== null;
  const since = new Date(Date.parse(at) - GAP_TOLD_SECONDS * 1_000).toISOString();
  const seen = await open.catalog(store).newest(store, 1, hasLog ? { fullBefore: since } : {});
  const { backups, damaged } = seen;
  if (damaged.length > 0 || soundOf(backups, damaged, lost).length < backups.length) return null;
  if (hasLog && !backups.some(({ consistentAt }) => consistentAt < since)) return null;
  const reach = await reachOf(open, store, seen, lost);
  const isWhole = reach.until !== null && reach.problem === null && reach.gaps.length === 0;
  return isWhole ? { ...seen, ids: null, reach } : null;
}

async function reachOf(
  open: OpenApplication,
  store: string,
  { backups, damaged }: Seen,
  lost: KnownDamage,
): Promise<Reach> {
  const sound = soundOf(backups, damaged, lost);
  const own = open.logArchive(store);
  if (own === null) return { until: sound.at(-1)?.consistentAt ?? null, gaps: [], problem: null };
  const log = lost.log.length > 0 ? open.verifier(store).logWithout(new Set(lost.log)) : own;
  try {
    const windows = await open.engine(store).windows({ backups: sound, log });
    return { until: newestOf(windows), gaps: gapsBetween(windows), problem: null };
  } catch (error) {
    // What is damaged of one store must not hide how the others are.
    if (!hasCode(error, 'BackupCorrupt')) throw error;
    return { until: null, gaps: [], problem: reasonOf(error) };
  }
}

/** Those that a restore can do with, and everything that they build on. */
function soundOf(backups: readonly Manifest[], damaged: readonly DamagedManifest[], lost: KnownDamage): Manifest[] {
  const out = new Set([...damaged, ...lost.backups].map(({ backupId }) => backupId));
  return withWholeChains(backups.filter(({ backupId }) => !out.has(backupId)));
}

function newestOf(windows: readonly RecoveryWindow[]): string | null {
  return (
    windows
      .map(({ to }) => to)
      .toSorted((a, b) => Date.parse(a) - Date.parse(b))
      .at(-1) ?? null
  );
}
