import { hasCode, reasonOf } from '../../core/errors';
import { FAILURES } from '../../core/failure-classes';
import { workflowIds } from '../../core/names';
import { gapsBetween } from '../../core/recovery-gaps';
import { isRunning } from '../../workers/is-running';
import type { Front } from '../front';
import { logLines, type LogStatus, type WatchedLog } from '../log-lines';
import type { Session } from '../session';

export function registerLog(front: Front): void {
  const group = front.group('log', 'the archived logs');
  front.command(
    group,
    'status [stores...]',
    'the times that can be restored, the gaps, how much is at risk now, what the server keeps',
    [['drctl log status', 'every store that has a log']],
    async (session, named) => {
      const stores = await Promise.all(
        (await logStatus(session, session.stores(named, named.length === 0))).map((each) => watched(session, each)),
      );
      const { hasColour } = session.io;
      session.print(stores, () => logLines(stores, session.io.now(), hasColour));
      return stores.some(({ problem }) => problem !== null) ? FAILURES.BackupCorrupt.exitCode : 0;
    },
  );
}

/** Read from the repository alone, but for the archiver's state. What is damaged of one store hides no other. */
export async function logStatus(session: Session, stores: readonly string[]): Promise<LogStatus[]> {
  const open = await session.open();
  const logged = stores.filter((store) => open.logArchive(store) !== null);
  return Promise.all(
    logged.map(async (store) => {
      const backups = await open.catalog(store).list(store);
      const catalog = { backups, log: open.logArchive(store) };
      const { windows, problem } = await open
        .engine(store)
        .windows(catalog)
        .then(
          (found) => ({ windows: found, problem: null }),
          (error: unknown) => {
            if (!hasCode(error, 'BackupCorrupt')) throw error;
            return { windows: [], problem: reasonOf(error) };
          },
        );
      const until = windows.at(-1)?.to;
      return {
        store,
        windows,
        gaps: gapsBetween(windows),
        atRiskSeconds:
          until === undefined ? null : Math.max(0, (session.io.now().getTime() - Date.parse(until)) / 1_000),
        archiver: await archiverState(session, store),
        problem,
      };
    }),
  );
}

async function watched(session: Session, status: LogStatus): Promise<WatchedLog> {
  const open = await session.open();
  const engine = open.engine(status.store);
  const rpoSeconds = open.application.stores.find(({ name }) => name === status.store)?.rpoSeconds ?? 0;
  const site = (await open.epochs.current())?.activeSite ?? session.config.initialSite;
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  const leaving = new AbortController();
  void session.io.interrupted.then(() => leaving.abort());
  const source = await engine.probe(site, { signal: leaving.signal, log, progress() {} }).then(
    ({ position, keptLog, reachable, problems }) => ({
      site,
      lineage: position?.lineage ?? null,
      keptLog: keptLog ?? null,
      problem: reachable ? null : (problems[0] ?? 'no answer'),
    }),
    // The window is worth showing without the server too; that it could not be asked is said.
    (error: unknown) => ({ site, lineage: null, keptLog: null, problem: reasonOf(error) }),
  );
  return { ...status, engine: engine.kind, rpoSeconds, source };
}

async function archiverState(session: Session, store: string): Promise<LogStatus['archiver']> {
  try {
    const client = await session.client();
    return (await isRunning(client, workflowIds.archive(session.application, store))) ? 'running' : 'not running';
  } catch {
    return 'unknown'; // The window is worth showing without Temporal too; that it could not be asked is said.
  }
}
