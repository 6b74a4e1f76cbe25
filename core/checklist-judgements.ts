import type { ChecklistPeriod, Finding } from './checklist';
import { formatBytes, formatDuration } from './clock';
import type { ProofKind, ProofSummary } from './proofs';
import { alarming, type ReadinessResult } from './readiness';
import type { RunReport } from './report/run-report';
import type { CheckHealthResult, StoreHealth } from './runs';

/** What was found, judged for a checklist. Pure; each takes what other parts of drctl find out anyway. */
const holds = (found: string): Finding => ({ holds: true, found });
const fails = (found: string): Finding => ({ holds: false, found });

export function judgeBackups({ stores }: CheckHealthResult): Finding {
  const bad = stores.filter(({ status }) => status !== 'healthy');
  const why = ({ reasons }: StoreHealth) => reasons.map(({ text }) => text).join('; ');
  if (bad.length > 0) return fails(bad.map((each) => `${each.store}: ${why(each)}`).join('; '));
  const ages = stores.map(({ store, lastBackupAgeHours }) => `${store} ${age(lastBackupAgeHours)}`);
  return holds(`every store is healthy; newest backups: ${ages.join(', ')}`);
}

const age = (hours: number | null) => (hours === null ? 'of unknown age' : `${formatDuration(hours * 3_600_000)} old`);

/** How old what is looked at once a period may be: the period, and some hours for a run that is late. */
const MAX_AGE_HOURS: Readonly<Record<ChecklistPeriod, number>> = {
  daily: 26,
  weekly: 7 * 24 + 12,
  monthly: 32 * 24,
  quarterly: 93 * 24,
};

/** The newest proof of each store, of the kind that is wanted or of one that looks deeper. */
export interface StoreProofs {
  readonly store: string;
  readonly newest: readonly ProofSummary[];
  /** Of the newest restore that was kept; null where there is none. */
  readonly restore: {
    readonly proofId: string;
    readonly recoverySeconds: number;
    readonly rtoSeconds: number;
    readonly lossSeconds: number | null;
    readonly rpoSeconds: number;
  } | null;
}

const AS_DEEP: Readonly<Record<'full' | 'restore', readonly ProofKind[]>> = {
  full: ['full', 'restore'],
  restore: ['restore'],
};
const DEED = { full: 'read completely', restore: 'restored and read' } as const;

export function judgeProofs(
  stores: readonly StoreProofs[],
  kind: 'full' | 'restore',
  period: ChecklistPeriod,
  now: string,
): Finding {
  const found = stores.map(({ store, newest }) => {
    const [proof] = newest
      .filter((each) => AS_DEEP[kind].includes(each.kind))
      .toSorted((a, b) => (a.at < b.at ? 1 : -1));
    if (!proof) return fails(`${store}: no backup of it was ever ${DEED[kind]}`);
    const milliseconds = Date.parse(now) - Date.parse(proof.at);
    const ago = `${formatDuration(milliseconds)} ago`;
    if (proof.result === 'failed') return fails(`${store}: proof ${proof.proofId} failed ${ago}`);
    return milliseconds > MAX_AGE_HOURS[period] * 3_600_000
      ? fails(`${store}: ${DEED[kind]} ${ago}, which is too long`)
      : holds(`${store} ${ago}`);
  });
  return together(found, `${DEED[kind]}: `);
}

/** Whether restores that were really done kept the objectives; a store that was never restored is not known to. */
export function judgeObjectives(stores: readonly StoreProofs[]): Finding {
  const text = (seconds: number) => formatDuration(seconds * 1_000);
  const found = stores.map(({ store, restore }) => {
    if (!restore) return fails(`${store}: it was never restored, so its recovery time is not known`);
    const { recoverySeconds, rtoSeconds, lossSeconds, rpoSeconds } = restore;
    const loss = lossSeconds === null ? '' : `, lost at most ${text(lossSeconds)} of ${text(rpoSeconds)}`;
    const line = `${store}: back in ${text(recoverySeconds)} of ${text(rtoSeconds)}${loss}`;
    return recoverySeconds <= rtoSeconds && (lossSeconds === null || lossSeconds <= rpoSeconds)
      ? holds(line)
      : fails(`${line}: OVER`);
  });
  return together(found, '');
}

/** Which of the looks at readiness say that standbys follow, and which that the DR site is connected. */
const REPLICATION = /^(worker|standby|history|loss|stores)\b/;
const NETWORK = /^(worker|standby|control|control-repository|backups|fence|dns|name-servers|traffic)\b/;

