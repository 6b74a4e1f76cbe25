import { readTally } from '../activities/backup-tally';
import { readKeptHealth } from '../activities/kept-health';
import { observeReadiness } from '../activities/observe-application';
import { observeStore } from '../activities/observe-stores';
import { lookAtServers, type ServerLook } from '../activities/servers';
import { reasonOf } from '../core/errors';
import type { ReadinessScore } from '../core/monitoring/facts';
import { lagSecondsOf } from '../core/monitoring/copy-view';
import {
  atRiskSeconds,
  contentProvenAt,
  type HealthReason,
  type HealthStatus,
  judgeStore,
  statusOf,
} from '../core/monitoring/store-view';
import { type Tally, tallyOf } from '../core/monitoring/tally';
import type { KeptHealth } from '../core/monitoring/told';
import { workflowIds } from '../core/names';
import { listRuns } from './commands/runs';
import { type ListedSchedule, listSchedules } from './schedules';
import type { Session } from './session';

/** A part of the screen, or why it could not be had: one thing that is down must not hide the others. */
export type Part<T> = { readonly value: T } | { readonly problem: string };

export interface StoreStatus {
  readonly store: string;
  readonly engine: string;
  readonly status: HealthStatus;
  readonly reasons: readonly HealthReason[];
  readonly newestBackup: string | null;
  readonly stateOf: string | null;
  /** Whether something of the newest backup is stored without encryption; null where there is none. */
  readonly isPlain: boolean | null;
  readonly restorableUntil: string | null;
  readonly atRiskSeconds: number | null;
  readonly rpoSeconds: number;
  readonly provenAt: string | null;
  /** Each copy, and how far it is behind; null where that is not known. */
  readonly copies: readonly { readonly copy: string; readonly lagSeconds: number | null }[];
}

export interface RunningNow {
  /** The archivers and the watch, which always run. */
  readonly followers: readonly string[];
  readonly others: readonly { readonly workflowId: string; readonly type: string; readonly startedAt: string }[];
}

export interface StatusFacts {
  readonly at: string;
  readonly application: string;
  readonly role: Part<{ readonly activeSite: string; readonly epoch: number; readonly since: string | null }>;
  readonly stores: readonly (readonly [store: string, Part<StoreStatus>])[];
  /** Which backups failed is among it. */
  readonly counted: Part<Tally>;
  readonly servers: Part<readonly ServerLook[]>;
  readonly running: Part<RunningNow>;
  readonly schedules: Part<readonly ListedSchedule[]>;
  readonly readiness: Part<readonly ReadinessScore[]>;
  /** The data key that new backups and log are encrypted with; null: they are stored plain. */
  readonly encryptionKeyId: string | null;
  /** Ids of the runs that should always be there. */
  readonly wantedFollowers: readonly string[];
}

export type Safety = 'SAFE' | 'LOOK AT IT' | 'NOT SAFE';

export interface Verdict {
  readonly safety: Safety;
  /** Worst first: what makes it unsafe, then what should be looked at. */
  readonly unsafe: readonly string[];
  readonly toLookAt: readonly string[];
}

/**
 * A person waits: servers and Temporal that need this much longer than the stores' own judgement are not well. On a machine
 * that is busy that judgement takes its time as well, and none of them is called silent for it.
 */
const ANSWER_MILLISECONDS = 1_200;
/** Of Temporal: a connection that comes later would come too late for the screen. */
const CONNECT_MILLISECONDS = 3_000;
/** It runs every five minutes; an older one vouches for nothing, and the newest manifests are read again. */
const CHECK_BELIEVED_MILLISECONDS = 3_600_000;
/** More than any application has at once. */
const RUNS_LISTED = 500;

