import type { DrillTarget } from '../../core/drill';
import { type ComponentRecovery, recoveryHeld, recoveryLine } from '../../core/drill-judgements';
import { failure, reasonOf } from '../../core/errors';
import { taskQueues } from '../../core/names';
import { drillingOn, onceOn } from '../proxies';
import { wasCancelled } from '../step-table';
import { openCopy } from './recovery';
import type { DrillRun, Found } from './run';

/** What is late is waited for a little longer than it may take, so that the report can say how late it was. */
const LATE_SECONDS = 60;

/** Each component that the config names is killed, one after the other, and timed until it is healthy again. */
export async function validateRecovery(run: DrillRun): Promise<Found> {
  const { targets } = run.app.drill;
  if (targets.length === 0) return { leftOut: 'the config names no `drill.targets`', gap: false };
  for (const target of targets) {
    const recovery = await run.steps.run(
      `kill:${target.name}`,
      `Kill ${componentOf(target)} and wait until it is healthy`,
      () => recoveryOf(run, target),
      recoveryLine,
    );
    run.recoveries = [...run.recoveries, recovery];
    run.steps.mark(`kill:${target.name}`, recoveryHeld(recovery) ? 'done' : 'failed', recoveryLine(recovery));
  }
  const bad = run.recoveries.filter((each) => !recoveryHeld(each));
  if (bad.length > 0) throw failure('VerificationFailed', bad.map(recoveryLine).join('; '));
  return run.recoveries.map(recoveryLine).join('; ');
}

function componentOf({ store, service, site }: DrillTarget): string {
  if (site !== null) return `${store ?? service} at ${site}`;
  return service === null ? `the copy of ${store}` : `${service} in the bubble`;
}

async function recoveryOf(run: DrillRun, target: DrillTarget): Promise<ComponentRecovery> {
  const limitSeconds = run.app.drill.recoveryWithinSeconds;
  const known = { name: target.name, component: componentOf(target), limitSeconds };
  let killed: { readonly killed: readonly string[]; readonly at: string } | null = null;
  try {
    // What runs at a site is looked at and killed from there; what the drill has made, from its host.
    const queue = target.site === null ? run.hostQueue : taskQueues.site(run.app.name, run.site);
    const copy = target.store === null ? null : (run.copies.get(target.store) ?? null);
    const step = { application: run.app.name, target, place: copy?.restore.place ?? null };
    const before = await drillingOn(queue, 60).lookAtTarget(step);
    if (!before.healthy) throw failure('ServiceNotReady', `it was not healthy before (${before.words}): not killed`);
    killed = await onceOn(queue).killTarget(step);
    const deadline = new Date(Date.parse(killed.at) + (limitSeconds + LATE_SECONDS) * 1_000).toISOString();
    const waiting = drillingOn(queue, limitSeconds + 2 * LATE_SECONDS);
    if (target.site === null && copy) await openCopy(run, copy, limitSeconds + LATE_SECONDS);
    const { healthyAt, words } = await waiting.awaitTarget({ ...step, before, deadline });
    const seconds = healthyAt === null ? null : (Date.parse(healthyAt) - Date.parse(killed.at)) / 1_000;
    const problem = healthyAt === null ? `not healthy again: ${words}` : null;
    return { ...known, killed: killed.killed, killedAt: killed.at, seconds, problem };
  } catch (error) {
    if (wasCancelled(error)) throw error;
    return {
      ...known,
      killed: killed?.killed ?? [],
      killedAt: killed?.at ?? null,
      seconds: null,
      problem: reasonOf(error),
    };
  }
}
