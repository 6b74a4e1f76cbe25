import { setTimeout as delay } from 'node:timers/promises';
import { temporalReady } from '../../../lab/servers/temporal';
import type { E2eLab } from '../e2e-lab';
import type { SeededRandom } from '../random';

/** The activities of a role change in the order of the runbook: every step of one is one of them, or several. */
export const STEPS = {
  failover: [
    ...['describeApplication', 'probeSite', 'assessLoss', 'lookAtWork', 'takeEpoch', 'callHook', 'fenceSite'],
    ...['fenceStore', 'promoteStore', 'lookAtFiles', 'startService', 'pointDns', 'verifyEndpoint', 'probeWrite'],
    ...['followMembers', 'storeReport'],
  ],
  /** One that is aborted when it has its epoch. */
  abortedFailover: [
    ...['describeApplication', 'probeSite', 'assessLoss', 'lookAtWork', 'takeEpoch', 'mayBePromoted', 'giveBackEpoch'],
    ...['storeReport'],
  ],
  switchover: [
    ...['describeApplication', 'probeSite', 'measureCatchUp', 'lookAtWork', 'takeEpoch', 'stopService'],
    ...[
      'handOverStore',
      'fenceSite',
      'promoteStore',
      'lookAtFiles',
      'startService',
      'pointDns',
      'verifyEndpoint',
      'probeWrite',
    ],
    ...['followNewPrimary', 'storeReport'],
  ],
} as const;

export interface Kill {
  /** An activity that has begun. */
  readonly moment: string;
  readonly victim: 'worker' | 'temporal';
  readonly afterMs: number;
}

const AFTER_MILLISECONDS = 300;

/**
 * Deals kills out so that over the rounds the worker and Temporal are both killed at every step, before either is killed at one
 * for a second time.
 */
export class KillDealer {
  private readonly random: SeededRandom;
  /** How often each was dealt. */
  private readonly dealt = new Map<string, number>();

  constructor(random: SeededRandom) {
    this.random = random;
  }

  /** Whether each was killed at each of these steps. */
  hasDealt(steps: readonly string[]): boolean {
    return steps.every((moment) => ['worker', 'temporal'].every((victim) => this.dealt.has(`${moment} ${victim}`)));
  }

  /** So many for a round that takes these steps, each at a step of its own, in the order of the runbook. */
  deal(steps: readonly string[], count: number): Kill[] {
    const timesOf = ({ moment, victim }: Pick<Kill, 'moment' | 'victim'>) => this.dealt.get(`${moment} ${victim}`) ?? 0;
    const all = steps.flatMap((moment) => (['worker', 'temporal'] as const).map((victim) => ({ moment, victim })));
    const chosen = new Map<string, Kill>();
    for (const each of this.random.shuffled(all).toSorted((a, b) => timesOf(a) - timesOf(b))) {
      if (chosen.size === count || chosen.has(each.moment)) continue;
      chosen.set(each.moment, { ...each, afterMs: this.random.integer(AFTER_MILLISECONDS) });
      this.dealt.set(`${each.moment} ${each.victim}`, timesOf(each) + 1);
    }
    return steps.flatMap((moment) => chosen.get(moment) ?? []);
  }
}

/** Carries kills out in the order of the runbook; ends when all are done or the run is over. */
export async function carryOut(
  e2e: E2eLab,
  {
    workflowId,
    kills,
    site,
  }: { readonly workflowId: string; readonly kills: readonly Kill[]; readonly site: 'primary' | 'dr' },
  over: AbortSignal,
  say: (line: string) => void,
): Promise<void> {
  for (const { moment, victim, afterMs } of kills) {
    if (!(await hasBegun(e2e, workflowId, moment, over))) return;
    await delay(afterMs);
    if (over.aborted) return;
    say(`${afterMs} ms after ${moment} began: the ${victim} is killed`);
    if (victim === 'worker') await e2e.killWorker(site);
    else {
      await e2e.supervisor.kill('temporal');
      await e2e.supervisor.start('temporal');
      await temporalReady(e2e.access.plan.temporal);
    }
  }
}

/** False where the run was over before. */
export async function hasBegun(e2e: E2eLab, workflowId: string, type: string, over: AbortSignal): Promise<boolean> {
  for (; !over.aborted; await delay(30)) {
    try {
      const { events } = await e2e.handle(workflowId).fetchHistory();
      if (events?.some((each) => each.activityTaskScheduledEventAttributes?.activityType?.name === type)) return true;
    } catch {
      await delay(300); // Temporal was killed; it is back soon, or the round ends
    }
  }
  return false;
}
