import { getClient } from '@temporalio/activity';
import type { CallContext } from '../core/call';
import { dayOf, type HealthDay, withHealth } from '../core/day-records';
import { reasonOf } from '../core/errors';
import { layout } from '../core/layout';
import { backupSuccessSample } from '../core/metrics';
import type { MonitoringPolicy } from '../core/monitoring/policy';
import { atRiskSeconds, judgeStore, statusOf, type StoreView, weighed } from '../core/monitoring/store-view';
import { EMPTY_TALLY, type Tally, tallyOf } from '../core/monitoring/tally';
import type { KeptHealth } from '../core/monitoring/told';
import type { CheckHealthResult, StoreHealth } from '../core/runs';
import { updateTally } from './backup-tally';
import { withCallContext } from './context';
import { changeDay } from './day-records';
import type { ActivityDeps, OpenApplication } from './deps';
import { failedBackupsOf } from './failed-backups';
import { readKeptHealth } from './kept-health';
import { unlessDamaged } from './kept-state';
import { joined, observeStore } from './observe-stores';
import { lookAtServers, problemLines } from './servers';

export function createHealthActivities(deps: ActivityDeps) {
  return {
    /** Judges every store by what is in the repository, and asks its servers what should be mended there. */
    async checkStores(input: { application: string }): Promise<CheckHealthResult> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        const at = new Date().toISOString();
        const [servers, { tally, problem }] = await Promise.all([lookAtServers(open, ctx), countedNow(open, at)]);
        const stores = await Promise.all(
          open.application.stores.map(async ({ name }) => ({
            ...(await lookAtStore(open, name, at, tallyOf(tally, name).lastFailureAt, ctx)),
            problems: problemLines(servers.filter(({ store }) => store === name)),
          })),
        );
        return { application: input.application, at, stores, ...(problem === null ? {} : { problems: [problem] }) };
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

    /**
     * What the check before this one found and told; `kept` is null before the first, and where it is damaged, which `problem`
     * then says: it may be replaced.
     */
    async lastHealth(input: { application: string }): Promise<LastHealth> {
      return withCallContext(async () => {
        const open = deps.open(input.application);
        const { repeatAfterSeconds } = open.application.monitoring;
        const { value: kept, problem } = await unlessDamaged(readKeptHealth(open), null);
        return { kept, repeatAfterSeconds, ...(problem === null ? {} : { problem }) };
      });
    },

    /** The newest, and a count of the day's. Repeatable. */
    async keepHealth(input: { application: string; kept: KeptHealth }): Promise<string> {
      return withCallContext(async () => {
        const { application, control } = deps.open(input.application);
        const text = `${JSON.stringify(input.kept, null, 2)}\n`;
        await control.put(layout.health(), Buffer.from(text));
        const { result } = input.kept;
        const objectives = Object.fromEntries(application.stores.map(({ name, rpoSeconds }) => [name, rpoSeconds]));
        await changeDay<HealthDay>(control, dayOf(result.at), 'health', (day) => withHealth(day, result, objectives));
        return layout.health();
      });
    },
  };
}

export interface LastHealth {
  readonly kept: KeptHealth | null;
  readonly repeatAfterSeconds: number;
  readonly problem?: string;
}

/** Which backups failed: without Temporal's list, or the control repository, that one reason is missing and the others hold. */
async function countedNow(open: OpenApplication, at: string): Promise<{ tally: Tally; problem: string | null }> {
  try {
    return await updateTally(open, new Map(), failedBackupsOf(getClient()), at);
  } catch {
    return { tally: EMPTY_TALLY, problem: null };
  }
}

function healthOf(view: StoreView, policy: MonitoringPolicy): Omit<StoreHealth, 'problems'> {
  const { store, at, newest } = view;
  const reasons = judgeStore(view, policy);
  return {
    store,
    status: statusOf(reasons),
    reasons,
    lastBackupAt: newest?.committedAt ?? null,
    lastBackupAgeHours: newest ? (Date.parse(at) - Date.parse(newest.committedAt)) / 3_600_000 : null,
    rpoSeconds: atRiskSeconds(view),
  };
}

/** One that cannot be looked at hides no other: what is not known is as bad as what is broken. */
async function lookAtStore(
  open: OpenApplication,
  store: string,
  at: string,
  lastFailureAt: string | null,
  ctx: CallContext,
): Promise<Omit<StoreHealth, 'problems'>> {
  try {
    const view = await observeStore(open, store, at, lastFailureAt);
    // Somebody who checks by the clock has time for every manifest; those that were read before are not read again.
    const damaged = await open.catalog(store).damaged(store);
    return healthOf({ ...view, damaged: joined(damaged, view.damaged) }, open.application.monitoring);
  } catch (error) {
    ctx.signal.throwIfAborted();
    const text = `what is stored of it cannot be read: ${reasonOf(error)}`;
    const reasons = [weighed({ alert: 'rpoBreached', status: 'error', text }, open.application.monitoring)];
    return { store, status: 'error', reasons, lastBackupAt: null, lastBackupAgeHours: null, rpoSeconds: null };
  }
}