export const judgeReplication = (result: ReadinessResult): Finding => judgeLooks(result, REPLICATION);
export const judgeNetwork = (result: ReadinessResult): Finding => judgeLooks(result, NETWORK);

export function judgeDrSite(result: ReadinessResult): Finding {
  const { toSite, verdict, score } = result;
  // What was found of each is in the other items; the dry run has all of it.
  const bad = alarming(result.checks).map(({ title }) => title);
  return verdict === 'ready'
    ? holds(`${toSite} is ready to take over, ${score} of 100`)
    : fails(`${toSite} is not ready to take over, ${score} of 100: ${bad.join(', ')} (drctl plan failover --dry-run)`);
}

function judgeLooks({ checks, toSite }: ReadinessResult, which: RegExp): Finding {
  const looks = checks.filter(({ id }) => which.test(id));
  const bad = alarming(looks);
  if (bad.length > 0) return fails(bad.map(({ title, found }) => `${title}: ${found}`).join('; '));
  if (looks.length <= 1) return holds(`there is nothing of it at ${toSite}`); // the worker alone
  return holds(looks.map(({ title, found }) => `${title}: ${found}`).join('; '));
}

export function judgeDrill(
  report: Pick<RunReport, 'id' | 'verdict' | 'outcome' | 'because' | 'endedAt'> | null,
  now: string,
): Finding {
  if (!report) return fails('there is no report of a drill');
  const ago = `${formatDuration(Date.parse(now) - Date.parse(report.endedAt))} ago`;
  const line = `${report.id}: ${report.outcome} ${ago}; ${report.because}`;
  const fresh = Date.parse(now) - Date.parse(report.endedAt) <= MAX_AGE_HOURS.monthly * 3_600_000;
  if (!fresh) return fails(`${line}; that is too long ago`);
  return report.verdict === 'achieved' ? holds(line) : fails(line);
}

/** Whether there is one to be sent; what it says is for the one who sends it. */
export function judgeReadinessReport(
  report: Pick<RunReport, 'id' | 'outcome' | 'because' | 'endedAt'> | null,
  now: string,
): Finding {
  if (!report) return fails('there is no report on a month (drctl report readiness)');
  const madeAgo = Date.parse(now) - Date.parse(report.endedAt);
  const line = `${report.id}, made ${formatDuration(madeAgo)} ago: ${report.outcome}; ${report.because}`;
  return madeAgo <= MAX_AGE_HOURS.monthly * 3_600_000 ? holds(line) : fails(`${line}; that is too long ago`);
}

export interface StoredOfStore {
  readonly store: string;
  readonly backups: number;
  readonly storedBytes: number;
  /** Stored in the last 30 days. */
  readonly monthBytes: number;
  /** Of the newest full: what the next one is expected to need. */
  readonly fullBytes: number;
}

/** A disk that a worker writes to. */
export interface DiskSpace {
  readonly site: string;
  readonly use: 'spool' | 'repository';
  readonly directory: string;
  readonly freeBytes: number;
  readonly totalBytes: number;
}

/** Room for all next fulls at once and as much again: a dump that is tried again keeps both for a moment. */
const SPOOL_FACTOR = 2;

export function judgeCapacity(stores: readonly StoredOfStore[], disks: readonly (DiskSpace | Finding)[]): Finding {
  const sum = (of: (each: StoredOfStore) => number) => stores.reduce((total, each) => total + of(each), 0);
  const neededBytes = {
    spool: SPOOL_FACTOR * sum(({ fullBytes }) => fullBytes),
    repository: sum((each) => each.monthBytes),
  };
  const found = disks.map((disk) => {
    if ('holds' in disk) return disk;
    const { site, use, directory, freeBytes, totalBytes } = disk;
    const line = `${use} ${directory} at ${site}: ${formatBytes(freeBytes)} of ${formatBytes(totalBytes)} free`;
    return freeBytes >= neededBytes[use] ? holds(line) : fails(`${line}, ${formatBytes(neededBytes[use])} are needed`);
  });
  const stored = `${formatBytes(sum((each) => each.storedBytes))} in ${sum((each) => each.backups)} backups, ${formatBytes(sum((each) => each.monthBytes))} of the last 30 days`;
  return together([holds(stored), ...found], '');
}

/** What is wrong where something is, else all of it. */
function together(found: readonly Finding[], before: string): Finding {
  const bad = found.filter((each) => !each.holds);
  const words = (some: readonly Finding[]) => some.map((each) => each.found).join('; ');
  return bad.length > 0 ? fails(words(bad)) : holds(`${before}${words(found)}`);
}