/** Everything at once; nothing is changed. */
export async function lookAtAll(session: Session): Promise<StatusFacts> {
  session.connectWithinMilliseconds = CONNECT_MILLISECONDS;
  const open = await session.open();
  const at = session.io.now().toISOString();
  const { application } = session;
  // Which backups failed is a reason more; without it the others hold.
  const tally = partOf(() => readTally(open));
  const health = await partOf(() => readKeptHealth(open));
  const checked = 'value' in health ? checkedLately(health.value, at) : new Map<string, CheckedStore>();
  const lastFailureAt = async (store: string) => {
    const counted = await tally;
    return 'value' in counted ? tallyOf(counted.value, store).lastFailureAt : null;
  };
  const judged = Promise.all(
    open.application.stores.map(
      async ({ name }) =>
        [
          name,
          await partOf(async () => storeStatus(session, name, at, await lastFailureAt(name), checked.get(name))),
        ] as const,
    ),
  );
  const late = after(judged, ANSWER_MILLISECONDS);
  const [role, stores, servers, running, schedules, readiness] = await Promise.all([
    partOf(async () => {
      const current = await open.epochs.current();
      return {
        activeSite: current?.activeSite ?? session.config.initialSite,
        epoch: current?.epoch ?? 0,
        since: current?.takenAt ?? null,
      };
    }),
    judged,
    partOf(() => serverLooks(session, late)),
    partOf(() => answered(runningNow(session), late)),
    partOf(() => answered(listSchedules(session), late)),
    partOf(() => observeReadiness(open)),
  ]);
  const logged = open.application.stores.filter(({ hasLog }) => hasLog);
  const wantedFollowers = logged.map(({ name }) => workflowIds.archive(application, name));
  const encryptionKeyId = session.config.encryption?.key ?? null;
  const counted = await tally;
  return {
    at,
    application,
    role,
    stores,
    counted,
    servers,
    running,
    schedules,
    readiness,
    encryptionKeyId,
    wantedFollowers,
  };
}

/** What a health check of the last hour found in the manifests of a store, all of which it has read. */
interface CheckedStore {
  readonly damaged: readonly HealthReason[];
}

function checkedLately(kept: KeptHealth | null, at: string): ReadonlyMap<string, CheckedStore> {
  const isLate = !kept || Date.parse(at) - Date.parse(kept.result.at) > CHECK_BELIEVED_MILLISECONDS;
  if (isLate) return new Map();
  // One that could not be looked at has no newest backup there.
  const readable = kept.result.stores.filter(({ lastBackupAt }) => lastBackupAt !== null);
  const said = ({ alert }: HealthReason) => alert === 'backupDamaged';
  const dated = (reason: HealthReason) => ({
    ...reason,
    text: `${reason.text} (the health check of ${kept.result.at})`,
  });
  return new Map(readable.map(({ store, reasons }) => [store, { damaged: reasons.filter(said).map(dated) }]));
}

async function storeStatus(
  session: Session,
  store: string,
  at: string,
  lastFailureAt: string | null,
  checked: CheckedStore | undefined,
): Promise<StoreStatus> {
  const open = await session.open();
  const view = await observeStore(open, store, at, lastFailureAt, checked ? 'vouched' : 'newest');
  const isSeen = ({ text }: HealthReason) => view.damaged.some(({ backupId }) => text.includes(backupId));
  const reasons = [
    ...judgeStore(view, open.application.monitoring),
    ...(checked?.damaged ?? []).filter((reason) => !isSeen(reason)),
  ];
  return {
    store,
    engine: view.engine,
    status: statusOf(reasons),
    reasons,
    newestBackup: view.newest?.backupId ?? null,
    stateOf: view.newest?.consistentAt ?? null,
    isPlain: view.newest?.isPlain ?? null,
    restorableUntil: view.restorableUntil,
    atRiskSeconds: atRiskSeconds(view),
    rpoSeconds: view.rpoSeconds,
    provenAt: contentProvenAt(view.proofs),
    copies: (view.copies ?? []).map((each) => ({ copy: each.copy, lagSeconds: lagSecondsOf(each, at) })),
  };
}

/** Every database server, from this machine. */
async function serverLooks(session: Session, late: AbortSignal): Promise<ServerLook[]> {
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  const leaving = new AbortController();
  void session.io.interrupted.then(() => leaving.abort());
  const ctx = { signal: leaving.signal, log, progress() {} };
  return lookAtServers(await session.open(), ctx, late);
}

