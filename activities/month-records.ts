import { basicTime } from '../core/clock';
import type { HealthDay, ReadinessDay } from '../core/day-records';
import { hasCode, reasonOf } from '../core/errors';
import { layout } from '../core/layout';
import type { ProofSummary } from '../core/proofs';
import type { CommittedBackup, Period, ProofOfPeriod, StoredPart, StoredSum } from '../core/readiness-report/facts';
import { daysOf, isWithin } from '../core/readiness-report/period';
import { readReport, type RunReport } from '../core/report/run-report';
import type { Json } from '../core/catalog';
import type { Finding } from '../core/verification';
import { readUptimeDay, type UptimeDay } from '../core/uptime';
import { readDay } from './day-records';
import type { OpenApplication } from './deps';
import { readKeptHealth } from './kept-health';
import { readKeptReadiness } from './observe-application';

/** Where the time without a new backup began is in no backup of the period: one that is older tells. */
const LOOKED_BACK_MILLISECONDS = 40 * 86_400_000;

export async function readBackups(open: OpenApplication, store: string, { from }: Period): Promise<CommittedBackup[]> {
  const after = basicTime(new Date(Date.parse(from) - LOOKED_BACK_MILLISECONDS).toISOString());
  const manifests = await open.catalog(store).list(store, { after });
  return manifests.map(({ backupId, type, startedAt, committedAt }) => ({ backupId, type, startedAt, committedAt }));
}

/** Newest first. One that cannot be read counts as failed, and hides no other. */
export async function readProofs(open: OpenApplication, store: string, period: Period): Promise<ProofOfPeriod[]> {
  const listed = (await open.proofs(store).list(store)).filter(({ at }) => isWithin(period, at));
  const found: ProofOfPeriod[] = [];
  for (const summary of listed) found.push(await readProof(open, summary));
  return found;
}

async function readProof(open: OpenApplication, summary: ProofSummary): Promise<ProofOfPeriod> {
  const { store, proofId, kind, result, at } = summary;
  const named = { proofId, kind, at };
  // A quick look reads no data: its name says what came of it.
  if (kind === 'quick') return { ...named, result, objects: 0, damaged: 0, problem: null, restore: null };
  try {
    const { looked, findings, moreFindings, problem, restore } = await open.proofs(store).get(store, proofId);
    // What an earlier proof found is counted there.
    const isNew = ({ severity, foundBy }: Finding) => severity === 'damage' && foundBy === undefined;
    const damaged = findings.filter(isNew).length + moreFindings;
    return { ...named, result, objects: looked.objects + looked.logPieces, damaged, problem, restore };
  } catch (error) {
    if (!hasCode(error, 'BackupCorrupt')) throw error;
    const problem = `the proof itself cannot be read: ${reasonOf(error)}`;
    return { ...named, result: 'failed', objects: 0, damaged: 0, problem, restore: null };
  }
}

/** Those that ended in the period, oldest first; what this version cannot read tells nothing. */
export async function readRuns({ control }: OpenApplication, period: Period): Promise<RunReport[]> {
  const runs: RunReport[] = [];
  for await (const { key, modifiedAt } of control.list(layout.reports())) {
    // Stored when it had ended; those on months are no runs.
    const isOne =
      key.endsWith('.json') && modifiedAt >= period.from && !key.startsWith(`${layout.reports()}readiness-`);
    const report = isOne ? readReport(await readStored(control, key)) : null;
    if (report && isWithin(period, report.endedAt)) runs.push(report);
  }
  return runs.toSorted((a, b) => (a.endedAt < b.endedAt ? -1 : 1));
}

/** Null where it is not there, or is no JSON. */
export async function readStored(control: OpenApplication['control'], key: string): Promise<Json> {
  try {
    return JSON.parse((await control.read(key)).toString('utf8')) as Json;
  } catch (error) {
    if (error instanceof SyntaxError || hasCode(error, 'NotFound')) return null;
    throw error;
  }
}

export async function readUptime({ control }: OpenApplication, period: Period): Promise<UptimeDay[]> {
  const days = daysOf(period).map(async (day) => readUptimeDay(day, await readDay(control, day, 'uptime')));
  return (await Promise.all(days)).filter((day) => day !== null);
}

export async function readHealth({ control }: OpenApplication, period: Period): Promise<HealthDay[]> {
  const days = await Promise.all(daysOf(period).map((day) => readDay(control, day, 'health')));
  return days.filter((day) => day !== null) as HealthDay[];
}

export async function readReadiness(
  { control, application }: OpenApplication,
  period: Period,
): Promise<{ site: string; days: ReadinessDay[] }[]> {
  return Promise.all(
    application.sites.map(async (site) => {
      const days = await Promise.all(daysOf(period).map((day) => readDay(control, day, `readiness-${site}`)));
      return { site, days: days.filter((day) => day !== null) as ReadinessDay[] };
    }),
  );
}

export async function readLastHealth(open: OpenApplication) {
  return (await readKeptHealth(open))?.result ?? null;
}

export async function readLastReadiness(open: OpenApplication) {
  const kept = open.application.sites.map((site) => readKeptReadiness(open, site));
  return (await Promise.all(kept)).flatMap((each) => each?.result ?? []);
}

/** A page of listing for each thousand objects. */
export async function addUpStored({ repositories }: OpenApplication, period: Period): Promise<StoredSum> {
  const parts = new Map<string, StoredPart>();
  const addedByDay: Record<string, number> = {};
  for (const each of repositories) {
    const repository = each.name;
    for await (const { key, sizeBytes, storageClass, modifiedAt } of each.list('data/')) {
      const [, content = '', store = ''] = key.split('/');
      const name = [repository, store, content, storageClass].join('/');
      const sum = parts.get(name) ?? { repository, store, content, storageClass, bytes: 0, objects: 0 };
      parts.set(name, { ...sum, bytes: sum.bytes + sizeBytes, objects: sum.objects + 1 });
      const day = modifiedAt.slice(0, 10);
      if (isWithin(period, modifiedAt)) addedByDay[day] = (addedByDay[day] ?? 0) + sizeBytes;
    }
  }
  return { parts: [...parts.values()], addedByDay };
}
