import { formatDuration } from '../../core/clock';
import { workflowIds } from '../../core/names';
import type { RecoveryWindow } from '../../core/recovery';
import { isRunning } from '../../workers/is-running';
import type { Front } from '../front';
import type { Session } from '../session';
import { shortTime, tableLines } from '../table';

/** What of a store's past can be restored, and whether its log is being followed. */
export interface LogStatus {
  readonly store: string;
  readonly windows: readonly RecoveryWindow[];
  /** Seconds of changes that are not stored yet; null when not known. */
  readonly atRiskSeconds: number | null;
  readonly archiver: 'running' | 'not running' | 'unknown';
}

export function registerLog(front: Front): void {
  const group = front.group('log', 'the archived logs');
  front.command(
    group,
    'status [stores...]',
    'the times that can be restored, and how much is at risk now',
    [['drctl log status', 'every store that has a log']],
    async (session, named) => {
      const stores = await logStatus(session, session.stores(named, named.length === 0));
      session.print(stores, () => logLines(stores));
    },
  );
}

export async function logStatus(session: Session, stores: readonly string[]): Promise<LogStatus[]> {
  const open = await session.open();
  const logged = stores.filter((store) => open.logArchive(store) !== null);
  return Promise.all(
    logged.map(async (store) => {
      const backups = await open.catalog(store).list(store);
      const windows = await open.engine(store).windows({ backups, log: open.logArchive(store) });
      const until = windows.at(-1)?.to;
      return {
        store,
        windows,
        atRiskSeconds:
          until === undefined ? null : Math.max(0, (session.io.now().getTime() - Date.parse(until)) / 1_000),
        archiver: await archiverState(session, store),
      };
    }),
  );
}

async function archiverState(session: Session, store: string): Promise<LogStatus['archiver']> {
  try {
    const client = await session.client();
    return (await isRunning(client, workflowIds.archive(session.application, store))) ? 'running' : 'not running';
  } catch {
    return 'unknown'; // The window is worth showing without Temporal too; that it could not be asked is said.
  }
}

function logLines(stores: readonly LogStatus[]): string[] {
  if (stores.length === 0) return ['None of these stores has a log.'];
  const rows = stores.flatMap(({ store, windows, atRiskSeconds, archiver }) => {
    const risk = atRiskSeconds === null ? 'unknown' : formatDuration(atRiskSeconds * 1_000);
    if (windows.length === 0) return [[store, '-', '-', '-', risk, archiver]];
    return windows.map(({ from, to, lineage }, index) => {
      const newest = index === windows.length - 1;
      return [store, shortTime(from), shortTime(to), lineage ?? '-', newest ? risk : '', newest ? archiver : 'closed'];
    });
  });
  return tableLines(['store', 'restorable from', 'to', 'lineage', 'at risk', 'archiver'], rows);
}