async function runningNow(session: Session): Promise<RunningNow> {
  const runs = await listRuns(session, RUNS_LISTED, " AND ExecutionStatus = 'Running'");
  const follows = (id: string) =>
    id.startsWith(workflowIds.archive(session.application, '')) || id === workflowIds.watch(session.application);
  return {
    followers: runs.map(({ workflowId }) => workflowId).filter(follows),
    others: runs
      .filter(({ workflowId }) => !follows(workflowId))
      .map(({ workflowId, type, startTime }) => ({ workflowId, type, startedAt: startTime.toISOString() })),
  };
}

/** Judges what was found: an error of a store, or one that nobody can judge, is not safe. */
export function verdictOf({
  stores,
  counted,
  servers,
  running,
  schedules,
  readiness,
  role,
  encryptionKeyId,
  wantedFollowers,
}: StatusFacts): Verdict {
  const reasonsOf = (status: HealthReason['status']) =>
    stores.flatMap(([store, part]) =>
      'value' in part
        ? part.value.reasons.filter((each) => each.status === status).map(({ text }) => `${store}: ${text}`)
        : status === 'error'
          ? [`${store} cannot be judged: ${part.problem}`]
          : [],
    );
  const unsafe = reasonsOf('error');
  const unknown = (what: string, part: Part<unknown>) =>
    'problem' in part ? [`${what} not known: ${part.problem}`] : [];
  const value = <T>(part: Part<T>): T | null => ('value' in part ? part.value : null);
  const activeSite = value(role)?.activeSite;
  const plain = stores.flatMap(([store, part]) => (value(part)?.isPlain ? [store] : []));
  const toLookAt = [
    ...reasonsOf('warning'),
    ...(encryptionKeyId !== null && plain.length > 0
      ? [
          `encryption is on, and the newest backup of ${plain.join(', ')} is not encrypted: restart the workers, back up`,
        ]
      : []),
    ...unknown('the active site is', role),
    ...unknown('which backups failed is', counted),
    ...unknown('the servers are', servers),
    ...unknown('what runs is', running),
    ...('problem' in running ? [] : unknown('the schedules are', schedules)),
    ...unknown('the readiness is', readiness),
    ...(value(running)
      ? wantedFollowers
          .filter((id) => !value(running)?.followers.includes(id))
          .map((id) => `${id} does not run: start it with drctl schedules apply`)
      : []),
    ...(value(schedules) ?? [])
      .filter(({ state }) => state !== 'active')
      .map(({ name, state }) => `the schedule ${name} is ${state}`),
    ...(value(readiness) ?? [])
      .filter(({ site, ready }) => !ready && site !== activeSite)
      .map(({ site }) => `a failover to ${site} would not succeed today: drctl plan failover --dry-run`),
    ...(value(servers) ?? []).flatMap(({ store, site, problems }) =>
      problems.map((problem) => `${store} at ${site}: ${problem}`),
    ),
  ];
  return { safety: unsafe.length > 0 ? 'NOT SAFE' : toLookAt.length > 0 ? 'LOOK AT IT' : 'SAFE', unsafe, toLookAt };
}

async function partOf<T>(get: () => Promise<T>): Promise<Part<T>> {
  try {
    return { value: await get() };
  } catch (error) {
    return { problem: reasonOf(error) };
  }
}

/** Aborts so long after `work` has ended, however it did, as a timeout. */
function after(work: Promise<unknown>, milliseconds: number): AbortSignal {
  const late = new AbortController();
  const expire = () => late.abort(new DOMException('it took longer than a look may take', 'TimeoutError'));
  void Promise.allSettled([work]).then(() => setTimeout(expire, milliseconds).unref());
  return late.signal;
}

async function answered<T>(asked: Promise<T>, late: AbortSignal): Promise<T> {
  asked.catch(() => undefined); // who waits may have gone by then
  const silent = new Promise<never>((_, reject) => {
    late.addEventListener('abort', () => reject(new Error('Temporal does not answer')), { once: true });
  });
  return Promise.race([asked, silent]);
}
