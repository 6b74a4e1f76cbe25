import { lookAtServers, problemLines, type ServerLook } from '../../activities/servers';
import { formatDuration } from '../../core/clock';
import { reasonOf } from '../../core/errors';
import type { Front } from '../front';
import type { Session } from '../session';
import { relativeTime, shortTime, tableLines } from '../table';
import { listSchedules } from '../schedules';
import { logStatus } from './log';
import { listRuns } from './runs';

interface StoreSummary {
  readonly store: string;
  readonly engine: string;
  readonly newestBackup: string | null;
  readonly stateOf: string | null;
  readonly restorableUntil: string | null;
  readonly atRiskSeconds: number | null;
  readonly rpoSeconds: number;
  readonly judgement: string;
}

/** A part of the screen, or why it could not be had: one thing that is down must not hide the others. */
type Part<T> = { readonly value: T } | { readonly problem: string };

export function registerStatus(front: Front): void {
  front.command(
    front.program,
    'status',
    'one screen: which site is active, what could be restored, what runs',
    [['drctl status', 'are we safe?']],
    async (session) => {
      const [role, stores, servers, running, schedules] = await Promise.all([
        part(() => activeRole(session)),
        part(() => storeSummaries(session)),
        part(() => serverLooks(session)),
        part(async () =>
          (await listRuns(session, 20, " AND ExecutionStatus = 'Running'")).map(({ workflowId, type, startTime }) => ({
            workflowId,
            type,
            startedAt: startTime.toISOString(),
          })),
        ),
        part(() => listSchedules(session)),
      ]);
      const { application } = session;
      session.print({ application, role, stores, servers, running, schedules }, () => {
        const now = session.io.now();
        return [
          `${application}: ${show(role, ({ activeSite, since }) => `active at ${activeSite}${since ? ` since ${shortTime(since)}` : ''}`)}`,
          '',
          ...showLines(stores, 'stores', (each) => storeLines(each, now)),
          '',
          ...showLines(servers, 'servers', serverLines),
          '',
          ...showLines(running, 'running', (each) =>
            each.length === 0
              ? ['nothing runs']
              : tableLines(
                  ['running', 'what', 'since'],
                  each.map((run) => [run.workflowId, run.type, relativeTime(run.startedAt, now)]),
                ),
          ),
          '',
          ...showLines(schedules, 'schedules', (each) =>
            tableLines(
              ['schedule', 'state', 'next'],
              each.map(({ name, state, nextAt }) => [name, state, nextAt ? relativeTime(nextAt, now) : '-']),
            ),
          ),
        ];
      });
    },
  );
}

async function activeRole(session: Session) {
  const current = await (await session.open()).epochs.current();
  return {
    activeSite: current?.activeSite ?? session.config.initialSite,
    epoch: current?.epoch ?? 0,
    since: current?.takenAt ?? null,
  };
}

/** Every database server, from this machine. */
async function serverLooks(session: Session): Promise<ServerLook[]> {
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  const leaving = new AbortController();
  void session.io.interrupted.then(() => leaving.abort());
  return lookAtServers(await session.open(), { signal: leaving.signal, log, progress() {} });
}

/** What should be mended while there is time; a screen without it says that it looked. */
export function serverLines(servers: readonly ServerLook[]): string[] {
  const silent = servers.filter(({ reachable }) => !reachable);
  const answering = `${servers.length - silent.length} of ${servers.length} servers answer from this machine`;
  const problems = problemLines(servers);
  return problems.length === 0
    ? [`${answering}, nothing to mend`]
    : [`${answering}; to mend:`, ...problems.map((line) => `  ! ${line}`)];
}

async function storeSummaries(session: Session): Promise<StoreSummary[]> {
  const open = await session.open();
  const names = Object.keys(session.config.stores);
  const logs = await logStatus(session, names);
  return Promise.all(
    open.application.stores.map(async ({ name, engine, rpoSeconds }): Promise<StoreSummary> => {
      const newest = (await open.catalog(name).list(name)).at(-1) ?? null;
      const log = logs.find(({ store }) => store === name);
      const ageSeconds = newest ? (session.io.now().getTime() - Date.parse(newest.consistentAt)) / 1_000 : null;
      const atRiskSeconds = log ? log.atRiskSeconds : ageSeconds;
      return {
        store: name,
        engine,
        newestBackup: newest?.backupId ?? null,
        stateOf: newest?.consistentAt ?? null,
        restorableUntil: log ? (log.windows.at(-1)?.to ?? null) : (newest?.consistentAt ?? null),
        atRiskSeconds,
        rpoSeconds,
        judgement: log?.problem
          ? `LOG CANNOT BE READ: ${log.problem}`
          : judge(newest !== null, atRiskSeconds, rpoSeconds),
      };
    }),
  );
}

function judge(hasBackup: boolean, atRiskSeconds: number | null, rpoSeconds: number): string {
  if (!hasBackup) return 'NO BACKUP';
  if (atRiskSeconds === null) return 'UNKNOWN';
  return atRiskSeconds > rpoSeconds ? 'OVER ITS RPO' : 'ok';
}

function storeLines(stores: readonly StoreSummary[], now: Date): string[] {
  return tableLines(
    ['store', 'engine', 'newest backup', 'at risk', 'objective', ''],
    stores.map((each) => [
      each.store,
      each.engine,
      each.stateOf ? relativeTime(each.stateOf, now) : 'none',
      each.atRiskSeconds === null ? 'unknown' : formatDuration(each.atRiskSeconds * 1_000),
      formatDuration(each.rpoSeconds * 1_000),
      each.judgement,
    ]),
  );
}

async function part<T>(get: () => Promise<T>): Promise<Part<T>> {
  try {
    return { value: await get() };
  } catch (error) {
    return { problem: reasonOf(error) };
  }
}

const show = <T>(of: Part<T>, text: (value: T) => string) =>
  'value' in of ? text(of.value) : `unknown: ${of.problem}`;
const showLines = <T>(of: Part<T>, what: string, lines: (value: T) => string[]) =>
  'value' in of ? lines(of.value) : [`${what} unknown: ${of.problem}`];
