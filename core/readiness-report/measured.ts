import { type UptimeCount, countDay, outagesOf, unknownDay } from '../uptime';
import type { ReadinessFacts } from './facts';
import { daysOf, isWithin } from './period';
import type {
  BackupsSection,
  Exposure,
  Recovery,
  RunOfPeriod,
  SiteReadiness,
  StoreProven,
  UptimeSection,
} from './report';

/** What was recorded of a month, put together. Nothing here judges. */
export function uptimeOf({ uptime, endpoints, period, targets }: ReadinessFacts): UptimeSection | null {
  if (uptime === null || endpoints === 0) return null;
  const { from, until } = period;
  const records = daysOf(period).map((day) => uptime.find((each) => each.day === day) ?? unknownDay(day));
  const days = records.map((record) => countDay(record, from, until));
  const sum = (of: (day: UptimeCount) => number) => days.reduce((total, day) => total + of(day), 0);
  const minutes = sum((day) => day.upMinutes + day.downMinutes + day.unknownMinutes);
  return {
    days,
    outages: outagesOf(records, from, until),
    upMinutes: sum((day) => day.upMinutes),
    downMinutes: sum((day) => day.downMinutes),
    unknownMinutes: sum((day) => day.unknownMinutes),
    allowedMinutes: (minutes * (100 - targets.uptimePercent)) / 100,
  };
}

export function backupsOf({ backups, tally, period, stores }: ReadinessFacts): BackupsSection | null {
  if (backups === null || tally === null) return null;
  const countOf = (store: string, day: string) => {
    const counted = tally.stores[store]?.days?.[day];
    const there = (backups[store] ?? []).filter(({ committedAt }) => committedAt.startsWith(day)).length;
    // What retention has removed since stays counted; what was there before days were counted is there to be seen.
    return { succeeded: Math.max(counted?.succeeded ?? 0, there), failed: counted?.failed ?? 0 };
  };
  const days = daysOf(period);
  const sum = (runs: readonly { readonly succeeded: number; readonly failed: number }[]) =>
    runs.reduce(
      (total, { succeeded, failed }) => ({ succeeded: total.succeeded + succeeded, failed: total.failed + failed }),
      { succeeded: 0, failed: 0 },
    );
  const { daysSince } = tally;
  return {
    days: days.map((day) => ({ day, ...sum(stores.map(({ store }) => countOf(store, day))) })),
    stores: stores.map(({ store }) => ({
      store,
      ...sum(days.map((day) => countOf(store, day))),
      longestGapSeconds: longestGap(
        (backups[store] ?? []).map(({ committedAt }) => committedAt),
        period,
      ),
    })),
    failuresSince: daysSince === undefined ? period.until : daysSince > period.from ? daysSince : null,
  };
}

/** From the newest backup before the period, or its beginning, to its end. */
function longestGap(committed: readonly string[], { from, until }: ReadinessFacts['period']): number | null {
  const times = committed.filter((at) => at < until).toSorted();
  if (times.length === 0) return null;
  const points = [...(times[0] !== undefined && times[0] > from ? [from] : []), ...times, until].map((at) =>
    Date.parse(at),
  );
  return Math.max(...points.slice(1).map((at, index) => at - (points[index] ?? at))) / 1_000;
}

export function exposuresOf({ stores, health, period }: ReadinessFacts): Exposure[] {
  const days = daysOf(period).map((day) => health?.find((each) => each.day === day));
  return stores.map(({ store, rpoSeconds }) => {
    const seen = days.flatMap((day) => day?.stores[store] ?? []);
    const worst = seen.flatMap(({ rpoWorstSeconds }) => rpoWorstSeconds ?? []);
    const sum = (of: 'looks' | 'rpoUnknown' | 'rpoOver') => seen.reduce((total, day) => total + day[of], 0);
    return {
      store,
      objectiveSeconds: rpoSeconds,
      worstSeconds: worst.length > 0 ? Math.max(...worst) : null,
      looks: sum('looks'),
      unknown: sum('rpoUnknown'),
      over: sum('rpoOver'),
      daysUnseen: days.length - seen.length,
    };
  });
}

/** Restores of copies of a person's own are left out: how long somebody took to approve one is no property of the recovery. */
export function recoveriesOf({ proofs, runs }: ReadinessFacts): Recovery[] {
  const restored = Object.entries(proofs ?? {}).flatMap(([store, all]) =>
    all.flatMap(({ at, restore }): Recovery[] => {
      if (!restore) return [];
      const { recoverySeconds: seconds, rtoSeconds, lossSeconds, rpoSeconds } = restore;
      const loss = { lossSeconds, lossObjectiveSeconds: lossSeconds === null ? null : rpoSeconds };
      return [{ what: `restore of ${store}`, at, seconds, objectiveSeconds: rtoSeconds, ...loss }];
    }),
  );
  const moved = (runs ?? []).flatMap(({ kind, recovery, move }): Recovery[] => {
    if (!recovery || recovery.verifiedAt === null || !move) return [];
    const { outageFrom, verifiedAt: at, objectiveSeconds } = recovery;
    const seconds = (Date.parse(at) - Date.parse(outageFrom)) / 1_000;
    const what = `${kind} ${move.from} → ${move.to}`;
    return [{ what, at, seconds, objectiveSeconds, lossSeconds: null, lossObjectiveSeconds: null }];
  });
  return [...restored, ...moved].toSorted((a, b) => (a.at < b.at ? -1 : 1));
}

export function provenOf({ stores, proofs }: ReadinessFacts): StoreProven[] | null {
  if (proofs === null) return null;
  return stores.map(({ store }) => {
    const all = proofs[store] ?? [];
    const count = (kind: string) => ({
      proven: all.filter((each) => each.kind === kind && each.result === 'proven').length,
      failed: all.filter((each) => each.kind === kind && each.result === 'failed').length,
    });
    const read = all.filter(({ kind }) => kind !== 'quick');
    const newest = ['quick', 'full', 'restore'].flatMap((kind) => all.find((each) => each.kind === kind) ?? []);
    const failing = newest.find(({ result }) => result === 'failed');
    return {
      store,
      full: count('full'),
      restore: count('restore'),
      objects: read.reduce((sum, { objects }) => sum + objects, 0),
      damaged: read.reduce((sum, { damaged }) => sum + damaged, 0),
      stillFailing: failing ? `${failing.proofId}${failing.problem === null ? '' : `: ${failing.problem}`}` : null,
    };
  });
}

export function readinessOf({ readiness, period }: ReadinessFacts): SiteReadiness[] {
  return (readiness ?? []).map(({ site, days }) => {
    const byDay = daysOf(period).map((day) => {
      const { looks = 0, ready = 0, lowestScore = null } = days.find((each) => each.day === day) ?? {};
      return { day, looks, ready, lowestScore };
    });
    const sum = (of: 'looks' | 'ready') => byDay.reduce((total, day) => total + day[of], 0);
    return { site, days: byDay, looks: sum('looks'), ready: sum('ready') };
  });
}

export function runsOf({ runs, period }: ReadinessFacts): RunOfPeriod[] {
  return (runs ?? [])
    .filter(({ endedAt }) => isWithin(period, endedAt))
    .map(({ id, kind, outcome, verdict, because, startedAt, endedAt }) => {
      const seconds = (Date.parse(endedAt) - Date.parse(startedAt)) / 1_000;
      return { id, kind, outcome, verdict, because, endedAt, seconds };
    });
}
