import type { CallContext } from '../core/call';
import type { Json } from '../core/catalog';
import { hasCode } from '../core/errors';
import { layout } from '../core/layout';
import type { ReadinessScore, Recovery, ReplicationLag, ServerState } from '../core/monitoring/facts';
import type { KeptReadiness } from '../core/readiness';
import { readReport, type RunReport } from '../core/report/run-report';
import { estimateLoss } from '../core/replication';
import type { OpenApplication } from './deps';
import { isRecord, readKept } from './kept-state';
import { readSamples } from './sample-log';

/** How long a database server may take to say how it is. */
const SERVER_MILLISECONDS = 4_000;

/** By the newest sample that the watch has kept; stores that were never sampled are left out. */
export async function observeReplication(open: OpenApplication): Promise<ReplicationLag[]> {
  const samples = await readSamples(open.control);
  return open.application.stores.flatMap(({ name: store, hasReplication }): ReplicationLag[] => {
    const ofStore = samples[store] ?? [];
    const newest = ofStore.at(-1);
    if (!hasReplication || !newest) return [];
    const { positions } = open.engine(store);
    const { seconds, bytes } = estimateLoss(store, ofStore, newest.standby, newest.takenAt, (a, b) =>
      positions.compare(a, b),
    );
    // A bound that has a dead primary's age in it is a loss, not a lag: without its answer the lag is not known.
    const measured = newest.primary !== null;
    return [{ store, sampledAt: newest.takenAt, seconds: measured ? seconds : null, bytes: measured ? bytes : null }];
  });
}

/** What the newest look at each site found; sites that were never looked at are left out. */
export async function observeReadiness(open: OpenApplication): Promise<ReadinessScore[]> {
  const kept = open.application.sites.map(async (site): Promise<ReadinessScore[]> => {
    const look = await readKeptReadiness(open, site);
    if (!look) return [];
    const { at, verdict, score } = look.result;
    return [{ site, at, ready: verdict === 'ready', score }];
  });
  return (await Promise.all(kept)).flat();
}

/** The newest look at a site; null where it was never looked at. Throws BackupCorrupt where it is damaged. */
export async function readKeptReadiness({ control }: OpenApplication, site: string): Promise<KeptReadiness | null> {
  return readKept(control, layout.readiness(site), isKeptReadiness);
}

function isKeptReadiness(value: unknown): value is KeptReadiness {
  if (!isRecord(value) || !isRecord(value['result']) || !isRecord(value['told'])) return false;
  const { at, verdict, score } = value['result'];
  return (
    typeof at === 'string' &&
    typeof verdict === 'string' &&
    typeof score === 'number' &&
    Array.isArray(value['told']['ids'])
  );
}

/** The database servers of one site; a store that does not live there is left out. */
export async function observeServers(open: OpenApplication, site: string, ctx: CallContext): Promise<ServerState[]> {
  const signal = AbortSignal.any([ctx.signal, AbortSignal.timeout(SERVER_MILLISECONDS)]);
  const databases = open.application.stores.filter(({ hasLog, hasReplication }) => hasLog || hasReplication);
  const looks = databases.map(async ({ name: store }): Promise<ServerState[]> => {
    try {
      const { reachable, role, writable, keptLog } = await open.engine(store).probe(site, { ...ctx, signal });
      return [{ store, reachable, role, writable, keptLog: keptLog ?? null }];
    } catch (error) {
      if (hasCode(error, 'NotFound')) return [];
      ctx.signal.throwIfAborted();
      // What does not answer in time is down for whoever needs it.
      return [{ store, reachable: false, role: 'unknown', writable: null, keptLog: null }];
    }
  });
  return (await Promise.all(looks)).flat();
}

/** Reports that are looked through for the newest recovery of each kind. */
const REPORTS_LOOKED_AT = 50;

/** The newest recovery of each kind that reached its end. `known` spares reading a report again: they never change. */
export async function observeRecoveries(
  { control }: OpenApplication,
  known: Map<string, Recovery | null>,
): Promise<Recovery[]> {
  const found: { readonly key: string; readonly modifiedAt: string }[] = [];
  // Of the checklists there are so many that those of recoveries would soon not be among the newest.
  const isOther = (key: string) => !key.endsWith('.json') || key.startsWith(`${layout.reports()}checklist-`);
  for await (const object of control.list(layout.reports())) if (!isOther(object.key)) found.push(object);
  const newestFirst = found.toSorted((a, b) => b.modifiedAt.localeCompare(a.modifiedAt)).slice(0, REPORTS_LOOKED_AT);
  const byOperation = new Map<string, Recovery>();
  for (const { key } of newestFirst) {
    if (!known.has(key)) known.set(key, recoveryOf(await readStored(control, key)));
    const recovery = known.get(key);
    if (recovery && !byOperation.has(recovery.operation)) byOperation.set(recovery.operation, recovery);
  }
  return [...byOperation.values()];
}

async function readStored(control: OpenApplication['control'], key: string): Promise<RunReport | null> {
  try {
    return readReport(JSON.parse((await control.read(key)).toString('utf8')) as Json);
  } catch (error) {
    // A report that cannot be read says nothing of how long anything took; `drctl report list` shows it as it is.
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/** What is told by how long it took; reports of other kinds bring nothing back. */
const RECOVERIES: readonly RunReport['kind'][] = ['failover', 'switchover', 'restore', 'drill'];

/** From the approval, where people were asked: how long they thought about it is no property of the recovery. */
function recoveryOf(report: RunReport | null): Recovery | null {
  if (!report || (report.verdict !== 'achieved' && report.verdict !== 'attention')) return null;
  const { kind, recovery, decisions, startedAt, endedAt } = report;
  if (!RECOVERIES.includes(kind)) return null;
  // Of a drill only what brings the stores back: all the rest of it is looking.
  const rehearsed = report.drill?.stages.find(({ stage }) => stage === 'recovery');
  if (rehearsed) return rehearsed.state === 'held' ? { operation: kind, seconds: rehearsed.seconds, endedAt } : null;
  const approvedAt = recovery?.approvedAt ?? decisions?.findLast(({ command }) => command === 'approve')?.at ?? null;
  const until = recovery ? recovery.verifiedAt : endedAt;
  if (until === null) return null;
  const seconds = Math.max(0, (Date.parse(until) - Date.parse(approvedAt ?? startedAt)) / 1_000);
  return { operation: kind, seconds, endedAt };
}
