import { hasCode, reasonOf } from '../core/errors';
import { backupSuccessSample } from '../core/metrics';
import type { CheckHealthResult, StoreHealth } from '../core/runs';
import { withCallContext } from './context';
import type { ActivityDeps, OpenApplication } from './deps';
import { lookAtServers, problemLines } from './servers';

export function createHealthActivities(deps: ActivityDeps) {
  return {
    /** Judges every store by what is in the repository, and asks its servers what should be mended there. */
    async checkStores(input: { application: string }): Promise<CheckHealthResult> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        const at = new Date().toISOString();
        const servers = await lookAtServers(open, ctx);
        const stores = await Promise.all(
          open.application.stores.map(async ({ name, rpoSeconds }) => ({
            ...(await judge(open, name, rpoSeconds, at)),
            problems: problemLines(servers.filter(({ store }) => store === name)),
          })),
        );
        return { application: input.application, at, stores };
      });
    },

    /** Pushes the strategy's `BackupSuccess` of every store. A publisher that fails never blocks: its reason is answered. */
    async publishHealth(input: CheckHealthResult): Promise<string[]> {
      return withCallContext(async (ctx) => {
        const samples = input.stores.map(({ store, status }) =>
          backupSuccessSample(store, status === 'healthy', input.at),
        );
        const problems: string[] = [];
        for (const publisher of deps.open(input.application).metrics) {
          try {
            await publisher.publish(samples, ctx);
          } catch (error) {
            problems.push(`${publisher.kind}: ${error instanceof Error ? error.message : String(error)}`);
          }
        }
        return problems;
      });
    },
  };
}

async function judge(
  open: OpenApplication,
  store: string,
  rpoSeconds: number,
  at: string,
): Promise<Omit<StoreHealth, 'problems'>> {
  const catalog = open.catalog(store);
  const [backups, damaged] = [await catalog.list(store), await catalog.damaged(store)];
  const newest = backups.at(-1);
  const archive = open.logArchive(store);
  const reasons = damaged.map(({ backupId, problem }) => `backup ${backupId} cannot be restored: ${problem}`);
  // What is damaged of one store must not hide how the others are.
  const windows = archive
    ? await open
        .engine(store)
        .windows({ backups, log: archive })
        .catch((error: unknown) => {
          if (!hasCode(error, 'BackupCorrupt')) throw error;
          reasons.push(`its log cannot be read: ${reasonOf(error)}`);
          return [];
        })
    : [];
  const coveredUntil = windows.at(-1)?.to ?? null;
  const atRisk = coveredUntil === null ? null : Math.max(0, (Date.parse(at) - Date.parse(coveredUntil)) / 1_000);
  const ageHours = newest ? (Date.parse(at) - Date.parse(newest.committedAt)) / 3_600_000 : null;
  if (ageHours !== null && ageHours >= open.application.backup.maxAgeHours)
    reasons.push(`the newest backup is ${ageHours.toFixed(1)} hours old`);
  if (archive && atRisk !== null && atRisk > rpoSeconds)
    reasons.push(`${Math.round(atRisk)} s of changes are not archived`);
  if (archive && newest && atRisk === null) reasons.push('the log window is unknown');
  if (!newest) reasons.push('there is no backup');
  return {
    store,
    status: newest ? (reasons.length > 0 ? 'warning' : 'healthy') : 'error',
    reasons,
    lastBackupAt: newest?.committedAt ?? null,
    lastBackupAgeHours: ageHours,
    rpoSeconds: atRisk,
  };
}
