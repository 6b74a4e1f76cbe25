import { recordLabel } from '../../core/dns-moves';
import { reasonOf } from '../../core/errors';
import { switchoverSteps } from '../../core/role-change-steps';
import { wasCancelled } from '../step-table';
import type { SwitchoverRun } from './run';

/**
 * Lowers the TTLs before people are asked, so that the old ones run out while they think; answers what they should know. A
 * name that keeps its TTL is no reason to stop: its caches just take longer. Nothing to do where the config does not say so.
 */
export async function lowerTtls(run: SwitchoverRun, epoch: number): Promise<string[]> {
  const { app, steps } = run;
  const { lowerTtlToSeconds: ttlSeconds } = app.failover.switchover;
  run.epochBefore = epoch;
  if (ttlSeconds === null) return [];
  return Promise.all(
    app.dns.map(async (target) => {
      const label = recordLabel(target);
      const work = () =>
        run.at.lowerTtl({ application: app.name, target, ttlSeconds, epoch, by: run.input.requestedBy });
      try {
        const lowered = await steps.run(
          ...switchoverSteps.lowerTtl(target, ttlSeconds),
          work,
          ({ previousTtlSeconds, effectiveAt }) => `was ${previousTtlSeconds} s, which is over at ${effectiveAt}`,
        );
        return `${label}: TTL ${ttlSeconds} s; caches may hold the old one of ${lowered.previousTtlSeconds} s until ${lowered.effectiveAt}`;
      } catch (error) {
        if (wasCancelled(error)) throw error;
        return `${label}: the TTL was not lowered: ${reasonOf(error)}`;
      }
    }),
  );
}

/** When nothing was moved after all. After a move the names get their TTLs back once they have settled. */
export async function restoreTtls(run: SwitchoverRun): Promise<void> {
  const { app, steps } = run;
  const epoch = run.epochGivenBack ?? run.epochBefore;
  const { lowerTtlToSeconds: ttlSeconds } = app.failover.switchover;
  if (ttlSeconds === null || epoch === null) return;
  await Promise.all(
    app.dns.map(async (target) => {
      const label = recordLabel(target);
      try {
        await run.at.restoreTtl({ application: app.name, target, epoch });
        steps.mark(switchoverSteps.lowerTtl(target, ttlSeconds)[0], 'undone', 'restored');
      } catch (error) {
        steps.say(`the TTL of ${label} stays lowered: ${reasonOf(error)}; restore it with \`drctl dns restore-ttl\``);
      }
    }),
  );
}
